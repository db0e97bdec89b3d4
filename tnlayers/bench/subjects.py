"""Subjects: a contender in a cell, ready to be asked for its answer, for its memory, and to be timed.

All subjects of a cell get the same cores and the same input. The answer is taken with the whole batch, but with a
gradient of y that is zero in all rows but the first and the last: so the gradients of the cores are those of two rows,
which double precision can afford to compute for comparison, while the contender did all of its work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.run.workspace import release
from torch import Tensor, nn

from tnlayers.bench.call_memory import memory
from tnlayers.bench.cells import Cell
from tnlayers.bench.peers import CORES
from tnlayers.verify.reference import expected_gradients, expected_output

Array = npt.NDArray[Any]
Answer = dict[str, Array]  # "y", and for training "x" and each core: gradients; of the probed rows


@dataclass(frozen=True)
class Given:
    """What all subjects of a cell get.

    Attributes:
        cell: The cell.
        cores: The cores by name, in the cell's dtype.
        x: Input (batch, in_features), a leaf.
        grad_y: Gradient of the output (batch, out_features).
    """

    cell: Cell
    cores: dict[str, Tensor]
    x: Tensor = field(init=False)
    grad_y: Tensor = field(init=False)

    def __post_init__(self) -> None:
        cell, random = self.cell, torch.Generator().manual_seed(0)
        dtype = getattr(torch, cell.dtype)
        x = torch.randn(cell.batch, cell.in_features, generator=random).to(dtype)
        grad_y = torch.randn(cell.batch if cell.mode == "training" else 1, cell.out_features, generator=random)
        object.__setattr__(self, "x", x.requires_grad_(cell.mode == "training"))
        object.__setattr__(self, "grad_y", grad_y.to(dtype))

    @property
    def rows(self) -> list[int]:
        """The rows that are compared."""
        return sorted({0, self.cell.batch - 1})

    @property
    def probe(self) -> Tensor:
        """The gradient of y with all other rows zero; without a backward pass there is nothing to leave out."""
        if self.cell.mode == "forward":
            return self.grad_y
        probe = torch.zeros_like(self.grad_y)
        probe[self.rows] = self.grad_y[self.rows]
        return probe

    def units(self, answer: Answer) -> float:
        """The largest error of an answer in units of what rounding allows; above 1 it is wrong."""
        return max(float(truth.units(answer[name], self.cell.dtype)) for name, truth in self.truth.items())

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The answer in double precision."""
        spec, rows = self.cell.spec, self.rows
        cores = {name: double(core) for name, core in self.cores.items()}
        x = double(self.x[rows])
        found = {"y": expected_output(spec, spec.graphs, cores, x)}
        if self.cell.mode == "training":
            gradients = expected_gradients(spec, spec.graphs, cores, x, double(self.grad_y[rows]))
            found |= {name: gradients[name] for name in ("x", *cores)}
        return found


def double(array: Any) -> Array:
    """A copy in double precision."""
    return array.detach().to(torch.float64).numpy() if isinstance(array, Tensor) else np.asarray(array, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One contender in one cell.

    Attributes:
        call: What is timed.
        answer: Its answer; None where there is nothing to compare with.
        memory: Peak and kept bytes of a call.
        rows: Runs a call on so many rows only, to guess how long the whole batch takes.
    """

    call: Callable[[], Any]
    answer: Callable[[], Answer] | None
    memory: Callable[[], tuple[int, int]]
    rows: Callable[[int], Any]


def torch_subject(name: str, module: nn.Module, given: Given) -> Subject:
    """A torch module as a subject."""
    cell, x = given.cell, given.x
    parameters = cores_of(name, module, cell)
    _set_cores(parameters, given)

    def run(x: Tensor, grad_y: Tensor) -> Any:
        if cell.mode == "forward":
            with torch.no_grad():
                return module(x)
        x.grad = None
        module.zero_grad(set_to_none=True)
        y = module(x)
        y.backward(grad_y)
        return y

    def answer() -> Answer:
        y = run(x, given.probe)
        if tuple(y.shape) != (cell.batch, cell.out_features):
            raise ValueError(f"gives shape {tuple(y.shape)} for a batch of {cell.batch}")
        found = {"y": double(y[given.rows])}
        if cell.mode == "training":
            assert x.grad is not None
            found["x"] = double(x.grad[given.rows])
            for core, view in parameters.items():
                found[core] = double(view(True)).reshape(given.cores[core].shape)
        return found

    def watched() -> tuple[int, int]:
        release()
        for part in module.modules():
            if isinstance(part, TNModule):
                part.invalidate()
        if cell.mode == "forward":
            return memory(lambda: run(x, given.grad_y))
        result = cell.batch * cell.out_features * x.element_size()
        return memory(lambda: run(x, given.grad_y), [x, *module.parameters()], result=result)

    def part(rows: int) -> Any:
        return run(x.detach()[:rows].requires_grad_(cell.mode == "training"), given.grad_y[:rows])

    return Subject(call=lambda: run(x, given.grad_y), answer=answer if parameters else None, memory=watched, rows=part)


@torch.no_grad()
def _set_cores(parameters: Mapping[str, Callable[[bool], Tensor]], given: Given) -> None:
    """Every subject starts from the same numbers."""
    for core, view in parameters.items():
        view(False).copy_(given.cores[core].reshape(view(False).shape))


def cores_of(name: str, module: nn.Module, cell: Cell) -> dict[str, Callable[[bool], Tensor]]:
    """Core names -> a function that gives the core (or its gradient, for True) as a view of the module's parameter."""
    if name == "dense":
        return {}
    stored = [parameter for key, parameter in module.named_parameters() if key.rpartition(".")[2] != "bias"]
    names = [core for graph in cell.spec.graphs for core in graph.shapes]

    def view(site: int, gradient: bool) -> Tensor:
        parameter = stored[site].grad if gradient else stored[site]
        if parameter is None:
            raise ValueError(f"has no gradient for core {site}")
        return CORES[name](parameter, cell, site) if name in CORES else parameter

    return {core: partial(view, site) for site, core in enumerate(names)}
