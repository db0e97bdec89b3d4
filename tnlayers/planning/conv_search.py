"""The search for a route of one kernel: which cores are contracted with the input together, and in which order.

After a set of cores has been applied, what remains to do depends only on that set. So the search goes from smaller sets
to larger ones and keeps, for each set, the cheapest way to it; of sets of equal size the few cheapest. Groups are up to
three cores that hang together, or all that are left. For networks of up to six cores nothing else is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import prod

from tnlayers.declare.graph import Contraction
from tnlayers.declare.kernel import Kernel
from tnlayers.declare.window import Window
from tnlayers.machine.rates import Machine
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.conv_plan import ConvStep, Route, conv_cost
from tnlayers.planning.lowered import ITEMSIZES
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import Plan
from tnlayers.pricing.convolutions import contracted_seconds, convolved_seconds, multiplied_seconds
from tnlayers.pricing.counts import NOTHING, Cost

_BEAM = 24
_GROUP = 3
_DP_UP_TO = 12


@dataclass(frozen=True, slots=True)
class _State:
    """The input with some cores applied: its channel axes, its positions, the steps so far and their estimate."""

    applied: frozenset[int]
    axes: tuple[int, ...]
    spatial: tuple[int, ...]
    moves: tuple[_Move, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Move:
    """One step before its kernel is planned: the group, the order of axes wanted, and the roles of the indices."""

    group: tuple[int, ...]
    axes: tuple[int, ...]
    wanted: tuple[int, ...]
    roles: tuple[tuple[int, ...], ...]  # before, groups, summed, new, after
    dims: tuple[int, ...]
    cost: Cost


class RouteSearch:
    """The search for one network's route at one batch size."""

    def __init__(
        self, kernel: Kernel, window: Window, batch: int, rates: Machine, dtype: str, device: str, *, training: bool
    ) -> None:
        self.kernel, self.window, self.batch = kernel, window, batch
        self.rates, self.dtype, self.device, self.training = rates, dtype, device, training
        self.groups = list(_groups(kernel))
        self.kernel_costs: dict[tuple[int, ...], Cost] = {}

    def run(self, spatial: Sequence[int]) -> Route | None:
        """The cheapest route, or None where the network can only be rebuilt."""
        n = len(self.kernel.cores)
        start = self._start(spatial)
        levels: list[dict[frozenset[int], _State]] = [{start.applied: start}, *({} for _ in range(n))]
        for level in levels[:-1]:
            for state in sorted(level.values(), key=lambda state: state.seconds)[:_BEAM]:
                rest = tuple(k for k in range(n) if k not in state.applied)
                groups = {group for group in self.groups if state.applied.isdisjoint(group)} | {rest}
                for group in sorted(groups):
                    longer = self._apply(state, group)
                    if longer is None:
                        continue
                    known = levels[len(longer.applied)].get(longer.applied)
                    if known is None or longer.seconds < known.seconds:
                        levels[len(longer.applied)][longer.applied] = longer
        return self._finish(levels[-1][frozenset(range(n))]) if levels[-1] else None

    def follow(self, spatial: Sequence[int], groups: Sequence[Sequence[int]]) -> Route:
        """The route that applies known groups of cores one after the other; a ValueError where that cannot be."""
        if sorted(k for group in groups for k in group) != list(range(len(self.kernel.cores))):
            raise ValueError(f"{groups} are not the cores, each once")
        state: _State | None = self._start(spatial)
        for group in groups:
            state = None if state is None else self._apply(state, tuple(group))
        if state is None:
            raise ValueError(f"{groups} cannot be applied in this order")
        return self._finish(state)

    def _start(self, spatial: Sequence[int]) -> _State:
        return _State(frozenset(), self.kernel.channels, self.window.padded(spatial), (), 0.0)

    def _apply(self, state: _State, group: tuple[int, ...]) -> _State | None:
        """The state after one more group, or None where its positions would still be needed afterwards."""
        kernel = self.kernel
        own = dict.fromkeys(i for k in group for i in kernel.cores[k])
        rest = {i for k, core in enumerate(kernel.cores) if k not in group and k not in state.applied for i in core}
        dims = self._dims(set(own), rest, first=not state.moves)
        if dims is None:
            return None
        needed = rest | set(kernel.outputs)
        positions = {i for part in kernel.positions for i in part}
        shared = [i for i in state.axes if i in own]
        kept = tuple(i for i in shared if i in needed)
        summed = tuple(i for i in shared if i not in needed)
        new = tuple(i for i in own if i in needed and i not in state.axes and i not in positions)
        others = [i for i in state.axes if i not in own]
        first = min((state.axes.index(i) for i in shared), default=len(state.axes))
        after = () if dims else tuple(i for i in others if state.axes.index(i) > first)
        before = tuple(i for i in others if i not in after)
        out = self._moved(state.spatial, dims)
        wanted = (*before, *kept, *summed, *after)
        roles = (before, kept, summed, new, after)
        cost = conv_cost(
            self._channels(roles),
            [size for d, size in enumerate(self.window.kernel) if d in dims],
            self.batch,
            prod(state.spatial),
            prod(out),
            ITEMSIZES[self.dtype],
            copied=wanted != state.axes,
            kept=bool(state.moves),
        )
        move = _Move(group, state.axes, wanted, roles, dims, cost)
        seconds = self._step_seconds(cost, self._channels(roles), prod(state.spatial), dims)
        seconds += contracted_seconds(self.rates, self._kernel_cost(group), training=self.training)
        return _State(
            state.applied.union(group),
            (*before, *kept, *new, *after),
            out,
            (*state.moves, move),
            state.seconds + seconds,
        )

    def _step_seconds(self, cost: Cost, channels: Sequence[int], positions: int, dims: Sequence[int]) -> float:
        """The estimate of one step: a convolution along some dimensions, or a product at each position."""
        before, groups, summed, new, after = channels
        if dims:
            places = prod(self.window.kernel[d] for d in dims)
            return convolved_seconds(self.rates, cost, (groups, summed, new), places, training=self.training)
        sizes = (self.batch * before * groups, new, summed, after * positions)
        return multiplied_seconds(self.rates, cost, sizes, training=self.training)

    def _dims(self, own: set[int], rest: set[int], *, first: bool) -> tuple[int, ...] | None:
        """The dimensions that a group moves along: those whose positions it holds.

        A kernel of size 1 has no index; if it has a stride or padding all the same, the first step moves along it.
        """
        dims = []
        for d, part in enumerate(self.kernel.positions):
            if not part:
                if first and (self.window.stride[d] > 1 or self.window.within[d]):
                    dims.append(d)
            elif own.intersection(part):
                if not own.issuperset(part) or rest.intersection(part):
                    return None
                dims.append(d)
        return tuple(dims)

    def _moved(self, spatial: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
        """The positions after a step that moves along some dimensions."""
        w = self.window
        return tuple(
            (size + 2 * w.within[d] - w.extent(d)) // w.stride[d] + 1 if d in dims else size
            for d, size in enumerate(spatial)
        )

    def _channels(self, roles: Sequence[Sequence[int]]) -> tuple[int, int, int, int, int]:
        before, groups, summed, new, after = (self.kernel.elements(part) for part in roles)
        return (before, groups, summed, new, after)

    def _kernel_cost(self, group: tuple[int, ...]) -> Cost:
        """What contracting a group's cores takes, about: the final order of axes is not known yet."""
        if group not in self.kernel_costs:
            kernel = self.kernel
            own = dict.fromkeys(i for k in group for i in kernel.cores[k])
            outside = {*kernel.channels, *kernel.outputs, *(i for part in kernel.positions for i in part)}
            outside |= {i for k, core in enumerate(kernel.cores) if k not in group for i in core}
            output = tuple(i for i in own if i in outside)
            # All that is left may be many cores: an estimate need not know their best order.
            self.kernel_costs[group] = self._contract(group, output, _GROUP).cost if len(group) > 1 else NOTHING
        return self.kernel_costs[group]

    def _contract(self, group: tuple[int, ...], output: tuple[int, ...], exact_up_to: int = _DP_UP_TO) -> Plan:
        contraction = Contraction(
            names=tuple(self.kernel.names[k] for k in group),
            operands=tuple(self.kernel.cores[k] for k in group),
            output=output,
            sizes=self.kernel.sizes,
        )
        optimize: Optimizer = "dp" if len(group) <= exact_up_to else "greedy"
        return plan_contraction(contraction, optimize=optimize, dtype=self.dtype, device=self.device)

    def _finish(self, state: _State) -> Route:
        steps = tuple(self._step(move) for move in state.moves)
        axes, outputs = state.axes, self.kernel.outputs
        return Route(
            steps=steps,
            axes=tuple(self.kernel.sizes[i] for i in axes),
            order=None if axes == outputs else tuple(axes.index(i) for i in outputs),
            cost=reduce(Cost.__add__, [step.cost for step in steps], NOTHING),
            seconds=state.seconds,
        )

    def _step(self, move: _Move) -> ConvStep:
        _, groups, summed, new, _ = move.roles
        positions = tuple(i for d in move.dims for i in self.kernel.positions[d])
        plan = self._contract(move.group, (*groups, *new, *summed, *positions))
        return ConvStep(
            kernel=plan,
            cores=move.group,
            axes=tuple(self.kernel.sizes[i] for i in move.axes),
            order=None if move.axes == move.wanted else tuple(move.axes.index(i) for i in move.wanted),
            channels=self._channels(move.roles),
            dims=move.dims,
            cost=plan.cost + move.cost,
        )


def _groups(kernel: Kernel) -> Iterator[tuple[int, ...]]:
    """Groups of up to three cores that hang together."""
    cores = [set(core) for core in kernel.cores]
    for size in range(1, min(_GROUP, len(cores)) + 1):
        for group in combinations(range(len(cores)), size):
            reached, waiting = set(cores[group[0]]), list(group[1:])
            while near := [k for k in waiting if reached & cores[k]]:
                reached |= cores[near[0]]
                waiting.remove(near[0])
            if not waiting:
                yield group
