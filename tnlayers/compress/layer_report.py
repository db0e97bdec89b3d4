"""What became of one layer of a compressed model: a row of the report."""

from __future__ import annotations

from dataclasses import dataclass

HEADINGS = (
    *("layer", "asked", "network", "parameters", "of dense", "flops"),
    *("bytes", "error", "output error", "time", "note"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a layer or a model takes.

    Attributes:
        parameters: Entries, biases included.
        bytes: Of the parameters, in their dtype.
        flops: Of the matrix products of one forward pass; None where the input's size is not known.
    """

    parameters: int
    bytes: int
    flops: int | None

    def __add__(self, other: Size) -> Size:
        flops = None if self.flops is None or other.flops is None else self.flops + other.flops
        return Size(parameters=self.parameters + other.parameters, bytes=self.bytes + other.bytes, flops=flops)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer.

    Attributes:
        name: Its path in the model; of tied layers all paths.
        kind: The dense class.
        asked: The network types it could become, or the rule.
        network: The network as built; "dense" where it was left as it is.
        bond: Sizes of its bonds.
        before: The dense layer.
        after: What is there now.
        error: ||W - W'|| / ||W||; None in a dry run of what is fitted.
        output_error: The same of the outputs on the sample; None without.
        sensitivity: What a squared relative error of this layer counted.
        searched: What a search over shapes and orders of its features bought; None without one.
        time: Predicted seconds over those of the dense layer; None where the input's size is not known.
        note: Why it was left dense, or that it is slower.
    """

    name: str
    kind: str
    asked: str
    network: str
    bond: tuple[int, ...]
    before: Size
    after: Size
    error: float | None
    output_error: float | None
    sensitivity: float
    searched: str | None
    time: float | None
    note: str

    def cells(self) -> tuple[str, ...]:
        """The row of a table, in the order of `HEADINGS`."""
        return (
            self.name,
            self.asked,
            self.network,
            f"{self.after.parameters:,}",
            f"{self.after.parameters / max(self.before.parameters, 1):.3f}",
            or_dash(self.after.flops, ","),
            f"{self.after.bytes:,}",
            or_dash(self.error, ".3g"),
            or_dash(self.output_error, ".3g"),
            or_dash(self.time, ".2f"),
            "; ".join(filter(None, (self.note, self.searched))),
        )


def or_dash(value: float | None, form: str) -> str:
    """A number in this form, or a dash where there is none."""
    return "-" if value is None else format(value, form)
