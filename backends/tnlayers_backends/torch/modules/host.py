"""What a kind of dense module with weights is to all that works on models, whether it has one weight or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from tnlayers_backends.torch.layers.kind import Work
from tnlayers_backends.torch.layers.kinds import find


class Host:
    """Modules whose weights can be networks; this one is for all that have none."""

    def parts(self, module: Any) -> dict[str, nn.Module]:
        """The dense weights by the name of the part, "" for the module's only one, as modules that share its memory."""
        return {}

    def reason_against(self, module: Any) -> str:
        """Why the module has to stay as it is; "" where it need not."""
        return ""

    def opened(self, module: Any, names: Iterable[str]) -> set[str]:
        """The parts that become modules of their own where those of some names do; all of them."""
        return set(self.parts(module))

    def assembled(self, module: Any, parts: Mapping[str, nn.Module]) -> nn.Module:
        """What takes the place of a module, of its dense parts and networks."""
        return parts[""]

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What a call gives to a part; None where that does not show."""
        value = args[0] if args else next(iter(kwargs.values()), None)
        return value if isinstance(value, Tensor) else None

    def shows(self, part: str) -> bool:
        """Whether the features that go into a part are those that the module is called with."""
        return True

    def steps(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
        """The steps of the sequence that a call runs over; empty where there is none."""
        return ()

    def calls(self, part: str, work: Work) -> tuple[int, int] | None:
        """How often a part is called for a sequence, and with how many rows; None where it is called once."""
        return None

    def put_out(self, module: Any, part: str, dense: nn.Module, args: Any, kwargs: Any, output: Any) -> Tensor | None:
        """What a part put out in one call of the module; None where it did not take part."""
        x = self.given(module, part, args, kwargs)
        return None if x is None else dense(x)

    def reason_against_fit(self, module: nn.Module) -> str:
        """Why the parts cannot be fitted to what goes through them; "" where they can."""
        return ""


class Single(Host):
    """A module that is one weight, of a layer kind; networks themselves too."""

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As `Host`."""
        kind = find(module)
        return super().given(module, part, args, kwargs) if kind is None else kind.given(args, kwargs)

    def put_out(self, module: Any, part: str, dense: nn.Module, args: Any, kwargs: Any, output: Any) -> Tensor | None:
        """As `Host`."""
        return output if isinstance(output, Tensor) else None


def as_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """An nn.Linear on given memory: no entry is copied."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach(), weight.requires_grad)
    linear.bias = None if bias is None else nn.Parameter(bias.detach(), bias.requires_grad)  # type: ignore[assignment]
    return linear


def tensor(module: nn.Module, name: str) -> Tensor:
    """A tensor that a module has."""
    value = getattr(module, name)
    assert isinstance(value, Tensor)
    return value


def blank(make: Callable[..., nn.Module], module: nn.Module, settings: tuple[str, ...]) -> nn.Module:
    """A layer with the settings of a dense one, and nothing in it yet."""
    return make(device="meta", network=None, **{name: getattr(module, name) for name in settings})


def filled(new: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    """A layer with its parts."""
    for name, part in parts.items():
        setattr(new, name, part)
    return new
