"""Cost as work grows: bonds, batches and numbers of cores one after the other, beside what the plan predicts.

The prediction of time is the plan's estimate with the measured rates of `tnlayers calibrate`; that of memory is the
plan's `peak`. Nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tnlayers.bench.cells import MODES, Cell
from tnlayers.bench.contenders import ours
from tnlayers.bench.limit import best_plan
from tnlayers.bench.measure import OURS, interval, measure
from tnlayers.bench.subjects import Given, torch_subject
from tnlayers.planning.memory import peak

BONDS = (4, 8, 16, 32, 64, 128, 256)
BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
CORES = (2, 3, 4, 6, 8, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve.

    Attributes:
        along: What grows: "bond", "batch" or "cores".
        value: How far.
        cell: The cell that is measured.
    """

    along: str
    value: int
    cell: Cell

    @property
    def name(self) -> str:
        """One word, such as `bond-16-training`."""
        return f"{self.along}-{self.value}-{self.cell.mode}"


def points() -> Iterator[Point]:
    """All points, cheap ones first."""
    for mode in MODES:
        bond = Cell(in_features=4096, out_features=4096, cores=3, bond=16, batch=128, mode=mode)
        batch = Cell(in_features=1024, out_features=1024, cores=4, bond=16, batch=128, mode=mode)
        cores = replace(bond, cores=4)
        yield from (Point(along="bond", value=n, cell=replace(bond, bond=n)) for n in BONDS)
        yield from (Point(along="cores", value=n, cell=replace(cores, cores=n)) for n in CORES)
        yield from (Point(along="batch", value=n, cell=replace(batch, batch=n)) for n in BATCHES)


def measure_point(point: Point, *, cap: float) -> dict[str, Any]:
    """Time and memory of our layer at one point, and the plan's prediction of both."""
    cell = point.cell
    layer = ours(cell)
    given = Given(cell, {name: core.detach() for name, core in layer.cores.items()})
    subject = torch_subject(OURS, layer, given)
    subject.call()
    most, _ = subject.memory()
    subject.call()
    timing = measure({OURS: subject.call}, threads=cell.threads, cap=cap)[OURS]
    plan = best_plan(cell)
    return {
        "along": point.along,
        "value": point.value,
        "mode": cell.mode,
        "cell": cell.name,
        "seconds": list(interval(timing.seconds.values())),
        "predicted_seconds": plan.seconds,
        "peak_bytes": most,
        "predicted_bytes": sum(peak(term) for term in plan.terms),
    }
