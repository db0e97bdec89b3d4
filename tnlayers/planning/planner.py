"""Planning a layer: `tnl.plan` gives one `Plan`, or for a sum of networks one per term with the face of a plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, TypeAlias

from tnlayers.declare.graph import Graph, forward
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.draw import draw
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import ITEMSIZES, Objective, Plan
from tnlayers.planning.text import amount
from tnlayers.planning.tuning import tuned
from tnlayers.pricing.counts import NOTHING, Cost, dense_cost

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture

FORMAT = "tnlayers.sumplan/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPlan:
    """The plans of the terms of a sum: each runs on the same input, and the results are added.

    Attributes:
        terms: One plan per term, for one batch size, objective and dtype.
        title: What the plan is for, in words.
        features: (in_features, out_features) of the layer.
    """

    terms: tuple[Plan, ...]
    title: str
    features: tuple[int, int]

    @property
    def batch(self) -> int | None:
        """The batch size planned for."""
        return self.terms[0].batch

    @property
    def objective(self) -> Objective:
        """What was minimised."""
        return self.terms[0].objective

    @property
    def dtype(self) -> str:
        """The dtype that bytes are counted for."""
        return self.terms[0].dtype

    @property
    def cost(self) -> Cost:
        """Exact counts of the whole forward pass, the additions of the results included."""
        size = (self.batch or 1) * self.features[1]
        itemsize = ITEMSIZES[self.dtype]
        added = Cost(flops=size, bytes=3 * size * itemsize, copied=0, kept=0, result=size * itemsize)
        return reduce(Cost.__add__, [*(term.cost for term in self.terms), *[added] * (len(self.terms) - 1)], NOTHING)

    @property
    def flops(self) -> int:
        """Flops of the objective; the backward pass of an addition takes none."""
        return sum(term.flops for term in self.terms) + (len(self.terms) - 1) * (self.batch or 1) * self.features[1]

    @property
    def dense(self) -> Cost:
        """Cost of the dense layer of equal size at this batch, forward pass."""
        return dense_cost(*self.features, self.batch or 1, ITEMSIZES[self.dtype])

    @property
    def seconds(self) -> float:
        """The estimate that plans are ranked by; no promise of a run time."""
        return sum(term.seconds for term in self.terms)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data: that of each term."""
        return {
            "format": FORMAT,
            "title": self.title,
            "features": self.features,
            "flops": self.flops,
            "terms": [term.to_dict() for term in self.terms],
        }

    def to_json(self) -> str:
        """The plan as JSON; `Plan.from_json` reads it back to an equal plan."""
        return json.dumps(self.to_dict())

    def draw(self, **options: Any) -> Picture:
        """The contraction tree over the timeline of steps; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        from tnlayers.draw.display import plan_html

        return plan_html(self)

    def __str__(self) -> str:
        total, dense = self.cost, self.dense
        ratios = (
            f"{total.flops / dense.flops:.3g} of the dense layer's flops, {total.bytes / dense.bytes:.3g} of its bytes"
        )
        end = f"sum of {len(self.terms)} terms: {amount(total.flops)} flops, {amount(total.bytes)} bytes; {ratios}."
        return "\n\n".join([*map(str, self.terms), end])

    __repr__ = __str__


AnyPlan: TypeAlias = Plan | SumPlan


def plan(
    spec: str | Spec | Graph,
    batch: int = 1,
    *,
    objective: Objective = "forward",
    optimize: Optimizer = "auto",
    dtype: str = "float32",
    memory_limit: int | None = None,
    tune: bool = False,
    device: str = "cpu",
) -> AnyPlan:
    """Find the cheapest way to apply a layer to a batch.

    Args:
        spec: A sized spec, its string, or a graph.
        batch: The number of vectors that go through the layer at once, at least 1.
        objective: What is to be fast: "forward", "training", or "inference", where everything that does not depend on
            the input is prepared already.
        optimize: "auto"; or any optimizer of opt_einsum by name ("optimal", "dp", "greedy", "random-greedy", ...), any
            object that speaks its protocol, or a path in its form.
        dtype: For counting bytes: float16, bfloat16, float32, float64, complex64 or complex128.
        memory_limit: Bytes that may be in use beyond input, output, cores and their gradients (`Plan.memory`); kept by
            walking the batch in chunks with states computed again, or by another path. For a sum, each network has it:
            they run one after the other.
        tune: Whether to time the few best candidates with torch on the processor, for a second or so, and take
            the fastest. What was found is kept on disk, for this machine, number of threads, batch, objective and
            dtype (see `tnlayers.planning.tuning`).
        device: Whose rates rank plans: "cpu", or "cuda" and perhaps the name of the GPU as torch tells it.

    Returns:
        A plan; printing it shows the tree, each step's equation, flops, bytes, result and what is kept for backward,
        and totals beside the dense layer. A sum has one per term, in a `SumPlan`.

    Raises:
        TNLayersError: If the spec has no sizes, the batch is not a positive integer, the optimizer is unknown, no
            plan keeps the memory limit (the message names the least that is feasible), or tuning is asked for
            without torch or beside an optimizer.

    Example:
        >>> import tnlayers as tnl
        >>> p = tnl.plan("mpo(in=8x8x8x8, out=8x8x8x8, bond=16)", batch=128)
        >>> round(p.cost.flops / p.dense.flops, 2)
        0.5
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise TNLayersError(f"batch must be a positive integer, got {batch!r}.")
    if isinstance(spec, Graph):
        return _finder(optimize, tune, device)(
            forward(spec, batch), objective=objective, dtype=dtype, memory_limit=memory_limit, title="graph"
        )
    made = make_spec(spec)
    return plan_graphs(
        made,
        made.graphs,
        batch,
        objective=objective,
        optimize=optimize,
        dtype=dtype,
        memory_limit=memory_limit,
        tune=tune,
        device=device,
    )


def _finder(optimize: Optimizer, tune: bool, device: str) -> Callable[..., Plan]:
    """What finds a plan for a contraction."""
    if not tune:
        return partial(plan_contraction, optimize=optimize, device=device)
    if device != "cpu":
        raise TNLayersError(
            f"tune=True times plans on the processor, but device={device!r} is asked for: leave tune out, and measure "
            "that device's rates with `tnlayers calibrate --device cuda`."
        )
    if optimize != "auto":
        raise TNLayersError(
            f"tune=True chooses among paths by the clock, but optimize={optimize!r} asks for one: leave one of the two."
        )
    return tuned


def plan_graphs(
    spec: Spec,
    graphs: Sequence[Graph],
    batch: int,
    *,
    objective: Objective = "forward",
    optimize: Optimizer = "auto",
    dtype: str = "float32",
    memory_limit: int | None = None,
    tune: bool = False,
    device: str = "cpu",
) -> AnyPlan:
    """Plan a layer whose graphs are at hand: a `Plan`, or a `SumPlan` where there are several.

    Args:
        spec: The declaration, for titles and sizes.
        graphs: One graph per term.
        batch: Number of vectors that go through at once.
        objective: As in `tnl.plan`.
        optimize: As in `tnl.plan`.
        dtype: As in `tnl.plan`.
        memory_limit: As in `tnl.plan`.
        tune: As in `tnl.plan`.
        device: As in `tnl.plan`.
    """
    find = _finder(optimize, tune, device)
    features = (spec.in_features, spec.out_features)
    plans = tuple(
        find(
            forward(graph, batch),
            objective=objective,
            dtype=dtype,
            memory_limit=memory_limit,
            title=str(part),
            features=features,
        )
        for graph, part in zip(graphs, spec.parts, strict=True)
    )
    return plans[0] if len(plans) == 1 else SumPlan(terms=plans, title=str(spec), features=features)


def sum_from_dict(data: Mapping[str, Any]) -> SumPlan:
    """Read what `SumPlan.to_dict` gives.

    Raises:
        TNLayersError: If a term is not a plan.
    """
    in_features, out_features = data["features"]
    return SumPlan(
        terms=tuple(Plan.from_dict(term) for term in data["terms"]),
        title=str(data["title"]),
        features=(int(in_features), int(out_features)),
    )
