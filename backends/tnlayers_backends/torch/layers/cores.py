"""Cores as parameters: made, initialised, moved, loaded, and the weight rebuilt of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from tnlayers.cores.facade import Facade
from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.spec import Spec
from tnlayers.decompose.decomposition import Decomposition
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.computed import ComputedWeights, computed
from tnlayers_backends.torch.layers.dropout import BondDropout
from tnlayers_backends.torch.run.device import device_name
from tnlayers_backends.torch.run.frozen import Frozen
from tnlayers_backends.torch.run.prepared import Prepared
from tnlayers_backends.torch.run.primitives import OPS, TorchOps

# The plan that compiled and exported code closes over, unless the user pins another: planning cannot be traced.
TRACED_BATCH = 128


class HeldCores(ComputedWeights, Facade[Tensor]):
    """A module whose weight is a tensor network, with its cores for parameters; abstract, see `TNModule`.

    Args:
        spec: The sized declaration; its in_features are what one output sums over.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        seed: Draws the parameters; None takes torch's global generator, so `torch.manual_seed` decides.
        linear: Whether `forward` multiplies vectors by the weight: then what traced code will run is planned here,
            since planning cannot be traced. Other plans are made for the first batch of a size.
        variance: What E[W^2] is initialised to, the bias within the root of three times that; None for the kind's own.

    Raises:
        TNLayersError: If a core has a name that torch modules use themselves.
    """

    bias: nn.Parameter | None
    in_order: Tensor | None  # which input feature the network reads at each place, see feature_orders.py
    out_place: Tensor | None  # where it writes each output feature
    bond_dropout: BondDropout | None  # set by `tnl.nn.bond_dropout`
    delivered: Decomposition | None = None  # what `from_linear` and its kin made of the dense weight
    tied: bool = False  # whether another layer holds the same cores, as `tnl.compress` and `tnl.load` leave them
    _frozen: Frozen | None = None  # what `freeze` has prepared
    checkpoint: bool  # whether backward recomputes what the contraction would keep; set by `tnl.nn.checkpointed`

    def __init__(
        self,
        spec: Spec,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        seed: int | None,
        *,
        linear: bool = True,
        variance: float | None = None,
    ) -> None:
        super().__init__()
        self._asked_variance = variance
        self.bond_dropout = None
        self.checkpoint = False
        self._prepared = Prepared()
        self.register_buffer("in_order", None)
        self.register_buffer("out_place", None)
        dtype = dtype or torch.get_default_dtype()
        name = str(dtype).removeprefix("torch.")
        home = "cpu" if device is None else device_name(device)
        self._map = LinearMap(spec, name, device=home, buckets=(TRACED_BATCH,) if linear else ())
        self._names = tuple(self._map.shapes)  # asked at every call
        for name, shape in self._map.shapes.items():
            if hasattr(type(self), name) or name in self.__dict__ or name in self._buffers:
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

    def _variance(self) -> float:
        """What E[W^2] is initialised to."""
        return default_variance(self.spec.in_features) if self._asked_variance is None else self._asked_variance

    @torch.no_grad()
    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw the cores anew so that E[W^2] is that of the dense layer this one replaces, and the bias likewise.

        Args:
            seed: As at construction; the same seed gives the same numbers on every backend.

        Raises:
            TNLayersError: If a core is computed from other parameters (parametrised, or pruned), or is sharded.
        """
        self._refuse_computed("reset_parameters")
        if any(parameter.is_meta for parameter in self.parameters()):
            return  # deferred initialisation: the values come with `to_empty` and a second call
        rng = np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed)
        dtype = str(next(self.parameters()).dtype).removeprefix("torch.")  # of now: `to` may have changed it
        drawn = draw_layer(self._map.graphs, self._variance(), rng, dtype)
        for name, core in self.cores.items():
            core.copy_(torch.from_numpy(drawn[name]))
        if self.bias is not None:
            self.bias.copy_(torch.from_numpy(draw_bias(self.spec.in_features, self.spec.out_features, rng, dtype)))
            if self._asked_variance is not None:
                self.bias.mul_((3 * self._asked_variance * self.spec.in_features) ** 0.5)

    def _network(self) -> LinearMap:
        return self._map

    def _primitives(self) -> TorchOps:
        return OPS

    def _arrays(self) -> list[Tensor]:
        return self._cores()

    @property
    def cores(self) -> dict[str, nn.Parameter]:
        """The cores by name, in order of declaration."""
        return {name: getattr(self, name) for name in self._names}

    @property
    def weight(self) -> Tensor:
        """The dense weight, rebuilt at each access; differentiable, no parameter of its own.

        It is here for code that reads `layer.weight`; `forward` does not use it. A write into it is refused
        (`computed.py`), except inside a function that `torch.compile` or `torch.export` reads: there it is lost, so
        write outside of it, into the cores. `to_dense()` gives a tensor to write into.
        """
        return computed(self.to_dense(), self, "weight")

    def _renew(self, spec: Spec) -> None:
        """Continue with a spec of other bonds: plans and dropout of the new network."""
        self._set_map(replace(self._map, spec=spec, graphs=spec.graphs, pinned=None))
        if self.bond_dropout is not None:
            self.bond_dropout = BondDropout(spec.graphs, self.bond_dropout.p).train(self.training)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As torch's; a dense weight in the place of the cores is refused, whatever `strict` says."""
        if f"{prefix}weight" in state_dict and not any(f"{prefix}{name}" in state_dict for name in self._names):
            raise TNLayersError(
                f"{f'{prefix}weight'!r} is a dense weight, but the layer there is {self.spec}, which holds cores. "
                "tnl.load_dense(model, state_dict) loads a dense checkpoint and decomposes such weights."
            )
        self.thaw()
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As torch's, which all moves go through; then plans are those of the device that the cores are on."""
        self.thaw()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        here = self._map.on(device_name(next(self.parameters()).device))
        if here is not self._map:
            self._set_map(here)
        return self

    def _set_map(self, changed: LinearMap) -> None:
        """Continue as another network of the same sizes, or on another device; what a layer kind derives is renewed."""
        self.thaw()
        self._map = changed

    def thaw(self) -> Self:
        """End what `freeze` began; nothing happens to a layer that is not frozen.

        Returns:
            The layer.
        """
        if self._frozen is not None:
            self._frozen.budget.give_back(self._frozen.nbytes)
        self._frozen = None
        return self

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As torch's, which assignments go through too; another core in a frozen layer is noticed at the next call."""
        if self._frozen is not None and name in self._names:
            self._frozen.replaced(name)
        super().register_parameter(name, param)

    def _has_cores(self) -> bool:
        """Whether the cores are the layer's own parameters, not computed from other numbers."""
        return all(name in self._parameters for name in self._names)

    def _cores(self) -> list[Tensor]:
        own = self._parameters  # asked by name, not by attribute: at batch 1 attributes take a tenth of the call
        return [own[name] if name in own else getattr(self, name) for name in self._names]  # type: ignore[misc]

    def _refuse_computed(self, change: str) -> None:
        """Refuse a change of cores that are no parameters, where it would be lost, or of which others hold parts."""
        names = [name for name in self._map.shapes if name not in self._parameters]
        if names:
            raise TNLayersError(
                f"{change} writes into the cores, but {', '.join(names)[:200]} of this layer are computed from other "
                "numbers at each access, so it would be lost. Make them parameters first: tnl.dequantise(model) for "
                "codes of few bits, torch.nn.utils.parametrize.remove_parametrizations or torch.nn.utils.prune.remove."
            )
        kinds = {type(self._parameters[name]).__name__ for name in self._map.shapes} - {"Parameter", "NoneType"}
        if kinds:
            raise TNLayersError(
                f"{change} writes into the cores, but those of this layer are {', '.join(sorted(kinds))}, no ordinary "
                "parameters (sharded or quantised by others). Do it first, then shard or quantise the layer."
            )

    def _rewrite(self, cores: list[Tensor]) -> None:
        self._refuse_computed("This")
        for core, new in zip(self.cores.values(), cores, strict=True):
            core.copy_(new)
