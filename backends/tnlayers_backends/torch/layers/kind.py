"""What a kind of layer is to all that works on models: one value for each kind, entered in `kinds.py`.

A kind knows the dense class of torch that its layers stand in for, and the weight of both as one matrix of shape
(out_features, in_features). Compressing, repairing, adapting, saving and pricing go by these methods alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.sizes import Scale
from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import machine
from tnlayers.pricing.counts import Cost
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.run.device import device_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much a weight is given at once.

    Attributes:
        count: Vectors or ids; of a convolution, images.
        spatial: The images' size, or the steps of a recurrent layer's sequences; empty where it is not known.
    """

    count: int
    spatial: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """One kind of layer; abstract in `build`, `from_dense` and `to_dense`.

    Attributes:
        classes: Its classes, which differ only in how they are made; the first is what loading makes.
        replaces: The class that such a layer replaces: torch's, or its own where torch has none.
        stands_for: The dense class that has such a weight; `replaces` unless that is the layer's own class.
        keywords: The attributes of a layer that `build` takes as keywords; numbers, texts, and tuples of them.
        missing: The values of keywords that the dense class does not have.
        sizes: Attributes that layer and dense module have alike, and that must agree between the two.
        options: More such attributes, which files check and fits do not.
        turned: Whether dense modules hold the weight as (in_features, out_features).
        one_hot: Whether inputs are ids, each of which picks one input feature.
        searched: Whether other modes of the features are worth a search.
        ordered: Whether the layer can apply orders of its features.
    """

    classes: tuple[type[TNModule], ...]
    replaces: type[nn.Module]
    stands_for: type[nn.Module] = nn.Module
    keywords: tuple[str, ...] = ()
    missing: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[str, ...]
    options: tuple[str, ...] = ()
    turned: bool = False
    one_hot: bool = False
    searched: bool = False
    ordered: bool = False

    def __post_init__(self) -> None:
        if self.stands_for is nn.Module:
            object.__setattr__(self, "stands_for", self.replaces)

    # How it is made.

    def build(self, spec: Spec, **keywords: Any) -> TNModule:
        """A layer of a sized spec, with `dtype`, `device`, perhaps `seed`, and the kind's keywords."""
        raise NotImplementedError

    def from_dense(self, dense: Any, network: str | Spec, **asked: Any) -> TNModule:
        """The layer closest to a dense module: `from_linear` and its kin."""
        raise NotImplementedError

    def to_dense(self, layer: Any) -> nn.Module:
        """The dense module that computes the same."""
        raise NotImplementedError

    def settings(self, dense: nn.Module) -> dict[str, Any]:
        """The keywords of a layer in a dense module's place."""
        return {name: getattr(dense, name, self.missing.get(name)) for name in self.keywords}

    def template(self, network: str | Spec, dense: Any) -> str | Spec:
        """A network type with what the dense module's sizes say of its modes."""
        return network

    def scale(self, template: Spec, dense: nn.Module) -> Scale:
        """The sizes that a network type has for a dense module's weight.

        Raises:
            TNLayersError: If the type does not fit.
        """
        return Scale.of(self.template(template, dense), *self.features(dense))

    def delta(self, network: str | Spec, dense: nn.Module, seed: int | None) -> TNModule:
        """A layer that takes and gives what a dense module does, without a bias.

        Raises:
            TNLayersError: If the network does not fit.
        """
        inputs, outputs = self.features(dense)
        spec = replace(make_spec(self.template(network, dense), inputs, outputs), bias=False)
        weight = dense.weight
        assert isinstance(weight, Tensor)
        return self.build(spec, seed=seed, device=weight.device, dtype=weight.dtype, **self.settings(dense))

    # Its weight.

    def matrix(self, weight: Tensor) -> Tensor:
        """A dense module's weight as (out_features, in_features)."""
        return weight.mT if self.turned else weight.flatten(1)

    def features(self, dense: nn.Module) -> tuple[int, int]:
        """(in_features, out_features) of a dense module's weight."""
        weight = dense.weight
        assert isinstance(weight, Tensor)
        outputs, inputs = self.matrix(weight.detach().to("meta")).shape
        return inputs, outputs

    def sharing(self, dense: Any) -> tuple[object, ...]:
        """What two dense modules on one parameter must have alike, so that one network can be the weight of both."""
        return ("matrix",) if dense.weight.ndim == 2 else (type(dense), *(getattr(dense, name) for name in self.sizes))

    def plain(self, dense: Any) -> nn.Module:
        """The dense module whose weight the network's has to be: itself, or one that reads the same weight."""
        return dense  # type: ignore[no-any-return]

    # What does not go.

    def reason_against(self, dense: Any) -> str:
        """Why a dense module of this kind has to stay as it is; "" where it need not."""
        return ""

    def reason_against_delta(self, dense: Any) -> str:
        """Why nothing can be added to a frozen dense module's weight; "" where it can."""
        return ""

    def reason_against_fit(self, layer: Any) -> str:
        """Why a layer cannot be fitted by least squares; "" where it can."""
        return ""

    def loads(self, layer: Any) -> bool:
        """Whether a layer has a dense weight that a checkpoint could have."""
        return True

    # What a call gives to the weight. Both the dense module and the layer are called alike.

    def given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What a call gives to the weight; None where that does not show."""
        value = args[0] if args else next(iter(kwargs.values()), None)
        return value if isinstance(value, Tensor) else None

    def work(self, dense: Any, given: Any) -> Work:
        """How much that is."""
        return Work(count=given.numel() // max(given.shape[-1], 1))

    def moment(self, dense: Any, given: Any) -> Tensor | None:
        """The second moment of the input features; None where fits do not ask for it."""
        return None

    def pairs(self, layer: Any, given: Any, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (groups, samples, in) and outputs (groups, samples, out), some at a time.

        Where inputs are one-hot, ids (samples,) and outputs (samples, out).
        """
        raise NotImplementedError

    # What a call costs.

    def cost(self, layer: Any, work: Work) -> Cost | None:
        """The cost of a forward pass; None where the work is not fully known."""
        return None

    def dense_cost(self, dense: Any, work: Work) -> Cost | None:
        """The same of the dense module."""
        return None

    def time_ratio(self, layer: Any, dense: Any, work: Work) -> float | None:
        """Predicted seconds of the layer over those of the dense module; None where one of them has no prediction."""
        return None


def rates_of(layer: nn.Module) -> Machine:
    """The rates of the device that a layer is on, by which its plans are ranked too."""
    weight = next(layer.parameters())
    return machine(device_name(weight.device), str(weight.dtype).removeprefix("torch."))


def seconds(rates: Machine, cost: Cost, calls: int) -> float:
    """The time of a cost in so many calls."""
    moved = cost.bytes / rates.bytes_per_second + cost.copied / rates.permuted_bytes_per_second
    return cost.flops / rates.flops_per_second + moved + calls * rates.seconds_per_call
