"""What a page of the explorer carries: networks with their places and sizes, and the plans of the grid, as plain data.

The sizes, indices and names are those of `Plan.to_dict`, so that the page can write an order that `Plan.from_json` and
`layer.use_plan` read. A plan is its path and what only Python knows about it: copies, chunk, memory and seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tnlayers.cores.layer_plan import plan
from tnlayers.declare.graph import forward
from tnlayers.declare.registry import network_type
from tnlayers.explore.grid import Choice, Grid
from tnlayers.explore.prices import DTYPE
from tnlayers.explore.stage import operand_places, reduced
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Reduce

FORMAT = "tnlayers.explorer/1"
OBJECTIVE: Objective = "forward"


def page_data(grid: Grid, told: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Everything that a page shows.

    Args:
        grid: What can be chosen.
        told: Called after each plan, for showing progress.
    """
    networks = defaultdict(list)
    for choice in grid.choices:
        networks[choice.network].append(_choice(choice, grid, told))
    return {
        "format": FORMAT,
        "title": str(grid.choices[0].spec),
        "objective": OBJECTIVE,
        "dtype": DTYPE,
        "start": {"network": grid.choices[0].network, "bond": grid.choices[0].bond},
        "batches": grid.batches,
        "networks": [
            {
                "name": name,
                "summary": network_type(name).summary,
                "bonds": sorted(bonds, key=lambda bond: bond["parameters"]),
            }
            for name, bonds in networks.items()
        ],
    }


def _choice(choice: Choice, grid: Grid, told: Callable[[], None]) -> dict[str, Any]:
    made, graph = choice.spec, choice.spec.graph
    contraction = forward(graph, grid.batches[0])
    plans = []
    for batch in grid.batches:
        for optimizer in grid.optimizers_for(choice):
            (found,) = plan(made, batch, objective=OBJECTIVE, optimize=optimizer, dtype=DTYPE).terms
            plans.append(_plan(found, optimizer))
            told()
    alone = [_alone(found, step) for step in found.program.steps if isinstance(step, Reduce)]  # the same in all plans
    return {
        "bond": choice.bond,
        "spec": str(made),
        "parameters": graph.parameters,
        "features": [made.in_features, made.out_features],
        "operands": dict(zip(contraction.names, contraction.operands, strict=True)),
        "output": contraction.output,
        "sizes": contraction.sizes,
        "batch_index": contraction.batch,
        "reduced": reduced(contraction),
        "alone": alone,
        "places": {name: [round(x, 1), round(y, 1)] for name, (x, y) in operand_places(graph).items()},
        "plans": plans,
    }


def _alone(found: Plan, step: Reduce) -> dict[str, Any]:
    """A step that settles an operand's repeated and lonely axes: the axes after each diagonal, and what is summed."""
    axes = list(found.program.indices[step.register])
    diagonals = []
    for first, second in step.diagonals:
        axes = [*(i for k, i in enumerate(axes) if k not in (first, second)), axes[first]]
        diagonals.append(axes)
    return {"operand": step.register, "diagonals": diagonals, "axes": axes, "sums": bool(step.axes)}


def _plan(found: Plan, optimizer: str) -> dict[str, Any]:
    return {
        "batch": found.batch,
        "optimizer": optimizer,
        "found_by": found.found_by,
        "path": found.path,
        "chunk": found.chunk,
        "copied": found.cost.copied,
        "memory": found.memory,
        "seconds": float(f"{found.seconds:.3g}"),
    }
