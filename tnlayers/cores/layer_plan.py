"""Planning a layer: `tnl.plan` gives one `Plan`, or for a sum of networks one per term with the face of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tnlayers.cores.tuning import tuned
from tnlayers.declare.arguments import checks_arguments, rates
from tnlayers.declare.graph import Graph, forward
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.lowered import Objective
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import AnyPlan, Plan, SumPlan


@checks_arguments(device=rates)
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
            chunks of the batch with states computed again, or by another path. For a sum, each network has it: they
            run one after the other.
        tune: Whether to time the few best candidates with torch on the processor, for a second or so, and take
            the fastest. What was found is cached on disk, for this machine, number of threads, batch, objective and
            dtype (see `tnlayers.cores.tuning`).
        device: Whose rates rank plans: "cpu", "cuda" and perhaps the name of the GPU as torch names it, or "xla cpu"
            for jax on the processor.

    Returns:
        A plan; printing it shows the tree, each step's equation, flops, bytes, result and what is saved for backward,
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


def one_by_one(cores: int, rows: int, objective: Objective, chunk: int | None) -> tuple[Spec, Plan]:
    """A layer of 2 x 2 matrices, and the plan that multiplies its rows by one core after the other.

    What calls cost is measured with such layers (`tnlayers.machine.calls`).

    Args:
        cores: How many.
        rows: Of the batch.
        objective: Of the plan.
        chunk: Rows at a time; None for all at once.
    """
    modes = "x".join(["2"] * cores)
    made = make_spec(f"mpo(in={modes}, out={modes}, bond=2)")
    path = ((0, 1), *((cores + k, k + 1) for k in range(1, cores)))
    return made, Plan(contraction=forward(made.graphs[0], rows), path=path, objective=objective, chunk=chunk)
