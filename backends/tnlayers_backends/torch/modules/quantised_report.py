"""What became of each layer of a model that was rounded to codes, in bytes and in relative error."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedLayer:
    """What became of one layer.

    Attributes:
        name: Its path in the model.
        kind: Its class.
        parameters: Entries of its weight or its cores.
        before: Bytes of these.
        after: Bytes of codes and scales.
        error: ||W - W'|| / ||W||, measured in double precision; None where nothing was rounded.
        note: Why it was left as it is; "" where it was not.
    """

    name: str
    kind: str
    parameters: int
    before: int
    after: int
    error: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """A model in few bits, and what that cost; print it.

    Attributes:
        model: The model.
        bits: Of each code.
        group: Entries that share a scale of 16 bits, at most.
        layers: What became of each layer.
        others: Bytes of all other parameters and buffers.
    """

    model: nn.Module
    bits: int
    group: int
    layers: tuple[QuantisedLayer, ...]
    others: int

    @property
    def before(self) -> int:
        """Bytes of the whole model as it was."""
        return self.others + sum(layer.before for layer in self.layers)

    @property
    def after(self) -> int:
        """Bytes of the whole model now, as files hold them."""
        return self.others + sum(layer.after for layer in self.layers)

    @property
    def bits_per_parameter(self) -> float:
        """Bits that each of the rounded numbers takes, scales included."""
        rounded = [layer for layer in self.layers if layer.error is not None]
        return 8 * sum(one.after for one in rounded) / max(sum(one.parameters for one in rounded), 1)

    def __str__(self) -> str:
        rows = [("layer", "kind", "numbers", "bytes before", "bytes now", "error", "note")]
        for one in self.layers:
            error = "-" if one.error is None else f"{one.error:.3g}"
            rows.append(
                (one.name, one.kind, f"{one.parameters:,}", f"{one.before:,}", f"{one.after:,}", error, one.note)
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        total = (
            f"{self.bits} bits in groups of {self.group}: {self.bits_per_parameter:.2f} bits for each number, scales "
            f"included; the whole model takes {self.after:,} bytes, before {self.before:,} ({self.others:,} of others)."
        )
        return "\n".join([*table, total])
