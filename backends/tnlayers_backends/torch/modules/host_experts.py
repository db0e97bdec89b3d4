"""Stacks of experts as hosts: parameters of three axes of mixtures of experts, as transformers holds them.

Each stack is seen twice: as one weight for each expert, `gate_up_proj.3`, and as one weight for all of them,
`gate_up_proj.all`, which is that of all experts below each other. Compression takes one of the two. Known by the
attributes that transformers sets (`use_experts_implementation`), like `Conv1D`: transformers need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from typing import Any

from torch import Tensor, nn

from tnlayers_backends.torch.layers.expert_stack import ALL, StackedLinear, stack_of
from tnlayers_backends.torch.modules.host import Host, as_linear

_SIGNS = ("is_transposed", "has_gate", "num_experts", "config")
_FIRST = ("gate_up_proj", "gate_proj", "up_proj")  # what the tokens themselves go into


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds stacks of experts."""
    known = vars(module)
    return all(sign in known for sign in _SIGNS) and bool(_stacks(module))


def _stacks(module: nn.Module) -> dict[str, Tensor]:
    experts = vars(module)["num_experts"]
    return {
        name: value
        for name, value in module._parameters.items()
        if value is not None and value.ndim == 3 and value.shape[0] == experts and value.is_floating_point()
    }


class Experts(Host):
    """A module of stacks of experts."""

    def parts(self, module: Any) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        for name, stack in _stacks(module).items():
            weights = stack.detach().mT if module.is_transposed else stack.detach()
            for expert, weight in enumerate(weights):
                found[f"{name}.{expert}"] = as_linear(weight.requires_grad_(stack.requires_grad), None)
            together = weights.flatten(0, 1)
            dense = StackedLinear(together.shape[1], together.shape[0], bias=False, device="meta")
            dense.weight = nn.Parameter(together, stack.requires_grad)
            dense.experts = len(stack)
            found[f"{name}.{ALL}"] = dense
        return found

    def reason_against(self, module: Any) -> str:
        if "forward" in vars(module):
            return "its forward was replaced on the instance"
        return "its experts are spread over processes" if getattr(module, "_is_expert_parallel", False) else ""

    def opened(self, module: Any, names: Iterable[str]) -> set[str]:
        """As `Host`: of stacks that are asked for, all experts or the one network for all."""
        found: set[str] = set()
        wanted = set(names)
        for name, stack in _stacks(module).items():
            own = {part for part in wanted if part.startswith(f"{name}.")}
            if f"{name}.{ALL}" in own:
                found.add(f"{name}.{ALL}")
            elif own:
                found |= {f"{name}.{expert}" for expert in range(len(stack))}
        return found

    def assembled(self, module: Any, parts: Mapping[str, nn.Module]) -> nn.Module:
        """The same class with the stacks in the place of its parameters, in the plain loop over experts."""
        new: nn.Module = object.__new__(type(module))
        names = {part.rpartition(".")[0] for part in parts}
        attributes = {key: value for key, value in vars(module).items() if key not in ("config", "_parameters")}
        vars(new).update(deepcopy(attributes))
        rest = {key: deepcopy(value) for key, value in module._parameters.items() if key not in names}
        config = copy(module.config)
        vars(new).update(_parameters=rest, config=config)
        config._experts_implementation_internal = "eager"  # others multiply by the whole parameter at once
        for name in names:
            own = {part.rpartition(".")[2]: one for part, one in parts.items() if part.rpartition(".")[0] == name}
            new._modules[name] = stack_of(module.num_experts, module.is_transposed, own)
        return new

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As `Host`: the tokens that go to an expert; what goes into its second weight does not show."""
        if not self.shows(part):
            return None
        tokens = super().given(module, part, args, {})
        chosen = args[1] if len(args) > 1 else None
        expert = part.rpartition(".")[2]
        if expert == ALL or tokens is None or chosen is None:
            return tokens
        own = tokens[(chosen == int(expert)).any(-1)]
        return own if len(own) else None

    def shows(self, part: str) -> bool:
        return part.rpartition(".")[0] in _FIRST

    def put_out(self, module: Any, part: str, dense: nn.Module, args: Any, kwargs: Any, output: Any) -> Tensor | None:
        return None

    def reason_against_fit(self, module: nn.Module) -> str:
        return "the loop over experts does not show what goes through each of its weights"
