"""A contraction with its path, lowered: the program that computes it, and the exact cost of each of its steps."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Literal, TypeAlias, get_args

from tnlayers.declare.graph import Contraction
from tnlayers.errors import TNLayersError
from tnlayers.planning.slices import Slices, piece, pieces, sliceable, times
from tnlayers.pricing.counts import Cost, step_costs
from tnlayers.program.axes import Path
from tnlayers.program.chain import chain
from tnlayers.program.layout import assemble
from tnlayers.program.preparing import Preparation, preparation
from tnlayers.program.program import Program
from tnlayers.program.sweep import Sweep, sweep

Objective: TypeAlias = Literal["forward", "training", "inference"]

ITEMSIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """How one contraction is computed; `Plan` says what each attribute is."""

    contraction: Contraction
    path: Path
    objective: Objective = "forward"
    dtype: str = "float32"
    chunk: int | None = None
    slices: Slices = ()
    stacked: bool = True
    found_by: str = field(default="given", compare=False)
    device: str = field(default="cpu", compare=False)
    title: str = field(default="", compare=False)
    features: tuple[int, int] | None = None
    part: Contraction = field(init=False, compare=False)
    program: Program = field(init=False, compare=False)
    sweep: Sweep | None = field(init=False, compare=False)
    preparation: Preparation | None = field(init=False, compare=False)
    steps: tuple[Cost, ...] = field(init=False, compare=False)
    lowered: InitVar[Program | None] = None

    def __post_init__(self, lowered: Program | None) -> None:
        part = piece(self.contraction, self.slices)
        program = assemble(part, self.path, stacked=self.stacked) if lowered is None else lowered
        links = chain(program, part)
        if self.chunk is not None and (links is None or self.chunk < 1):
            raise TNLayersError(f"chunk={self.chunk} needs a batch, and at least one row at a time.")
        self._check_slices()
        object.__setattr__(self, "part", part)
        object.__setattr__(self, "program", program)
        object.__setattr__(self, "sweep", None if links is None else sweep(links))
        prepared = None if links is None or self.chunk is None else preparation(links, program, part, self.itemsize)
        object.__setattr__(self, "preparation", prepared)
        costs = step_costs(program, part, self.itemsize, links, self.chunk)
        object.__setattr__(self, "steps", tuple(times(cost, pieces(self.slices)) for cost in costs))

    def _check_slices(self) -> None:
        possible = sliceable(self.contraction) if self.slices else ()
        right = all(i in possible and n > 1 and self.contraction.sizes[i] % n == 0 for i, n in self.slices)
        if not right or len({i for i, _ in self.slices}) < len(self.slices) or (self.slices and self.chunk is None):
            raise TNLayersError(
                f"slices={self.slices} with chunk={self.chunk}: each index must be a different one of the summed "
                f"{possible}, in a number of equal parts, and the batch must be processed in chunks."
            )

    @property
    def itemsize(self) -> int:
        """Bytes per entry."""
        return ITEMSIZES[self.dtype]

    @property
    def batch(self) -> int | None:
        """The batch size planned for; the program is right at any other, only perhaps not the cheapest."""
        return None if self.contraction.batch is None else self.contraction.sizes[self.contraction.batch]


def objective_name(name: str) -> Objective:
    """A known objective, or a refusal."""
    if name not in get_args(Objective):
        raise TNLayersError(f"There is no objective {name!r}; plans minimise {' or '.join(get_args(Objective))}.")
    return name  # type: ignore[return-value]  # checked just above


def dtype_name(name: str) -> str:
    """A known dtype, or a refusal."""
    if not isinstance(name, str) or name not in ITEMSIZES:
        raise TNLayersError(f"Bytes cannot be counted for dtype {name!r}; known: {', '.join(ITEMSIZES)}.")
    return name
