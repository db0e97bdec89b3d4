"""Batches of any form, and what a model makes of them: tensors, with or without labels, and Hugging Face's mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tnlayers.compress.running import tensors_in
from tnlayers.errors import TNLayersError

_LABELS = ("labels", "label", "label_ids")


def called(module: nn.Module, batch: Any, fabric: Fabric) -> Tensor:
    """What a module puts out for a batch, on the device and in the precision that it computes in.

    Args:
        module: Any module.
        batch: Inputs; a tuple or a list that begins with them; or a mapping of keywords. Labels are left out.
        fabric: Decides device and precision.

    Returns:
        The output; of a mapping the entry "logits", else the first tensor of floating point in it.

    Raises:
        TNLayersError: If there is no such tensor, in the batch or in what the module returns.
    """
    inputs = fabric.to_device(_inputs(batch))
    if next(tensors_in(inputs), None) is None:
        raise TNLayersError(
            f"A batch of the loader begins with a {type(inputs).__name__}, not with a tensor: give tensors, tuples "
            "that begin with one, or mappings of them (torch.from_numpy for arrays)."
        )
    parameter = next((one for one in module.parameters() if one.is_floating_point()), None)
    if parameter is not None:
        inputs = _in_precision(inputs, parameter.dtype)
    with fabric.autocast():
        result = module(**inputs) if isinstance(inputs, Mapping) else module(inputs)
    if isinstance(result, Mapping) and "logits" in result:
        return _checked(result["logits"])
    return _checked(next((one for one in tensors_in(result) if one.is_floating_point() or one.is_complex()), result))


def examples(batch: Any) -> int:
    """How many examples a batch has."""
    return next((len(one) for one in tensors_in(_inputs(batch)) if one.ndim), 1)


def by_process(numbers: Sequence[int], fabric: Fabric) -> Tensor:
    """The numbers of every process, (processes, numbers).

    A sum, in which each process has a row of its own: what Fabric's `all_gather` calls is deprecated by torch.
    """
    rows = torch.zeros(fabric.world_size, len(numbers), dtype=torch.int64)
    rows[fabric.global_rank] = torch.tensor(numbers)
    return cast("Tensor", fabric.all_reduce(rows, reduce_op="sum"))


def _checked(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TNLayersError(
            f"The model returns a {type(output).__name__} without a tensor of numbers, so there is no distance from "
            "the teacher. Wrap it in a module that returns its outputs as one tensor."
        )
    return output


def _inputs(batch: Any) -> Any:
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(inputs, Mapping):
        return {name: value for name, value in inputs.items() if name not in _LABELS}
    return inputs


def _in_precision(inputs: Any, dtype: torch.dtype) -> Any:
    """Tensors of floating point in a dtype; ids and masks stay."""
    if isinstance(inputs, Mapping):
        return {name: _in_precision(value, dtype) for name, value in inputs.items()}
    if isinstance(inputs, Tensor) and inputs.is_inference():
        inputs = inputs.clone()  # which autograd may keep
    return inputs.to(dtype) if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs
