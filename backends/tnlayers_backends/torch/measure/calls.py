"""Measuring what calls cost with torch (`tnlayers.machine.calls`): layers of few and of more tiny cores.

Whatever a layer does in Python is seen here, and the estimate of small batches, where little else counts, follows the
code as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tnlayers.cores.layer_plan import one_by_one
from tnlayers.machine.calls import Timer, with_constants
from tnlayers.machine.rates import Machine
from tnlayers.planning.lowered import Objective
from tnlayers_backends.torch.layers.linear import TNLinear


def with_calls(machine: Machine, like: Tensor, timed: Timer) -> Machine:
    """A machine with the seconds that layers take beside their operations, measured.

    Args:
        machine: What is known; `seconds_per_call` is.
        like: A tensor on the device, of the dtype.
        timed: Gives the seconds of a function.
    """
    return with_constants(
        machine,
        lambda cores, chunk: _inference(like, cores, chunk=chunk),
        lambda cores, rows, chunk: _training(like, cores, rows=rows, chunk=chunk),
        timed,
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
    made, plan = one_by_one(cores, rows, objective, chunk)
    layer = TNLinear(made.in_features, made.out_features, False, like.device, like.dtype, network=made, seed=0)
    layer.use_plan(plan)
    return layer
