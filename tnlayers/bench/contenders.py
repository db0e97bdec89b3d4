"""Contenders: what is timed, each a torch module of equal shape, and none asked for gradients it does not need.

A contender is a function of a cell that gives a module (batch, in_features) -> (batch, out_features). Those that stand
for other ways to run the same declaration get the same cores as ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.bench.cells import Cell, Mode
from tnlayers.cores.building import build
from tnlayers.cores.layer_plan import plan
from tnlayers.declare.graph import forward
from tnlayers.nn import TNLinear

Contender: TypeAlias = Callable[[Cell], nn.Module]


def ours(cell: Cell) -> TNLinear:
    """The layer of this library, as it comes."""
    layer: TNLinear = build(cell.spec, backend="torch", seed=0, dtype=cell.dtype)
    return layer


def dense(cell: Cell) -> nn.Module:
    """The layer that is replaced."""
    return nn.Linear(cell.in_features, cell.out_features, bias=False, dtype=getattr(torch, cell.dtype))


class Rebuilt(nn.Module):
    """The weight rebuilt from the cores at every call, then one dense product."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.layer = ours(cell)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        return functional.linear(x, self.layer.to_dense())


class _Contraction(nn.Module):
    """The same cores, with the contraction of x and all of them as an einsum over integer indices."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.layer = ours(cell)
        (self.graph,), self.spec = self.layer.spec.graphs, self.layer.spec
        self.contraction = forward(self.graph, cell.batch)

    def operands(self, x: Tensor) -> list[Tensor]:
        """X with one axis per mode, and the cores."""
        x = functional.pad(x, (0, self.spec.pad_in)) if self.spec.pad_in else x
        return [x.reshape(-1, *self.graph.in_modes), *self.layer.cores.values()]

    def vectors(self, y: Tensor) -> Tensor:
        """The result as vectors of out_features."""
        y = y.reshape(len(y), -1)
        return y[:, : self.spec.out_features] if self.spec.pad_out else y


class TorchEinsum(_Contraction):
    """One `torch.einsum`, which plans by opt_einsum at every call."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.equation = self.contraction.equation(*self.contraction.operands, self.contraction.output)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        return self.vectors(torch.einsum(self.equation, *self.operands(x)))


class OptEinsum(TorchEinsum):
    """opt_einsum's `contract_expression`: planned once, for this batch."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        import opt_einsum

        shapes = [tuple(self.contraction.sizes[i] for i in operand) for operand in self.contraction.operands]
        self.expression = opt_einsum.contract_expression(self.equation, *shapes, optimize="auto-hq")

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        y: Tensor = self.expression(*self.operands(x), backend="torch")
        return self.vectors(y)


class TensorNetwork(_Contraction):
    """TensorNetwork's own greedy contractor, which plans and contracts at every call."""

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        import tensornetwork as tn

        nodes = [tn.Node(array, backend="pytorch") for array in self.operands(x)]
        ends: dict[int, tn.Edge] = {}
        for node, indices in zip(nodes, self.contraction.operands, strict=True):
            for axis, index in enumerate(indices):
                if index in ends:
                    ends[index] ^ node[axis]
                else:
                    ends[index] = node[axis]
        result = tn.contractors.greedy(nodes, output_edge_order=[ends[i] for i in self.contraction.output])
        y: Tensor = result.tensor
        return self.vectors(y)


def tuned(cell: Cell) -> nn.Module:
    """Our layer with the plan that ran fastest here, of the few best by estimate."""
    layer = ours(cell)
    layer.tune(cell.batch, "training" if cell.mode == "training" else "inference")
    return layer


def tuned_anew(cell: Cell) -> nn.Module:
    """The same for a plan that prepares nothing from the cores."""
    layer = ours(cell)
    layer.use_plan(plan(cell.spec, batch=cell.batch, objective="forward", dtype=cell.dtype, tune=True))
    return layer


TUNED: dict[Mode, dict[str, Contender]] = {  # by the clock, beside our own choice by estimate
    "forward": {"tuned": tuned, "tuned, nothing prepared": tuned_anew},
    "training": {"tuned": tuned},
}
OWN: dict[str, Contender] = {
    "dense": dense,
    "tnlayers": ours,
    "rebuild": Rebuilt,
    "torch.einsum": TorchEinsum,
    "opt_einsum": OptEinsum,
    "TensorNetwork": TensorNetwork,
}
