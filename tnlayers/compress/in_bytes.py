"""A budget in bytes of the file: the largest model, in its own numbers or in codes of few bits, whose file keeps to it.

The size of a file is known once it is written: bytes of numbers, scales of codes, and a header that says what they are.
So the budget becomes one of parameters, and what a file is off by corrects it, a few times at most.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from tnlayers_backends.torch.modules.hosts import parameters_of
from tnlayers_backends.torch.modules.quantising import check_format, layers_to_round, quantise
from torch import nn

from tnlayers.compress.budgets import Budget
from tnlayers.compress.report import CompressReport
from tnlayers.errors import TNLayersError
from tnlayers.io import save

Made: TypeAlias = tuple[Any, CompressReport]  # a model, None in a dry run, and the report

_TRIES = 4
_NEAR = 0.98
_HEADER = 700  # bytes of a file's header per layer, for the first guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How numbers are to be stored.

    Attributes:
        bits: 8, 4, or None for numbers in their own dtype.
        group: Entries that share a scale.
    """

    bits: int | None
    group: int

    @classmethod
    def of(cls, bits: int | None, group: int, budget: Budget) -> Stored:
        """The format that was asked for, checked.

        Raises:
            TNLayersError: If it is none, or goes with another budget.
        """
        if bits is not None:
            check_format(bits, group)
            if budget.key == "error":
                raise TNLayersError(
                    f"{budget} limits the error of networks, and rounding to {bits} bits would come on top. Give "
                    "ratio=, max_params= or max_bytes=, or call tnl.quantise on the result and read its errors."
                )
        return cls(bits=bits, group=group)

    def bytes_each(self, model: nn.Module) -> float:
        """Bytes of one number of a layer."""
        if self.bits is None:
            return next(model.parameters()).element_size()
        return self.bits / 8 + 2 / self.group


def rounded(made: Made, stored: Stored, asked: str = "") -> Made:
    """A compressed model with its numbers rounded, in place, and a report that says so."""
    model, report = made
    report = replace(report, asked=asked or report.asked)
    if stored.bits is None or model is None:
        return model, report
    found = quantise(model, stored.bits, group=stored.group, inplace=True)
    by_name = {one.name: one for one in found.layers}
    layers = []
    for layer in report.layers:
        one = by_name.pop(layer.name.split(", ")[0], None)
        if one is not None and one.error is not None:
            note = f"rounded to {found.bits} bits, error {one.error:.3g}"
            after = replace(layer.after, bytes=layer.after.bytes - one.before + one.after)
            layer = replace(layer, after=after, note="; ".join(filter(None, (layer.note, note))))
        layers.append(layer)
    saved = sum(one.before - one.after for one in by_name.values())  # of networks that were there before
    others = replace(report.others, bytes=report.others.bytes - saved)
    bits = found.bits_per_parameter
    return model, replace(report, layers=tuple(layers), others_after=others, bits=bits)


def in_bytes(
    model: nn.Module,
    budget: Budget,
    stored: Stored,
    compressed: Callable[[Budget, Path | None, bool, bool], Made],
    folder: Path | None,
    *,
    dry_run: bool,
    inplace: bool,
) -> Made:
    """What is made of the most parameters whose file keeps to a budget of bytes.

    Args:
        model: The dense model.
        budget: Of bytes.
        stored: How numbers are stored.
        compressed: Compresses within a budget of parameters, given a folder for what it computes, whether to report
            alone, and whether to change the model itself.
        folder: Where to keep what is computed; None for one that is deleted.
        dry_run: Whether to report alone, for the parameters that are a first guess.
        inplace: Whether to change the model itself.

    Raises:
        TNLayersError: If no file is small enough.
    """
    limit = budget.file_bytes(tensor_bytes(model))
    assert limit is not None
    parameters = first_guess(model, limit, stored)

    def tried(parameters: int, kept: Path, *, dry: bool = False, own: bool = False) -> Made:
        asked = replace(budget, key="max_params", value=parameters, ratio_of="model")
        made = rounded(compressed(asked, kept, dry, own), stored, str(budget))
        return made if dry else (made[0], replace(made[1], file_bytes=file_size(made[0])))

    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        kept = Path(place)
        if dry_run:
            return tried(parameters, kept, dry=True)
        best = _largest(model, limit, stored, parameters, lambda count: tried(count, kept), str(budget))
        return tried(best, kept, own=True) if inplace else tried(best, kept)


def _largest(model: nn.Module, limit: int, stored: Stored, first: int, tried: Callable[[int], Made], asked: str) -> int:
    """The most parameters, of a few that are tried, whose file is small enough."""
    most, sizes = parameters_of(model), dict[int, int]()
    count = min(first, most)
    for number in range(_TRIES):
        try:
            size = tried(count)[1].file_bytes
        except TNLayersError:  # no networks are so small
            size = None
        if size is None:
            break
        sizes[count] = size
        off = (limit - size) / stored.bytes_each(model)
        # Sizes of networks are coarse: what is too large by a little may need a good deal less.
        following = min(int(count + 0.99 * off if off > 0 else count * (1 - 0.004 * 3**number) + off), most)
        if (_NEAR * limit <= size <= limit) or following in sizes or following < 1:
            break
        count = following
    fitting = [count for count, size in sizes.items() if size <= limit]
    if not fitting:
        reached = (
            f"the smallest file that was tried has {min(sizes.values()):,}"
            if sizes
            else f"a file of so many bytes has room for about {count:,} of the model's {most:,} parameters, fewer than "
            "remain with the smallest networks in place of its weights"
        )
        raise TNLayersError(
            f"{asked} is out of reach: {reached}. Ask for more bytes, for fewer bits (bits=8, bits=4), or for other "
            "network types."
        )
    return max(fitting, key=lambda count: sizes[count])


def first_guess(model: nn.Module, limit: int, stored: Stored) -> int:
    """The parameters of a whole model whose file is about as large as a budget, from below."""
    layers = layers_to_round(model)
    others = parameters_of(model) - sum(one.numel() for one in layers.values())
    own = next(model.parameters()).element_size()
    left = limit - sum(one.nbytes for one in model.buffers()) - others * own - _HEADER * len(layers)
    return max(others + int(left / stored.bytes_each(model)), 1)


def file_size(model: nn.Module) -> int:
    """The bytes that `tnl.save` writes of a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save(model, path)
        return path.stat().st_size


def tensor_bytes(model: nn.Module) -> int:
    """The bytes of a model's parameters and buffers."""
    return sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
