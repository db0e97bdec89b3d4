"""Measuring what calls cost, whatever their sizes: layers of few and of more tiny cores are run and compared.

With n products, one for each core, and all rows in one chunk or in c of them, a call of a layer takes

    layer + n call                                                     for inference,
    layer + entry + c n chunk_call                                     for inference in chunks,
    training + n (4 call + recorded) - call                            for a training step,
    training + function + n recorded + c (4 n - 1) chunk_call          for a training step in chunks

(a product, two for the gradients, and a sum where a core multiplies a stack, which all do but the first; in chunks, the
states but the last computed again). Each constant is a difference of such times. So whatever a layer does in Python is
seen here, and the estimate of small batches, where little else counts, follows the code as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from tnlayers.declare.graph import forward
from tnlayers.declare.spec import spec
from tnlayers.machine.rates import Machine
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers_backends.torch.layers.linear import TNLinear

Timer: TypeAlias = Callable[[Callable[[], object]], float]

_FEW, _MANY = 2, 6  # cores
_CHUNKS = 32
_LEAST = 1e-8  # seconds: differences of times are not exact, and a rate is above zero


def with_calls(machine: Machine, like: Tensor, timed: Timer) -> Machine:
    """A machine with the seconds that layers take beside their operations, measured.

    Args:
        machine: What is known; `seconds_per_call` is.
        like: A tensor on the device, of the dtype.
        timed: Gives the seconds of a function.
    """
    call = machine.seconds_per_call
    layer = timed(_inference(like, _FEW, chunk=None)) - _FEW * call
    few, many = (timed(_training(like, cores, rows=1, chunk=None)) for cores in (_FEW, _MANY))
    operation = (many - few) / (_MANY - _FEW)
    training, recorded = few - _FEW * operation + call, operation - 4 * call
    one, chunks = (timed(_training(like, _FEW, rows=rows, chunk=1)) for rows in (1, _CHUNKS))
    in_chunk = (chunks - one) / (_CHUNKS - 1)
    chunk_call = max(in_chunk / (4 * _FEW - 1), _LEAST)
    entry = timed(_inference(like, _FEW, chunk=1)) - layer - _FEW * chunk_call
    return replace(
        machine,
        seconds_per_layer=max(layer, _LEAST),
        seconds_per_training=max(training, _LEAST),
        seconds_per_recorded=max(recorded, _LEAST),
        seconds_per_function=max(one - training - _FEW * recorded - in_chunk, _LEAST),
        seconds_per_entry=max(entry, _LEAST),
        seconds_per_chunk_call=chunk_call,
    )


def _inference(like: Tensor, cores: int, *, chunk: int | None) -> Callable[[], object]:
    layer = _layer(like, cores, 1, "inference", chunk)
    x = like.new_ones(1, layer.in_features)
    return torch.no_grad()(lambda: layer(x))


def _training(like: Tensor, cores: int, *, rows: int, chunk: int | None) -> Callable[[], object]:
    layer = _layer(like, cores, rows, "training", chunk)
    x = like.new_ones(rows, layer.in_features).requires_grad_()
    grad_y = like.new_ones(rows, layer.out_features)

    def step() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(grad_y)

    return torch.enable_grad()(step)


def _layer(like: Tensor, cores: int, rows: int, objective: Objective, chunk: int | None) -> TNLinear:
    """A layer of 2 x 2 matrices that carries its rows through one core after the other."""
    modes = "x".join(["2"] * cores)
    made = spec(f"mpo(in={modes}, out={modes}, bond=2)")
    layer = TNLinear(made.in_features, made.out_features, False, like.device, like.dtype, network=made, seed=0)
    plan = Plan(
        contraction=forward(made.graphs[0], rows),
        path=((0, 1), *((cores + k, k + 1) for k in range(1, cores))),
        objective=objective,
        chunk=chunk,
    )
    layer.use_plan(plan)
    return layer
