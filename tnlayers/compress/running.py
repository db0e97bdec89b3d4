"""Running a model on a sample, and telling whose fault it is where that fails.

An error is the sample's where the model by itself, with nothing of ours watching, does not run on it. Memory that ran
out and broken assertions of this library say nothing of a sample, and go through as they are.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tnlayers.errors import TNLayersError


class _NoNumbers(TNLayersError):
    """The model runs, and returns nothing that has an error."""


def is_ours(error: Exception) -> bool:
    """Whether an error says nothing of the sample: memory that ran out, or a broken assertion of this library."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, AssertionError) and frames[-1].startswith(("tnlayers.", "tnlayers_backends."))


def refuse_if_alone(model: nn.Module, batch: Any) -> None:
    """Refuse a sample on which a model that is not watched does not run either.

    Raises:
        TNLayersError: With what the model raised.
    """
    try:
        run(model, batch)
    except _NoNumbers:
        raise
    except Exception as alone:
        if is_ours(alone):
            raise
        shapes = ", ".join(str(tuple(one.shape)) for one in list(tensors_in(batch))[:3]) or "no tensors"
        reason = f"{type(alone).__name__}: {str(alone).rstrip('.')[:1000]}"
        raise TNLayersError(
            f"The model does not run on the sample of {shapes}: {reason}. Give what the model takes: a tensor, a tuple "
            "of arguments, a mapping of keywords, or an iterable of such batches; without labels, and in the model's "
            "dtype and on its device."
        ) from alone


def run(model: nn.Module, batch: Any) -> Tensor:
    """All outputs of the model for a batch as one vector in double precision."""
    args, kwargs = ((), batch) if isinstance(batch, Mapping) else (_arguments(batch), {})
    result = model(*args, **kwargs)
    found = [value.detach().double().reshape(-1) for value in tensors_in(result) if value.is_floating_point()]
    if not found:
        raise _NoNumbers(f"The model returns a {type(result).__name__} without numbers; an error of it has no size.")
    return torch.cat(found)


def _arguments(batch: Any) -> tuple[Any, ...]:
    packed = isinstance(batch, PackedSequence)  # a tuple by its class, one argument by its meaning
    return batch if isinstance(batch, tuple) and not packed else (batch,)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a model takes or returns, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
