"""What a page of the explorer contains: networks with their places and sizes, and the plans of the grid, as plain data.

The sizes, indices and names are those of `Plan.to_dict`, so that the page can write an order that `Plan.from_json` and
`layer.use_plan` read. A plan is its path and what only Python knows about it: copies, chunk, memory and seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tnlayers.declare.registry import network_type
from tnlayers.draw.wiring import Wiring
from tnlayers.explore.grid import Choice, Grid
from tnlayers.explore.prices import DTYPE
from tnlayers.explore.questions import OBJECTIVES, Question, answer, axis_data
from tnlayers.explore.stage import operand_places, reduced
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Reduce

FORMAT = "tnlayers.explorer/2"


def page_data(grid: Grid, on_plan: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Everything that a page shows.

    Args:
        grid: What can be chosen.
        on_plan: Called after each plan, for showing progress.
    """
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for choice in grid.choices:
        found = choice_data(choice, grid.questions(choice), on_plan)
        if choice.near == 0 and choice.part.einsum is None:
            found["axis"] = {objective: axis_data(choice.part, objective) for objective in OBJECTIVES}
        parts.setdefault(choice.part.name, {}).setdefault(choice.network, []).append(found)
    return frame(grid.choices[0], grid.batches) | {
        "parts": [
            {"name": name, "networks": [network_data(kind, bonds) for kind, bonds in networks.items()]}
            for name, networks in parts.items()
        ],
    }


def frame(first: Choice, batches: Sequence[int]) -> dict[str, Any]:
    """What is the same for all networks of a page."""
    return {
        "format": FORMAT,
        "title": first.part.title,
        "dtype": DTYPE,
        "start": {"part": first.part.name, "network": first.network, "bond": first.bond},
        "batches": batches,
        "batch": 128 if 128 in batches else batches[0],
    }


def network_data(name: str, bonds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A network type with its bonds."""
    summary = "" if name in ("graph", "einsum") else network_type(name).summary
    return {"name": name, "summary": summary, "bonds": sorted(bonds, key=lambda bond: bond["parameters"])}


def choice_data(
    choice: Choice, questions: Sequence[Question], on_plan: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """One network at one bond, with the plans asked for.

    Args:
        choice: The network.
        questions: What plans are asked for, at least one.
        on_plan: Called after each plan.
    """
    part = choice.part
    contraction = part.contraction(questions[0].batch)
    plans = []
    for asked in questions:
        plans.append(answer(part, asked))
        on_plan()
    some = plan_contraction(contraction, optimize="greedy", dtype=DTYPE)
    alone = [_alone(some, step) for step in some.program.steps if isinstance(step, Reduce)]  # the same in all plans
    places = operand_places(part.graph, x=part.einsum is None)
    return {
        "bond": choice.bond,
        "spec": part.title,
        "note": part.note,
        "parameters": part.graph.parameters,
        "features": part.features,
        "operands": dict(zip(contraction.names, contraction.operands, strict=True)),
        "inputs": part.graph.inputs,
        "output": contraction.output,
        "sizes": contraction.sizes,
        "batch_index": contraction.batch,
        "reduced": reduced(contraction),
        "alone": alone,
        "grown": round(Wiring(part.graph).grown, 1),
        "places": {name: [round(x, 1), round(y, 1)] for name, (x, y) in places.items()},
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
