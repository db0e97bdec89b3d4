"""Plans: the contraction order of a layer at one batch size, its exact price, and the program that executes it.

A plan is a value: frozen, comparable, written to JSON and read back. It holds no arrays. Plans are cached by value, so
layers alike share them, and asking twice costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

from tnlayers.declare.graph import Contraction
from tnlayers.declare.pictures import Picture, draw, html
from tnlayers.errors import TNLayersError
from tnlayers.files.documents import UnreadableText, load_json
from tnlayers.planning.lowered import ITEMSIZES, Objective, dtype_name, objective_name
from tnlayers.planning.measured import Measurement, measure
from tnlayers.planning.paths import check_path
from tnlayers.planning.priced import Priced
from tnlayers.planning.text import amount, beside_dense, print_plan
from tnlayers.pricing.counts import NOTHING, Cost, dense_cost

FORMAT = "tnlayers.sumplan/1"
_WRITTEN = "Plans are written by `plan.to_json()` and by `tnlayers plan SPEC --batch N --json`."


class Plan(Priced):
    """How one contraction is computed. Make it with `tnl.plan`, which searches; `str(plan)` is a tree with prices.

    Attributes:
        contraction: What is computed, with the batch size planned for.
        path: Pairs of registers to contract, in order; `linear_path` is opt_einsum's form of it.
        objective: What was minimised: the time of the "forward" pass, of a "training" step, or of "inference", a
            forward pass that finds everything prepared that does not depend on the input.
        dtype: The dtype that bytes are counted for.
        chunk: How many rows of the batch are processed at a time in memory that is used again, with the states
            computed anew in the backward pass; None for all rows at once, states saved.
        slices: Indices that are summed in so many parts one after the other, with the states computed anew for each;
            only to keep a memory limit.
        stacked: Whether the program may multiply one core with each matrix of a stack, instead of copying the state.
        found_by: The optimizer that proposed the path.
        device: Whose rates it was ranked by: "cpu", or "cuda" and the name of the GPU.
        title: What the plan is for, in words.
        features: (in_features, out_features) of the layer, for the comparison with a dense one; None for an einsum.
        part: The contraction of one piece: the whole one, where no index is sliced.
        program: The steps, derived from part and path.
        sweep: The steps that contain the batch, with their places in the workspace; None for an einsum.
        preparation: What is prepared from the cores, with its places in memory; None where primitives alone do it.
        steps: The exact cost of each step of the program, forward pass, in all pieces together.
        lowered: The program, where it is at hand already; made from the path if None.
    """

    __slots__ = ()

    @property
    def terms(self) -> tuple[Plan, ...]:
        """The plans of the networks that are summed: here only this one."""
        return (self,)

    def draw(self, **options: Any) -> Picture:
        """The contraction tree over the timeline of steps; options as for `tnl.draw`."""
        return draw(self, **options)

    def measure(self, backend: str | None = None, seconds: float = 1.0) -> Measurement:
        """Time this order on this machine, beside the planner's, the next candidates and the dense layer.

        All take turns on random numbers; each pass is of the plan's objective, with its chunks, as layers run it.

        Args:
            backend: "numpy", "torch" or "jax"; as for `tnl.build` if None.
            seconds: How long rounds go on, beside a first run of each; five rounds at least.

        Returns:
            Medians with the middle half of the passes, and the estimates; printing shows a table, `draw` a picture.

        Raises:
            TNLayersError: If the backend is not there, lacks the dtype, or has no backward pass for training.

        Example:
            >>> import tnlayers as tnl
            >>> found = tnl.plan("mpo(in=4x7, out=2x5, bond=3)", batch=8).measure("numpy", seconds=0.01)
            >>> found.rows[0].name, found.rows[-1].name, found.rows[0].low <= found.rows[0].seconds
            ('this order', 'dense', True)
        """
        return measure(self, backend, seconds)

    def _repr_html_(self) -> str:
        return html(self)

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
        try:
            data = load_json(text)
            return sum_from_dict(data) if data["format"] == FORMAT else cls.from_dict(data)
        except UnreadableText as error:
            raise TNLayersError(f"This is not a plan: it is not JSON: {error}. {_WRITTEN}") from error
        except TNLayersError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
            raise TNLayersError(f"This is not a plan: {type(error).__name__}: {error}. {_WRITTEN}") from error

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
        return html(self)

    def __str__(self) -> str:
        total, dense = self.cost, self.dense
        beside = beside_dense(total, dense)
        end = f"sum of {len(self.terms)} terms: {amount(total.flops)} flops, {amount(total.bytes)} bytes; {beside}."
        return "\n\n".join([*map(str, self.terms), end])

    __repr__ = __str__


AnyPlan: TypeAlias = Plan | SumPlan


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
