"""What all torch layers share: looks at their cores, changes of them in place, and contractions with an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from torch.fx import Proxy
from torch.utils.checkpoint import checkpoint

from tnlayers.cores.linear_map import LinearMap, Runner
from tnlayers.cores.prune import Pruned, pruned
from tnlayers.cores.spectrum import Spectra
from tnlayers.declare.spec import Spec
from tnlayers.decompose.spectra import spectra
from tnlayers.decompose.zero import trainable
from tnlayers.errors import TNLayersError
from tnlayers.planning.plan import Plan
from tnlayers_backends.torch.layers.cores import TRACED_BATCH
from tnlayers_backends.torch.layers.freezable import Freezable, is_captured
from tnlayers_backends.torch.run import planned
from tnlayers_backends.torch.run.bound_call import BoundCall, bind, like
from tnlayers_backends.torch.run.frozen import Frozen, wants_gradients
from tnlayers_backends.torch.run.inputs import refuse_tracing
from tnlayers_backends.torch.run.primitives import OPS


class TNModule(Freezable):
    """A module whose weight is a tensor network; abstract: a layer kind adds `forward` and the shape of its weight.

    Made as `HeldCores`.
    """

    def spectra(self, template: str | Spec | None = None) -> Spectra:
        """The singular values and entropies at every bond, from the cores: `tnl.spectra` of this layer.

        Args:
            template: Cut the rebuilt weight by this network instead of by the layer's own.

        Raises:
            TNLayersError: If the network has loops, hyperedges or traces.
        """
        return spectra(self, template)

    @torch.inference_mode(False)  # the cores stay ordinary parameters
    @torch.no_grad()
    def canonicalise_(self, centre: str | None = None) -> None:
        """Sweep every core but the centre into an isometry towards it, in place: W and all shapes are unchanged.

        ||W|| is then the norm of the centre (of the whole W, padded features included). For a sum, each network is
        swept by itself.

        Args:
            centre: The name of a core; networks without it, and None, take their first.

        Raises:
            TNLayersError: If a network has a loop, a hyperedge or a trace, there is no core of that name, or a core is
                computed from other numbers.
        """
        self._refuse_computed("canonicalise_")
        self._rewrite(self._canonical(centre))

    @torch.inference_mode(False)
    @torch.no_grad()
    def balance_(self) -> None:
        """Scale the cores of each network to equal norms, in place: W is unchanged."""
        self._refuse_computed("balance_")
        self._rewrite(self._balanced())

    @torch.inference_mode(False)
    @torch.no_grad()
    def prune_(self, tolerance: float) -> Pruned:
        """Remove bond values that contribute (almost) nothing to W, in place: cores, bonds and spec become smaller.

        Cores that change their shape are new parameters: build the optimizer anew afterwards.

        Args:
            tolerance: How much the removed values may contribute to ||W|| together; 0 removes what is exactly zero.

        Returns:
            The bonds before and after, and a bound on the change of W; print it.

        Raises:
            TNLayersError: If the tolerance is not in [0, 1), the network type is not declared here, or another layer
                holds the same cores (`untie_`).
        """
        self._refuse_computed("prune_")
        self._refuse_tied("prune_")
        spec, cores, report = pruned(OPS, self._map, self._single(), tolerance)
        for (name, old), new in zip(self.cores.items(), cores, strict=True):
            if new.shape == old.shape:
                old.copy_(new)
            else:
                self.register_parameter(name, nn.Parameter(new.to(old.dtype).contiguous(), old.requires_grad))
        self._renew(spec)
        self._revive()
        return report

    @torch.inference_mode(False)
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
            optimizer: Whose groups get the new parameters, and whose averages of gradients are transferred.

        Raises:
            TNLayersError: If not exactly one of the two is given, a network has loops, or another layer holds the
                same cores (`untie_`).
        """
        self._refuse_computed("round_")
        self._refuse_tied("round_")
        from tnlayers_backends.torch.layers.resize import round_layer

        round_layer(self, error, bond_dim, optimizer)
        self._revive()

    @torch.inference_mode(False)
    @torch.no_grad()
    def grow_(
        self, bond_dim: int | tuple[int, ...], *, optimizer: torch.optim.Optimizer | None = None, seed: int = 0
    ) -> None:
        """Make the bonds larger, in place: W is unchanged, and the new values can be trained.

        Args:
            bond_dim: The new size of every bond, one number or one per bond (of a sum, over all its networks); clipped
                as in any spec.
            optimizer: Whose groups get the new parameters, and whose averages of gradients are transferred.
            seed: Of the random numbers that new values of a bond begin with, as large as those that are there; on the
                last of the bond's cores they are zero, so that W is unchanged.

        Raises:
            TNLayersError: If a bond would become smaller, or another layer holds the same cores (`untie_`).
        """
        self._refuse_computed("grow_")
        self._refuse_tied("grow_")
        from tnlayers_backends.torch.layers.resize import grow_layer

        grow_layer(self, bond_dim, optimizer, seed)

    @torch.no_grad()
    def _revive(self) -> None:
        """Draw the cores of a zero weight anew where they could not be trained; W stays zero."""
        self._rewrite(trainable(OPS, self._map.graphs, list(self.cores.values()), self.spec.in_features))

    @torch.inference_mode(False)
    @torch.no_grad()
    def untie_(self) -> None:
        """End a tie that `tnl.compress` or `tnl.load` left, in place: equal cores, of this layer's own.

        They are new parameters: build the optimizer anew afterwards. The other layer keeps the old ones.

        Example:
            >>> import tnlayers as tnl
            >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64))
            >>> model[2].weight = model[0].weight
            >>> small = tnl.compress(model, max_params=2048, network="lowrank").model
            >>> small[2].untie_()
            >>> small[2].round_(bond_dim=4)
            >>> small[0].tied, small[2].tied
            (True, False)
        """
        self._refuse_computed("untie_")
        for name, core in self.cores.items():
            self.register_parameter(name, nn.Parameter(core.detach().clone(), core.requires_grad))
        self.tied = False

    def _refuse_tied(self, change: str) -> None:
        """Refuse a change of bonds to cores that another layer shares: it would continue with the old ones."""
        if self.tied:
            raise TNLayersError(
                f"{change} gives this layer other cores, but another layer holds the same ones (tied weights) and "
                "would keep them: the tie would end unseen, and the model could become larger. Compress the dense "
                "model to less, which keeps ties, or let this layer go its own way first: layer.untie_()."
            )

    def _apply_map(self, x: Tensor, bias: Tensor | None = None, linear: LinearMap | None = None) -> Tensor:
        """A linear map of the cores on vectors (..., in_features) by the plan for their number.

        Args:
            x: The vectors.
            bias: What is added.
            linear: The map; the layer's own if None.
        """
        own = self._map if linear is None else linear
        if self._frozen is not None:
            done = self._apply_frozen(self._frozen, own, x, bias)
            if done is not None:
                return done
        if not (torch.is_grad_enabled() or is_dynamo_compiling()) and type(x) is Tensor:
            again = self._bound_call(own, x)
            if again is not None:
                return again(x, bias)
        run: Runner = planned.run
        if is_recorded(x):  # one finished program for every batch size: traced code never plans
            plan = own.plan_for(TRACED_BATCH)
        else:
            batch = x.numel() // max(x.shape[-1], 1) if x.ndim else 1
            if torch.is_grad_enabled():
                self._prepared.clear()  # training follows, which changes the cores
                plan = own.plan_for(batch, "training")
            elif is_captured(x) or not self._has_cores():  # nothing that is prepared would be found again
                plan = own.plan_for(batch)
            else:
                plan = own.guarded_plan(batch)
                run = planned.run if plan.objective == "forward" else self._run_prepared
        y = self._contract(lambda x, cores: own.apply(OPS, x, cores, plan, run), x)
        return y if bias is None else y + like(y, bias)

    def _apply_frozen(self, frozen: Frozen, own: LinearMap, x: Tensor, bias: Tensor | None) -> Tensor | None:
        """The same with what `freeze` has prepared; None where the cores themselves are asked for."""
        prepared = frozen.linear(own)
        if is_dynamo_compiling() or is_recorded(x):
            wanted = wants_gradients(self._cores())
            return None if wanted else prepared.traced(own.plan_for(TRACED_BATCH), x, bias)
        if is_captured(x) and not prepared.has(x.shape):
            return None  # what is prepared during a capture belongs to the graph
        return prepared(x, bias) if frozen.serves(self._parameters) else None

    def _bound_call(self, own: LinearMap, x: Tensor) -> BoundCall | None:
        """What inference did with such an input before, if it can do so again: nothing has changed."""
        if self.bond_dropout is not None:
            return None
        prepared_there = self._prepared.only(self._cores())
        return None if prepared_there is None else bind(own, prepared_there, x.shape)

    def _run_prepared(self, plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> Tensor:
        return planned.run(plan, x, cores, self._prepared)

    def invalidate(self) -> None:
        """Free what inference has prepared from the cores and cached; a frozen layer stays frozen.

        Results do not depend on it: every call compares the cores with those that the cache was made from.
        """
        self._prepared.clear()

    def _contract(self, run: Callable[[Tensor, list[Tensor]], Tensor], x: Tensor) -> Tensor:
        """Run a contraction of an input with the cores as training asks: bonds dropped, states saved or recomputed."""
        cores = self._cores()
        if self.bond_dropout is not None:
            cores = self.bond_dropout(cores)
        if self.checkpoint and torch.is_grad_enabled():
            return cast("Tensor", checkpoint(run, x, cores, use_reentrant=False, preserve_rng_state=False))
        return run(x, cores)

    def _sizes_repr(self) -> str:
        """The sizes that the layer kind has, for `extra_repr`."""
        return f"in_features={self.spec.in_features}, out_features={self.spec.out_features}"

    def extra_repr(self) -> str:
        """Sizes, network, parameters and rho, shown when the module is printed."""
        # By the graphs: the network function of the spec may not be declared here.
        parameters = sum(graph.parameters for graph in self._map.graphs)
        rho = parameters / self.spec.dense_parameters
        return (
            f"{self._sizes_repr()}, bias={self.bias is not None}, network={self.spec}, parameters={parameters}, "
            f"rho={rho:.4g}" + ("" if self._frozen is None else f", frozen={self._frozen.nbytes:,} bytes")
        )


def is_recorded(x: Tensor) -> bool:
    """Whether a compiler, an exporter or a tracer watches this call: its batch size is then that of one example."""
    if torch.compiler.is_compiling():
        return True
    # Symbolic `make_fx` and `torch.jit.trace` do not count as compiling, but sizes are no plain numbers there.
    if type(x.numel()) is int:
        return False
    if isinstance(x, Proxy):
        refuse_tracing()
    return True
