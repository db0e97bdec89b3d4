"""What all torch layers share: cores as parameters, their initialisation, plans, and the weight rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tnlayers.compress.decompose import Decomposition
from tnlayers.compress.spectra import spectra
from tnlayers.draw import draw
from tnlayers.errors import TNLayersError
from tnlayers.initialise import default_variance, draw_bias, draw_layer
from tnlayers.layer import LinearMap
from tnlayers.norm import norm2
from tnlayers.plan import Plan
from tnlayers.prune import Pruned, pruned
from tnlayers.spec import Spec
from tnlayers.spectrum import Spectra
from tnlayers.sweep import balanced_terms, canonical_terms
from tnlayers_backends.torch import planned
from tnlayers_backends.torch.dropout import BondDropout
from tnlayers_backends.torch.ops import OPS
from tnlayers_backends.torch.prepared import Prepared
from tnlayers_backends.torch.rates import device_name

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture

# The plan that compiled and exported code closes over, unless the user pins another: planning cannot be traced.
_TRACED_BATCH = 128


class TNModule(nn.Module):
    """A module whose weight is a tensor network; abstract: a layer kind adds `forward` and the shape of its weight.

    Args:
        spec: The sized declaration; its in_features are what one output sums over.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        seed: Draws the parameters; None takes torch's global generator, so `torch.manual_seed` decides.
        linear: Whether `forward` multiplies vectors by the weight: then the usual batch sizes are planned for here.
        variance: What E[W^2] is initialised to, the bias within the root of three times that; None for the kind's own.

    Raises:
        TNLayersError: If a core has a name that torch modules use themselves.
    """

    bias: nn.Parameter | None
    in_order: Tensor | None  # which input feature the network reads at each place, see orders.py
    out_place: Tensor | None  # where it writes each output feature
    bond_dropout: BondDropout | None  # set by `tnl.nn.bond_dropout`
    delivered: Decomposition | None = None  # what `from_linear` and its kin made of the dense weight
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
        self._map = LinearMap(spec, name, device=home) if linear else LinearMap(spec, name, device=home, buckets=())
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
        """Draw the cores anew so that E[W^2] is that of the dense layer this one stands for, and the bias likewise.

        Args:
            seed: As at construction; the same seed gives the same numbers on every backend.

        Raises:
            TNLayersError: If a core is computed from other parameters (parametrised, or pruned).
        """
        computed = [name for name in self._map.shapes if name not in self._parameters]
        if computed:
            raise TNLayersError(
                f"{', '.join(computed)} of {self.spec} is computed from other parameters at each access, so numbers "
                "written into it would be lost. Reset the layer first, or remove the parametrisation or pruning "
                "(torch.nn.utils.parametrize.remove_parametrizations)."
            )
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

    @property
    def spec(self) -> Spec:
        """The declaration."""
        return self._map.spec

    @property
    def cores(self) -> dict[str, nn.Parameter]:
        """The cores by name, in order of declaration."""
        return {name: getattr(self, name) for name in self._names}

    @property
    def weight(self) -> Tensor:
        """The dense weight, rebuilt at each access; differentiable, no parameter of its own.

        It is here for code that reads `layer.weight`; `forward` does not use it.
        """
        return self.to_dense()

    def to_dense(self) -> Tensor:
        """The dense weight in the shape of the layer that this one stands for, differentiable."""
        weight: Tensor = self._map.weight(OPS, list(self.cores.values()))
        return weight

    def norm2(self) -> Tensor:
        """||W||^2, the sum of the squared entries of the weight, exact and differentiable, without building it.

        Added to a loss it is the weight decay of the dense layer: `loss + decay / 2 * layer.norm2()`.
        """
        total: Tensor = norm2(OPS, self._map, list(self.cores.values()))
        return total

    def spectra(self, template: str | Spec | None = None) -> Spectra:
        """The singular values and entropies at every bond, from the cores: `tnl.spectra` of this layer.

        Args:
            template: Cut the rebuilt weight by this network instead of by the layer's own.

        Raises:
            TNLayersError: If the network has loops, hyperedges or traces.
        """
        return spectra(self, template)

    @torch.no_grad()
    def canonicalise_(self, centre: str | None = None) -> None:
        """Sweep every core but the centre into an isometry towards it, in place: W and all shapes are unchanged.

        ||W|| is then the norm of the centre (of the whole W, padded features included). For a sum, each network is
        swept by itself.

        Args:
            centre: The name of a core; networks without it, and None, take their first.

        Raises:
            TNLayersError: If a network has a loop, a hyperedge or a trace, or there is no core of that name.
        """
        self._rewrite(canonical_terms(OPS, self._map.graphs, self._single(), centre))

    @torch.no_grad()
    def balance_(self) -> None:
        """Scale the cores of each network to equal norms, in place: W is unchanged."""
        self._rewrite(balanced_terms(OPS, self._map.graphs, self._single()))

    @torch.no_grad()
    def prune_(self, tolerance: float) -> Pruned:
        """Remove the values of bonds that carry (almost) nothing of W, in place: cores, bonds and spec become smaller.

        Cores that change their shape are new parameters: build the optimizer anew afterwards.

        Args:
            tolerance: How much of ||W|| the removed values may carry together; 0 removes what is exactly zero.

        Returns:
            The bonds before and after, and a bound on the change of W; print it.

        Raises:
            TNLayersError: If the tolerance is not in [0, 1), or the network type is not declared here.
        """
        spec, cores, report = pruned(OPS, self._map, self._single(), tolerance)
        for (name, old), new in zip(self.cores.items(), cores, strict=True):
            if new.shape == old.shape:
                old.copy_(new)
            else:
                self.register_parameter(name, nn.Parameter(new.to(old.dtype).contiguous(), old.requires_grad))
        self._renew(spec)
        return report

    @torch.no_grad()
    def round_(
        self,
        *,
        error: float | None = None,
        bond_dim: int | tuple[int, ...] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Cut the bonds to what the weight needs, in place, by singular values: cores and spec become smaller.

        Args:
            error: The largest relative change of the weight, ||W - W'|| / ||W||; or
            bond_dim: the largest size of every bond, one number or one per bond (of a sum, over all its networks).
            optimizer: Whose groups get the new parameters, and whose averages of gradients are carried over.

        Raises:
            TNLayersError: If not exactly one of the two is given, or a network has loops.
        """
        from tnlayers_backends.torch.resize import round_layer

        round_layer(self, error, bond_dim, optimizer)

    @torch.no_grad()
    def grow_(
        self, bond_dim: int | tuple[int, ...], *, optimizer: torch.optim.Optimizer | None = None, seed: int = 0
    ) -> None:
        """Make the bonds larger, in place: W is unchanged, and the new values can be trained.

        Args:
            bond_dim: The new size of every bond, one number or one per bond (of a sum, over all its networks); clipped
                as in any spec.
            optimizer: Whose groups get the new parameters, and whose averages of gradients are carried over.
            seed: Of the small numbers that new values begin with on one side of each bond; the other side is zero.

        Raises:
            TNLayersError: If a bond would become smaller.
        """
        from tnlayers_backends.torch.resize import grow_layer

        grow_layer(self, bond_dim, optimizer, seed)

    def _renew(self, spec: Spec) -> None:
        """Go on with a spec of other bonds: plans and dropout of the new network."""
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
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As torch's, which all moves go through; then plans are those of the device that the cores are on."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._map = self._map.on(device_name(next(self.parameters()).device))
        return self

    def _set_map(self, smaller: LinearMap) -> None:
        """Go on as another network of the same sizes; layer kinds that derive plans from the map renew them."""
        self._map = smaller

    def _single(self) -> list[Tensor]:
        """The cores in at least single precision, which factorisations need."""
        return [core.to(torch.promote_types(core.dtype, torch.float32)) for core in self.cores.values()]

    def _rewrite(self, cores: list[Tensor]) -> None:
        for core, new in zip(self.cores.values(), cores, strict=True):
            core.copy_(new)

    def _apply_map(self, x: Tensor, linear: LinearMap | None = None) -> Tensor:
        """A linear map of the cores, without bias, on vectors (..., in_features) by the plan for their number.

        Args:
            x: The vectors.
            linear: The map; the layer's own if None.
        """
        own = self._map if linear is None else linear
        if is_recorded(x):  # one finished program for every batch size: traced code never plans
            plan = own.plan_for(_TRACED_BATCH)
            return self._contract(lambda x, cores: own.apply(OPS, x, cores, plan, planned.run), x)
        batch = x.numel() // max(x.shape[-1], 1) if x.ndim else 1
        if torch.is_grad_enabled() or is_captured(x):
            plan = own.plan_for(batch, "training" if torch.is_grad_enabled() else "forward")
            return self._contract(lambda x, cores: own.apply(OPS, x, cores, plan, planned.run), x)
        plan = own.plan_for(batch, "inference")
        return self._contract(lambda x, cores: own.apply(OPS, x, cores, plan, self._run_prepared), x)

    def _run_prepared(self, plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> Tensor:
        return planned.run(plan, x, cores, self._prepared)

    def invalidate(self) -> None:
        """Forget what inference has prepared from the cores and kept.

        Needed only after changes that torch does not count: through `.data` in the same memory, or by other processes.
        """
        self._prepared.clear()

    def _contract(self, run: Callable[[Tensor, list[Tensor]], Tensor], x: Tensor) -> Tensor:
        """Run a contraction of an input with the cores as training asks: bonds dropped, states kept or recomputed."""
        own = self._parameters  # asked by name, not by attribute: at batch 1 attributes take a tenth of the call
        found = [own[name] if name in own else getattr(self, name) for name in self._names]
        cores = cast("list[Tensor]", found)
        if self.bond_dropout is not None:
            cores = self.bond_dropout(cores)
        if self.checkpoint and torch.is_grad_enabled():
            return cast("Tensor", checkpoint(run, x, cores, use_reentrant=False, preserve_rng_state=False))
        return run(x, cores)

    def _sizes_repr(self) -> str:
        """The sizes that the layer kind has, for `extra_repr`."""
        return f"in_features={self.spec.in_features}, out_features={self.spec.out_features}"

    def draw(self, **options: Any) -> Picture:
        """The network's picture; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        from tnlayers.draw.display import network_html

        return network_html(self.spec, self._map.graphs, self)

    def extra_repr(self) -> str:
        """Sizes, network, parameters and rho, shown when the module is printed."""
        parameters = sum(
            graph.parameters for graph in self._map.graphs
        )  # its network function may not be declared here
        rho = parameters / self.spec.dense_parameters
        return (
            f"{self._sizes_repr()}, bias={self.bias is not None}, network={self.spec}, parameters={parameters}, "
            f"rho={rho:.4g}"
        )


def is_captured(x: Tensor) -> bool:
    """Whether a CUDA graph records this call: what it prepares from the cores must be prepared at every replay."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def is_recorded(x: Tensor) -> bool:
    """Whether a compiler, an exporter or a tracer watches this call: its batch size is then that of one example."""
    # Symbolic `make_fx` and `torch.jit.trace` do not count as compiling, but sizes are no plain numbers there.
    return torch.compiler.is_compiling() or type(x.numel()) is not int
