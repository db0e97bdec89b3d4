"""Plans: the contraction order of a layer at one batch size, its exact price, and the program that executes it.

A plan is a value: frozen, comparable, written to JSON and read back. It holds no arrays. Plans are cached by value, so
layers alike share them, and asking twice costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from tnlayers.declare.graph import Contraction
from tnlayers.draw import draw
from tnlayers.errors import TNLayersError
from tnlayers.machine.calibration import machine
from tnlayers.planning.memory import memory, prepared, workspace
from tnlayers.planning.paths import check_path, linear_path
from tnlayers.planning.slices import Slices, piece, pieces, sliceable, slicing_back_cost, slicing_cost, times
from tnlayers.planning.text import print_plan
from tnlayers.pricing.counts import NOTHING, Cost, backward_cost, dense_cost, step_costs
from tnlayers.pricing.seconds import Estimator
from tnlayers.program.axes import Path
from tnlayers.program.chain import chain
from tnlayers.program.layout import assemble
from tnlayers.program.program import Program
from tnlayers.program.sweep import Sweep, sweep

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture
    from tnlayers.planning.planner import AnyPlan

Objective: TypeAlias = Literal["forward", "training", "inference"]

ITEMSIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one contraction is carried out. Make it with `tnl.plan`, which searches; `str(plan)` is a tree with prices.

    Attributes:
        contraction: What is computed, with the batch size planned for.
        path: Pairs of registers to contract, in order; `linear_path` is opt_einsum's form of it.
        objective: What was minimised: the time of the "forward" pass, of a "training" step, or of "inference", a
            forward pass that finds everything prepared that does not depend on the input.
        dtype: The dtype that bytes are counted for.
        chunk: How many rows of the batch are carried at a time through memory that is used again, with the states
            computed anew in the backward pass; None for all rows at once, states kept.
        slices: Indices that are summed in so many parts one after the other, with the states computed anew for each;
            only to keep a memory limit.
        stacked: Whether the program may multiply one core with each matrix of a stack, instead of copying the state.
        found_by: The optimizer that proposed the path.
        device: Whose rates it was ranked by: "cpu", or "cuda" and the name of the GPU.
        title: What the plan is for, in words.
        features: (in_features, out_features) of the layer, for the comparison with a dense one; None for an einsum.
        part: The contraction of one piece: the whole one, where no index is sliced.
        program: The steps, derived from part and path.
        sweep: The steps that carry the batch, with their places in the workspace; None for an einsum.
        steps: The exact cost of each step of the program, forward pass, in all pieces together.
        lowered: The program, where it is at hand already; made from the path if None.
    """

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
    steps: tuple[Cost, ...] = field(init=False, compare=False)
    lowered: InitVar[Program | None] = None

    def __post_init__(self, lowered: Program | None) -> None:
        part = piece(self.contraction, self.slices)
        program = assemble(part, self.path, stacked=self.stacked) if lowered is None else lowered
        links = chain(program, part)
        if self.chunk is not None and (links is None or self.chunk < 1):
            raise TNLayersError(f"chunk={self.chunk} needs a batch to walk through, and at least one row at a time.")
        self._check_slices()
        object.__setattr__(self, "part", part)
        object.__setattr__(self, "program", program)
        object.__setattr__(self, "sweep", None if links is None else sweep(links))
        costs = step_costs(program, part, self.itemsize, links, self.chunk)
        object.__setattr__(self, "steps", tuple(times(cost, pieces(self.slices)) for cost in costs))

    def _check_slices(self) -> None:
        possible = sliceable(self.contraction) if self.slices else ()
        right = all(i in possible and n > 1 and self.contraction.sizes[i] % n == 0 for i, n in self.slices)
        if not right or len({i for i, _ in self.slices}) < len(self.slices) or (self.slices and self.chunk is None):
            raise TNLayersError(
                f"slices={self.slices} with chunk={self.chunk}: each index must be a different one of the summed "
                f"{possible}, in a number of equal parts, and the batch must be walked in chunks."
            )

    @property
    def itemsize(self) -> int:
        """Bytes per entry."""
        return ITEMSIZES[self.dtype]

    @property
    def terms(self) -> tuple[Plan, ...]:
        """The plans of the networks that are summed: here only this one."""
        return (self,)

    @property
    def batch(self) -> int | None:
        """The batch size planned for; the program is right at any other, only perhaps not the cheapest."""
        return None if self.contraction.batch is None else self.contraction.sizes[self.contraction.batch]

    @property
    def cost(self) -> Cost:
        """Exact counts of the whole forward pass."""
        return reduce(Cost.__add__, self.steps, slicing_cost(self))

    @property
    def backward(self) -> Cost:
        """Exact counts of the backward pass for the gradients of `x` and all cores."""
        links = None if self.sweep is None else self.sweep.chain
        once = backward_cost(self.program, self.part, self.itemsize, links, self.chunk)
        return times(once, pieces(self.slices)) + slicing_back_cost(self)

    @property
    def flops(self) -> int:
        """Flops of the objective: of the forward pass, or of forward and backward pass."""
        return self.cost.flops + (self.backward.flops if self.objective == "training" else 0)

    @property
    def workspace(self) -> int:
        """Bytes of memory that chunks run in; it is used again by every call and every layer."""
        return workspace(self)

    @property
    def prepared(self) -> int:
        """Bytes of what is made from the cores before the batch is carried, cores themselves not counted."""
        return prepared(self)

    @property
    def memory(self) -> int:
        """Bytes in use at most, beyond input, output, cores and their gradients."""
        return memory(self)

    @property
    def dense(self) -> Cost | None:
        """Cost of the dense layer of equal size at this batch, forward pass; None for an einsum."""
        if self.features is None or self.batch is None:
            return None
        return dense_cost(*self.features, self.batch, ITEMSIZES[self.dtype])

    @property
    def linear_path(self) -> tuple[tuple[int, int], ...]:
        """The path as opt_einsum writes it: positions in a list that shrinks."""
        return linear_path(len(self.contraction.operands), self.path)

    @property
    def seconds(self) -> float:
        """The estimate that plans are ranked by, with this machine's rates; no promise of a run time."""
        # Pieces prepare their cores anew in every call.
        objective = "forward" if self.slices and self.objective == "inference" else self.objective
        rates = machine(self.device, self.dtype)
        once = Estimator(self.program, self.part, self.itemsize, objective, rates).seconds(self.chunk)
        beside = slicing_cost(self) + (slicing_back_cost(self) if objective == "training" else NOTHING)
        return pieces(self.slices) * once + beside.bytes / rates.bytes_per_second

    def draw(self, **options: Any) -> Picture:
        """The contraction tree over the timeline of steps; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        from tnlayers.draw.display import plan_html

        return plan_html(self)

    def __str__(self) -> str:
        return print_plan(self)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data with its costs, as `tnlayers plan --json` prints it."""
        total, dense = self.cost, self.dense
        return {
            "format": "tnlayers.plan/1",
            "title": self.title,
            "operands": dict(zip(self.contraction.names, self.contraction.operands, strict=True)),
            "output": self.contraction.output,
            "sizes": self.contraction.sizes,
            "batch_index": self.contraction.batch,
            "features": self.features,
            "objective": self.objective,
            "dtype": self.dtype,
            "found_by": self.found_by,
            "device": self.device,
            "path": self.path,
            "chunk": self.chunk,
            "slices": self.slices,
            "stacked": self.stacked,
            "batch": self.batch,
            "flops": self.flops,
            "forward": _counts(total),
            "backward": _counts(self.backward),
            "workspace": self.workspace,
            "prepared": self.prepared,
            "memory": self.memory,
            "dense_forward": None if dense is None else _counts(dense),
        }

    def to_json(self) -> str:
        """The plan as JSON; `Plan.from_json` reads it back to an equal plan."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> AnyPlan:
        """Read a plan back, or the plans of a sum. Costs in the file are ignored and counted anew.

        Raises:
            TNLayersError: If the text is not a plan of this format, or its path does not contract all operands.
        """
        from tnlayers.planning.planner import FORMAT, sum_from_dict  # a sum is made of plans, so it comes after them

        try:
            data = json.loads(text)
            return sum_from_dict(data) if data["format"] == FORMAT else cls.from_dict(data)
        except TNLayersError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
            raise TNLayersError(
                f"This is not a plan: {type(error).__name__}: {error}. Plans are written by `plan.to_json()` and by "
                "`tnlayers plan SPEC --batch N --json`."
            ) from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read one plan from what `to_dict` gives.

        Raises:
            TNLayersError: If it has another format, or its path does not contract all operands.
        """
        if data["format"] != "tnlayers.plan/1":
            raise TNLayersError(f"This plan has format {data['format']!r}; this version reads 'tnlayers.plan/1'.")
        contraction = Contraction(
            names=tuple(data["operands"]),
            operands=tuple(tuple(map(int, indices)) for indices in data["operands"].values()),
            output=tuple(map(int, data["output"])),
            sizes=tuple(map(int, data["sizes"])),
            batch=data["batch_index"],
        )
        path = tuple((int(a), int(b)) for a, b in data["path"])
        check_path(contraction, path)
        features = data["features"]
        return cls(
            contraction=contraction,
            path=path,
            objective=objective_name(data["objective"]),
            dtype=dtype_name(data["dtype"]),
            chunk=None if data.get("chunk") is None else int(data["chunk"]),
            slices=tuple((int(index), int(parts)) for index, parts in data.get("slices", ())),
            stacked=bool(data.get("stacked", True)),
            found_by=str(data["found_by"]),
            device=str(data.get("device", "cpu")),
            title=str(data["title"]),
            features=None if features is None else (int(features[0]), int(features[1])),
        )


def _counts(cost: Cost) -> dict[str, int]:
    return {name: getattr(cost, name) for name in ("flops", "bytes", "copied", "kept", "result")}


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
