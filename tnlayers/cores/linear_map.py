"""Layers: a spec with its graph and plans, in the form that every backend shares.

What differs between backends is where the cores live (a dict, an `nn.Module`, a pytree). What does not is here:
choosing a plan for the batch at hand, running it on any leading dimensions, and rebuilding the weight.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import reduce
from math import prod
from typing import NamedTuple, TypeAlias

from tnlayers.cores.layer_plan import plan_graphs
from tnlayers.declare.arguments import LARGEST, integer, shown
from tnlayers.declare.graph import Graph, forward, weight
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.lowered import ITEMSIZES, Objective
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers.planning.sliced import summed
from tnlayers.program.program import Array, Primitives

# Plans made when a layer is built: one vector, and a batch that most training uses.
_BUCKETS_AT_BUILD = (1, 128)

# What comparing one core with its copy takes beside reading both: 4 cores of 59 kB took 5 us (AMD EPYC, torch 2.13).
_SECONDS_PER_COMPARISON = 1e-6

# How a backend runs a plan on vectors and cores.
Runner: TypeAlias = Callable[[Plan, Array, Sequence[Array]], Array]


class _Ends(NamedTuple):
    """The sizes of a network's vectors, and how many entries of zeros stand behind them."""

    in_features: int
    out_features: int
    pad_in: int
    pad_out: int


def bucket(batch: int) -> int:
    """The batch size that is planned for in place of `batch`: the next power of two, so that few plans serve all."""
    try:
        if batch >= 0:  # an empty batch is planned for as one vector
            return 1 << max(batch - 1, 0).bit_length()
    except (TypeError, AttributeError, RuntimeError) as error:
        raise TNLayersError(f"batch={shown(batch)}: an integer is needed.") from error
    raise TNLayersError(f"batch={shown(batch)}: a number of vectors is needed, at least 0.")


@dataclass(frozen=True)
class LinearMap:
    """The framework-free half of a layer: y = W x, W never formed unless the plan says so.

    A value: equal maps are interchangeable, so that jax's compiled functions serve layers alike.

    Attributes:
        spec: The declaration.
        dtype: The name of the dtype that plans count bytes for.
        graphs: Its networks as frozen index lists, one per term of a sum; the layer's cores are theirs, in order.
            Declared by the spec unless given.
        pinned: The plan that every batch runs; None chooses by batch size.
        device: Whose rates rank its plans: "cpu", or "cuda" and the name of the GPU.
        buckets: Batch sizes that are planned for at once, when the map is made.

    Raises:
        TNLayersError: If the spec has no sizes, or the pinned plan was made for another network.
    """

    spec: Spec
    dtype: str = "float32"
    graphs: tuple[Graph, ...] = ()
    pinned: AnyPlan | None = None
    device: str = "cpu"
    buckets: InitVar[tuple[int, ...]] = _BUCKETS_AT_BUILD
    _ends: tuple[_Ends, ...] = field(init=False, compare=False, repr=False)
    _plans: dict[tuple[int, Objective], AnyPlan] = field(default_factory=dict, init=False, compare=False, repr=False)
    _guarded: dict[int, AnyPlan] = field(default_factory=dict, init=False, compare=False, repr=False)
    _weight_plans: dict[int, Plan] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self, buckets: tuple[int, ...]) -> None:
        if not self.graphs:
            object.__setattr__(self, "graphs", self.spec.graphs)
        parts = self.spec.parts
        ends = tuple(_Ends(part.in_features, part.out_features, part.pad_in, part.pad_out) for part in parts)
        object.__setattr__(self, "_ends", ends)  # asked at every call: at batch 1 that is a part of it
        if self.pinned is not None:
            self._check(self.pinned)
        for batch in buckets:
            self.plan_for(batch)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every core by name, in order of declaration."""
        return {name: shape for graph in self.graphs for name, shape in graph.shapes.items()}

    def plan_for(self, batch: int, objective: Objective = "forward") -> AnyPlan:
        """The plan that a batch of this size runs: the pinned one, else the one of its bucket, searched at most once.

        Args:
            batch: Number of vectors that go through at once.
            objective: "forward", "training" where gradients are wanted, or "inference" where prepared matrices are
                cached between calls.
        """
        if self.pinned is not None:
            return self.pinned
        key = (bucket(batch), objective)
        if key not in self._plans:
            integer("batch", batch, 0, LARGEST)
            self._plans[key] = plan_graphs(
                self.spec, self.graphs, key[0], objective=objective, dtype=self.dtype, device=self.device
            )
        return self._plans[key]

    def guarded_plan(self, batch: int) -> AnyPlan:
        """The plan of inference where every call compares the cores with what the cached matrices were made from.

        Returns:
            The plan for "inference" where it is faster by more than the comparison takes, else that for "forward",
            which needs nothing cached; the pinned one if there is one.
        """
        if self.pinned is not None:
            return self.pinned
        key = bucket(batch)
        if key not in self._guarded:
            cached, plain = self.plan_for(batch, "inference"), self.plan_for(batch, "forward")
            views = not any(term.prepared for term in cached.terms)  # of the cores: nothing has to be compared
            comparable = self.device == "cpu"  # elsewhere reading the cores waits for all work before
            wins = views or (comparable and cached.seconds + self._comparing < plain.seconds)
            self._guarded[key] = cached if wins else plain
        return self._guarded[key]

    @property
    def _comparing(self) -> float:
        """Seconds that comparing the cores with copies of them takes."""
        rates, itemsize = machine(self.device, self.dtype), ITEMSIZES[self.dtype]
        sizes = [prod(shape) for shape in self.shapes.values()]
        cached = float(2 * itemsize * sum(sizes) <= rates.cache_bytes)
        return len(sizes) * _SECONDS_PER_COMPARISON + rates.move(2 * sum(sizes), itemsize, cached=cached)

    def tune(self, batch: int, objective: Objective = "forward") -> AnyPlan:
        """Time the few best plans for batches of this size, or read what was found before; run the fastest from now on.

        Args:
            batch: Number of vectors that go through at once; all batches of its bucket get the plan.
            objective: As in `plan_for`.

        Raises:
            TNLayersError: If a plan is pinned, torch is not installed, or the cache folder cannot be written to.
        """
        if self.pinned is not None:
            raise TNLayersError(f"{self.spec} runs a given plan at every batch: call use_plan(None) before tuning.")
        key = (bucket(batch), objective)
        self._plans[key] = plan_graphs(
            self.spec, self.graphs, key[0], objective=objective, dtype=self.dtype, tune=True, device=self.device
        )
        self._guarded.pop(key[0], None)
        return self._plans[key]

    def with_plan(self, plan: AnyPlan | None) -> LinearMap:
        """The same map that runs every batch by this plan, or chooses by batch size (None).

        Raises:
            TNLayersError: If the plan was made for another network.
        """
        return replace(self, pinned=plan)

    def on(self, device: str) -> LinearMap:
        """The same map with plans for another device, at the batch sizes that were planned for here."""
        if device == self.device:
            return self
        return replace(self, device=device, buckets=tuple(sorted({batch for batch, _ in self._plans})))

    def _check(self, plan: AnyPlan) -> None:
        if not hasattr(plan, "terms") or not hasattr(plan, "batch"):
            raise TNLayersError(f"plan={shown(plan)}: a plan is needed, such as tnl.plan({str(self.spec)!r}, batch=8).")
        batch = plan.batch
        contractions = tuple(term.contraction for term in plan.terms)
        if batch is None or contractions != tuple(forward(graph, batch) for graph in self.graphs):
            raise TNLayersError(
                f"This plan was made for {plan.title or 'another contraction'}, not for {self.spec}. Make one with "
                f"tnl.plan({str(self.spec)!r}, batch=...)."
            )

    def apply(
        self, ops: Primitives, x: Array, cores: Sequence[Array], plan: AnyPlan, run: Runner | None = None
    ) -> Array:
        """Multiply vectors by the weight.

        Args:
            ops: The primitives of the arrays' backend.
            x: Vectors of shape (..., in_features).
            cores: The cores, in order of declaration.
            plan: A plan of this layer.
            run: How the backend runs a plan; its program's steps one by one if None.

        Returns:
            Vectors of shape (..., out_features).

        Raises:
            TNLayersError: If the last dimension of `x` is not in_features.
        """
        self.check(x)
        if len(self._ends) == 1:
            return _apply(ops, x, plan.terms[0], self._ends[0], cores, run)
        return reduce(
            operator.add,
            (
                _apply(ops, x, term, ends, own, run)
                for term, ends, own in zip(plan.terms, self._ends, self.split(cores), strict=True)
            ),
        )

    def check(self, x: Array) -> None:
        """Refuse an input of another size.

        Raises:
            TNLayersError: If the last dimension of `x` is not in_features.
        """
        features = x.shape[-1] if x.ndim else None
        if features != self._ends[0].in_features:
            raise TNLayersError(
                f"The input's last dimension is {features} (shape {tuple(x.shape)}), but this layer takes vectors of "
                f"{self.spec.in_features} features, (..., {self.spec.in_features}) -> (..., {self.spec.out_features})."
            )

    def weight(self, ops: Primitives, cores: Sequence[Array]) -> Array:
        """The weight matrix of shape (out_features, in_features), rebuilt from the cores."""
        return reduce(
            operator.add,
            (self.term_weight(ops, term, own) for term, own in enumerate(self.split(cores))),
        )

    def term_weight(self, ops: Primitives, term: int, cores: Sequence[Array]) -> Array:
        """The weight matrix of one of the networks alone, rebuilt from its own cores."""
        graph, part = self.graphs[term], self.spec.parts[term]
        w = rebuild(ops, graph, cores, self.weight_plan(term))
        return w[: part.out_features, : part.in_features] if part.pad_in or part.pad_out else w

    def weight_plan(self, term: int) -> Plan:
        """How the weight of one of the networks is rebuilt, searched once."""
        if term not in self._weight_plans:
            title = f"weight of {self.spec.parts[term]}"
            contraction = weight(self.graphs[term])
            plan = plan_contraction(contraction, dtype=self.dtype, title=title, device=self.device)
            self._weight_plans[term] = plan
        return self._weight_plans[term]

    def split(self, cores: Sequence[Array]) -> Iterator[Sequence[Array]]:
        """The cores of each term."""
        start = 0
        for graph in self.graphs:
            yield cores[start : start + len(graph.cores)]
            start += len(graph.cores)


def rebuild(ops: Primitives, graph: Graph, cores: Sequence[Array], plan: Plan | None = None) -> Array:
    """The weight of one network, (product of out modes, product of in modes), padded features included.

    Args:
        ops: The primitives of the cores' backend.
        graph: The network.
        cores: Its cores, in order of declaration.
        plan: How, for the contraction `weight(graph)`; searched if None.
    """
    plan = plan or plan_contraction(weight(graph), title="weight")
    identities = [ops.eye(graph.sizes[i], cores[0]) for i in graph.shared]
    w = plan.program.run(ops, [*cores, *identities])
    return ops.reshape(w, (prod(graph.out_modes), prod(graph.in_modes)))


def _apply(ops: Primitives, x: Array, plan: Plan, ends: _Ends, cores: Sequence[Array], run: Runner | None) -> Array:
    """One network applied to vectors: padding, its program, and the cut."""
    leading = x.shape[:-1]
    if ends.pad_in:
        x = ops.pad(x, ends.pad_in)
    if run is not None:
        y = run(plan, x, cores)  # entries as in (batch, *out_modes)
    else:
        y = summed(ops, plan, x, cores) if plan.slices else plan.program.run(ops, [x, *cores])
    y = ops.reshape(y, (*leading, ends.out_features + ends.pad_out))
    return y[..., : ends.out_features] if ends.pad_out else y
