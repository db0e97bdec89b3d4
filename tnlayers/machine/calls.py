"""What calls cost, whatever their sizes, from the times of layers of few and of more tiny cores.

With n products, one for each core, and all rows in one chunk or in c of them, a call of a layer takes

    layer + n call                                                     for inference,
    layer + entry + c n chunk_call                                     for inference in chunks,
    training + n (4 call + recorded) - call                            for a training step,
    training + function + n recorded + c (4 n - 1) chunk_call          for a training step in chunks

(a product, two for the gradients, and a sum where a core multiplies a stack, which all do but the first; in chunks, the
states but the last computed again). Each constant is a difference of such times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from tnlayers.machine.rates import Machine

Timer: TypeAlias = Callable[[Callable[[], object]], float]
Inference: TypeAlias = Callable[[int, int | None], Callable[[], object]]
Training: TypeAlias = Callable[[int, int, int | None], Callable[[], object]]

FEW, MANY = 2, 6  # cores
CHUNKS = 32
LEAST = 1e-8  # seconds: differences of times are not exact, and a rate is above zero


def with_constants(machine: Machine, inference: Inference, training: Training, timed: Timer) -> Machine:
    """A machine with the seconds that layers take beside their operations.

    Args:
        machine: What is known; `seconds_per_call` is.
        inference: The call of a layer of so many cores on one row, in chunks of so many rows or whole.
        training: A training step: cores, rows, and rows of a chunk.
        timed: Gives the seconds of a function.
    """
    call = machine.seconds_per_call
    layer = timed(inference(FEW, None)) - FEW * call
    few, many = (timed(training(cores, 1, None)) for cores in (FEW, MANY))
    operation = (many - few) / (MANY - FEW)
    step, recorded = few - FEW * operation + call, operation - 4 * call
    one, chunks = (timed(training(FEW, rows, 1)) for rows in (1, CHUNKS))
    in_chunk = (chunks - one) / (CHUNKS - 1)
    chunk_call = max(in_chunk / (4 * FEW - 1), LEAST)
    entry = timed(inference(FEW, 1)) - layer - FEW * chunk_call
    return replace(
        machine,
        seconds_per_layer=max(layer, LEAST),
        seconds_per_training=max(step, LEAST),
        seconds_per_recorded=max(recorded, LEAST),
        seconds_per_function=max(one - step - FEW * recorded - in_chunk, LEAST),
        seconds_per_entry=max(entry, LEAST),
        seconds_per_chunk_call=chunk_call,
    )
