"""Walks: a call of inference once its plan is chosen and its matrices are at hand, as a row of calls on the input.

Nothing is left to decide then, so nothing is asked again but whether the cores are as they were. Around products of a
few microseconds the questions of `cores/linear_map.py`, `planned.py` and `program/chain.py` take as long as the
products; and a large product leaves none of their code in the cache, so that they take ten times as long after it: 0.2
ms beside 1.8 with 128 rows and a W of 1024 x 1024. There a bound call is the one call that `nn.Linear` is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import methodcaller
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.spec import Spec
from tnlayers.planning.plan import Plan
from tnlayers.program.chain import Chain, Link
from tnlayers.program.program import View
from tnlayers_backends.torch.run.planned import multiplied
from tnlayers_backends.torch.run.prepared import PreparedMatrices, alike
from tnlayers_backends.torch.run.primitives import OPS

_SHAPES = 64  # of inputs, whose bound calls are cached

_Call: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class BoundCall:
    """What inference does with the matrices that it keeps, for inputs of one shape.

    Attributes:
        linear: The map whose plan it is.
        weight: W, (out_features, in_features), where the plan multiplies by it in one product; None elsewhere.
        calls: One after the other, from the input to the output.
    """

    linear: LinearMap
    weight: Tensor | None
    calls: tuple[_Call, ...]

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """W x + bias."""
        if self.weight is not None:
            return functional.linear(x, self.weight, None if bias is None else like(self.weight, bias))
        for call in self.calls:
            x = call(x)
        return x if bias is None else x + like(x, bias)


def like(tensor: Tensor, bias: Tensor) -> Tensor:
    """A bias in the dtype that it is added in: under autocast a narrower one than its own, as in `nn.Linear`."""
    return bias if bias.dtype is tensor.dtype else bias.to(tensor.dtype)


def bind(linear: LinearMap, kept: PreparedMatrices, shape: torch.Size) -> BoundCall | None:
    """The bound call of a map of one network with what is cached of it; made once for each shape of the input.

    Returns:
        The bound call; None for inputs whose plan takes other matrices, or that the map does not take.
    """
    found: BoundCall | None = kept.bound_calls.get(shape)
    if found is not None and found.linear is linear:
        return found
    (part,) = linear.spec.parts
    if {*map(type, shape)} != {int} or shape[-1] != part.in_features:  # sizes that a tracer writes down are no ints
        return None
    (plan,) = linear.plan_for(prod(shape[:-1]), "inference").terms
    if plan.sweep is None or not alike(kept.plan, plan):
        return None
    if len(kept.bound_calls) >= _SHAPES:
        kept.bound_calls.clear()
    weight = None if plan.chunk is not None else _weight(plan.sweep.chain, kept.matrices, part)
    calls = () if weight is not None else _calls(plan, kept.matrices, part, shape[:-1])
    found = kept.bound_calls[shape] = BoundCall(linear, weight, calls)
    return found


def _weight(chain: Chain, matrices: Sequence[Tensor], part: Spec) -> Tensor | None:
    """W without its padding, if the only product is x W^T as it is."""
    (link, *more), (matrix, *_) = chain.links, matrices
    rows = View(None, None, (-1, part.in_features + part.pad_in))
    if more or chain.arrange is not None or not link.state_left or link.state != rows or matrix.ndim != 2:
        return None
    return matrix.T[: part.out_features, : part.in_features]


def _calls(plan: Plan, matrices: Sequence[Tensor], part: Spec, leading: torch.Size) -> tuple[_Call, ...]:
    """What `LinearMap.apply` and `Chain.run` do."""
    assert plan.sweep is not None
    chain = plan.sweep.chain
    calls: list[_Call] = [partial(OPS.pad, count=part.pad_in)] if part.pad_in else []
    if plan.chunk is not None:
        calls.append(partial(multiplied, plan, matrices=matrices))
    else:
        for link, matrix in zip(chain.links, matrices, strict=True):
            calls += [*_moves(link.state), _product(link, matrix)]
        calls += [] if chain.arrange is None else _moves(chain.arrange)
    calls.append(methodcaller("reshape", (*leading, part.out_features + part.pad_out)))
    if part.pad_out:
        calls.append(methodcaller("narrow", -1, 0, part.out_features))
    return tuple(calls)


def _moves(view: View) -> list[_Call]:
    return [methodcaller("permute" if permutes else "reshape", sizes) for permutes, sizes in view.moves]


def _product(link: Link, matrix: Tensor) -> _Call:
    multiply = torch.mm if len(link.state.shape) == matrix.ndim == 2 else OPS.matmul
    return (lambda state: multiply(state, matrix)) if link.state_left else partial(multiply, matrix)
