"""`TNLinear` and `MPOLinear`: drop-in replacements for `torch.nn.Linear` whose weight is a tensor network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers.initialise import default_variance, draw_bias, draw_cores
from tnlayers.layer import LinearMap
from tnlayers.plan import Objective, Plan
from tnlayers.spec import Spec
from tnlayers.spec import spec as make_spec
from tnlayers_backends.torch.ops import OPS

# The plan that compiled and exported code closes over, unless the user pins another: planning cannot be traced.
_TRACED_BATCH = 128


class TNLinear(nn.Module):
    """A linear layer y = x W^T + b whose weight W is a tensor network; its parameters are the cores (and the bias).

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        bias: Whether to add a learned vector, as in `nn.Linear`.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type ("mpo"), a template ("mpo(cores=3, bond=8)"), or a sized spec.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
        seed: Draws the parameters; None takes torch's global generator, so `torch.manual_seed` decides.
        **keywords: The network type's own, such as `bond_dim`, and `cores`.

    Shape:
        Input (..., in_features), output (..., out_features).

    Raises:
        TNLayersError: If the declaration does not fit the sizes, or an input has another last dimension.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNLinear(784, 256, network="mpo(bond=16)", seed=0)
        >>> layer(torch.zeros(2, 3, 784)).shape
        torch.Size([2, 3, 256])
        >>> sorted(layer.state_dict())
        ['bias', 'core_0', 'core_1', 'core_2', 'core_3']
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        given = {"in_modes": in_modes, "out_modes": out_modes, "bias": bias} | keywords
        asked = {key: value for key, value in given.items() if value is not None}
        spec = make_spec(network, in_features, out_features, **asked)
        dtype = dtype or torch.get_default_dtype()
        self._map = LinearMap(spec, str(dtype).removeprefix("torch."))
        for name, shape in self._map.graph.shapes.items():
            if hasattr(type(self), name) or name in self.__dict__:
                raise TNLayersError(
                    f"A core of {spec} is named {name!r}, which every torch module already uses; rename it in its "
                    "network function."
                )
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        bias_shape = (spec.out_features,)
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(bias_shape, device=device, dtype=dtype)) if spec.bias else None
        )
        self.reset_parameters(seed)

    @torch.no_grad()
    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw the cores anew so that E[W^2] = 1/(3 in_features), and the bias, both as `nn.Linear` has them.

        Args:
            seed: As at construction; the same seed gives the same numbers on every backend.
        """
        if any(parameter.is_meta for parameter in self.parameters()):
            return  # deferred initialisation: the values come with `to_empty` and a second call
        rng = np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed)
        drawn = draw_cores(self._map.graph, default_variance(self.in_features), rng)
        for name, core in self.cores.items():
            core.copy_(torch.from_numpy(drawn[name]))
        if self.bias is not None:
            self.bias.copy_(torch.from_numpy(draw_bias(self.in_features, self.out_features, rng)))

    @property
    def spec(self) -> Spec:
        """The declaration."""
        return self._map.spec

    @property
    def in_features(self) -> int:
        """Size of each input vector."""
        return self.spec.in_features

    @property
    def out_features(self) -> int:
        """Size of each output vector."""
        return self.spec.out_features

    @property
    def cores(self) -> dict[str, nn.Parameter]:
        """The cores by name, in order of declaration."""
        return {core.name: getattr(self, core.name) for core in self._map.graph.cores}

    @property
    def weight(self) -> Tensor:
        """The weight (out_features, in_features), rebuilt at each access; differentiable, no parameter of its own.

        It is here for code that reads `layer.weight`; `forward` does not use it.
        """
        return self.to_dense()

    def to_dense(self) -> Tensor:
        """The weight matrix, (out_features, in_features), differentiable."""
        weight: Tensor = self._map.weight(OPS, list(self.cores.values()))
        return weight

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        """An `nn.Linear` that computes the same, with parameters of its own."""
        weight = self.to_dense()
        dense = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, device=weight.device, dtype=weight.dtype
        )
        dense.weight.copy_(weight)
        if self.bias is not None:
            dense.bias.copy_(self.bias)
        return dense

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to vectors of shape (..., in_features)."""
        if torch.compiler.is_compiling():  # one finished program for every batch size: traced code never plans
            plan = self.plan_for(_TRACED_BATCH)
        else:
            batch = x.numel() // max(x.shape[-1], 1) if x.ndim else 1
            plan = self.plan_for(batch, "training" if torch.is_grad_enabled() else "forward")
        y: Tensor = self._map.apply(OPS, x, list(self.cores.values()), plan)
        return y if self.bias is None else y + self.bias.to(y.dtype)  # under autocast y is narrower, as nn.Linear's is

    def plan_for(self, batch: int, objective: Objective = "forward") -> Plan:
        """The plan that a batch of this size runs, for inference ("forward") or under autograd ("training")."""
        return self._map.plan_for(batch, objective)

    def use_plan(self, plan: Plan | None) -> None:
        """Run every batch by this plan, or choose by batch size again (None).

        Raises:
            TNLayersError: If the plan was made for another network.
        """
        self._map.use_plan(plan)

    def extra_repr(self) -> str:
        """Sizes, network, parameters and rho, shown when the module is printed."""
        parameters = self._map.graph.parameters  # of the graph at hand: its network function may not be declared here
        rho = parameters / (self.in_features * self.out_features)
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"network={self.spec}, parameters={parameters}, rho={rho:.4g}"
        )


class MPOLinear(TNLinear):
    """A `TNLinear` whose network is a matrix product operator (arXiv 1904.06194); drop-in for `nn.Linear`.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        bias: Whether to add a learned vector.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        bond_dim: The bond dimension (TT-rank), one number or one per bond.
        cores: How many cores; 4 if None and no modes are given.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
        seed: Draws the parameters; None takes torch's global generator.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.nn.MPOLinear(784, 256, bond_dim=16).spec.parameters
        14848
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bond_dim: int | tuple[int, ...] = 16,
        cores: int | None = None,
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            bias,
            device,
            dtype,
            network="mpo",
            in_modes=in_modes,
            out_modes=out_modes,
            seed=seed,
            bond_dim=bond_dim,
            cores=cores,
        )


def from_spec(
    spec: Spec, *, seed: int | None = 0, dtype: str = "float32", device: torch.device | str | None = None
) -> TNLinear:
    """A torch layer from a sized spec."""
    kind = getattr(torch, str(dtype).removeprefix("torch."), None)  # "float32", or torch.float32 itself
    if not isinstance(kind, torch.dtype):
        raise TNLayersError(f"torch has no dtype {dtype!r}; use float32, float64, bfloat16 or float16.")
    return TNLinear(spec.in_features, spec.out_features, spec.bias, device, kind, network=spec, seed=seed)
