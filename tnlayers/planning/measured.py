"""Orders timed on this machine, as values, and the hook by which `Plan.measure` finds what times them.

What runs plans lies above this package: `tnlayers.cores.measuring` gives its function to `measure_with`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tnlayers.declare.pictures import Picture, draw
from tnlayers.planning.text import time_text

if TYPE_CHECKING:
    from tnlayers.planning.lowered import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One order, timed.

    Attributes:
        name: What it is: "this order", "planner", a candidate with its number and optimizer, or "dense".
        seconds: Median seconds of one pass.
        low: A quarter of the passes took less.
        high: A quarter of the passes took more.
        estimate: The seconds that plans are ranked by.
        passes: How many were timed.
    """

    name: str
    seconds: float
    low: float
    high: float
    estimate: float
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What `Plan.measure` found: printing it shows a table, `draw` estimates against measured times.

    Attributes:
        title: What was timed.
        batch: The batch size, None for an einsum.
        backend: What ran it.
        objective: What a pass is.
        dtype: Of all arrays.
        rows: The order, the planner's, further candidates, and the dense layer, where they differ.
    """

    title: str
    batch: int | None
    backend: str
    objective: Objective
    dtype: str
    rows: tuple[Timed, ...]

    def __str__(self) -> str:
        batch = "" if self.batch is None else f", batch {self.batch}"
        lines = [f"{self.title}{batch}, {self.dtype} on {self.backend}, a pass of {self.objective}"]
        width = max(len(row.name) for row in self.rows)
        lines.append(f"{'':{width}}  {'median':>9}  {'middle half':>21}  {'estimate':>9}  {'ratio':>6}")
        for row in self.rows:
            spread = f"{time_text(row.low)} to {time_text(row.high)}"
            times = f"{time_text(row.seconds):>9}  {spread:>21}  {time_text(row.estimate):>9}"
            lines.append(f"{row.name:{width}}  {times}  {row.seconds / row.estimate:>6.3g}")
        return "\n".join(lines)

    __repr__ = __str__

    def draw(self, **options: Any) -> Picture:
        """Estimates against measured times; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        return draw(self)._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self) | {"format": "tnlayers.measurement/1"}


_ways: list[Callable[..., Measurement]] = []


def measure_with(way: Callable[..., Measurement]) -> None:
    """Time plans with this function from now on."""
    _ways[:] = [way]


def measure(plan: Any, backend: str | None, seconds: float) -> Measurement:
    """Time a plan; see `Plan.measure`."""
    return _ways[0](plan, backend, seconds)
