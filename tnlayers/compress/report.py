"""The report of a compressed model: per layer what was asked and what was delivered, and the totals."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from tnlayers.compress.layer_report import HEADINGS, LayerReport, Size, or_dash
from tnlayers.compress.report_html import fragment, page
from tnlayers.compress.rest import Rest, lines

FORMAT = "tnlayers.compressed/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressReport:
    """What `tnl.compress` did, or in a dry run would do; print it.

    Attributes:
        model: The class of the model.
        asked: The budget, in words.
        batch: The vectors or images that flops and times are for.
        layers: All layers of a kind that can be replaced, and those that look like it but cannot.
        others: All other parameters together.
        dry_run: Whether nothing was built; errors are then bounds from singular values.
        rest: The parameters in `others`, largest first.
        others_after: What `others` take now, where some of them were rounded to few bits.
        bits: Bits of each number that was rounded, scales included; None where none was.
        file_bytes: What `tnl.save` writes of the model, where a budget was one of bytes.
    """

    model: str
    asked: str
    batch: int
    layers: tuple[LayerReport, ...]
    others: Size
    dry_run: bool
    rest: tuple[Rest, ...] = ()
    others_after: Size | None = None
    bits: float | None = None
    file_bytes: int | None = None

    @property
    def before(self) -> Size:
        """The whole model as it was; flops are those of the layers listed."""
        return sum((layer.before for layer in self.layers), self.others)

    @property
    def after(self) -> Size:
        """The whole model as it is now."""
        return sum((layer.after for layer in self.layers), self.others_after or self.others)

    @property
    def ratio(self) -> float:
        """Parameters after over parameters before, of the whole model."""
        return self.after.parameters / max(self.before.parameters, 1)

    @property
    def replaced_ratio(self) -> float:
        """The same of the replaced layers alone, their biases included; 1 where none is replaced."""
        replaced = [layer for layer in self.layers if layer.network != "dense"]
        before = sum(layer.before.parameters for layer in replaced)
        return sum(layer.after.parameters for layer in replaced) / before if before else 1.0

    def totals(self) -> list[tuple[str, str, str, str]]:
        """Rows of what, before, after, ratio."""
        rows = []
        for name in ("parameters", "bytes", "flops"):
            before, after = getattr(self.before, name), getattr(self.after, name)
            ratio = None if before is None or not before else after / before
            rows.append((name, or_dash(before, ","), or_dash(after, ","), or_dash(ratio, ".4f")))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        extra = {"before": asdict(self.before), "after": asdict(self.after)}
        ratios = {"ratio": self.ratio, "replaced_ratio": self.replaced_ratio}
        return {"format": FORMAT} | asdict(self) | extra | ratios

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """The report as one HTML page that needs no other file."""
        return page(self.model, self._repr_html_())

    def _repr_html_(self) -> str:
        rest = lines(self.rest, self.before.parameters)
        return fragment(self.title(), self.layers, self.totals(), self.footnote(), rest)

    def title(self) -> str:
        """One line: the model, what was asked, what was delivered."""
        count = sum(layer.network != "dense" for layer in self.layers)
        verb = "would become" if self.dry_run else "became"
        return (
            f"{self.model}: asked {self.asked}; {count} of {len(self.layers)} layers {verb} networks, "
            f"{self.ratio:.4f} of the model's parameters, {self.replaced_ratio:.4f} of the replaced layers'."
            f"{self._stored()}{self._dearer()}"
        )

    def _stored(self) -> str:
        """Bits and bytes, where they were asked for."""
        bits = "" if self.bits is None else f" Rounded numbers take {self.bits:.2f} bits each."
        return bits + ("" if self.file_bytes is None else f" The file has {self.file_bytes:,} bytes.")

    def _dearer(self) -> str:
        """What rises: flops of the layers, and predicted times."""
        before, after = self.before.flops, self.after.flops
        slower = [layer.time for layer in self.layers if layer.time is not None and layer.time > 1]
        notes = [f"Flops rise {after / before:.2f}x."] if before and after and after > before else []
        if slower:
            notes.append(
                f"{len(slower)} of the layers are predicted to be slower than dense, up to {max(slower):.2f}x."
            )
        return "".join(f" {one}" for one in notes)

    def __str__(self) -> str:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in HEADINGS:
            left = heading in ("layer", "asked", "network", "note")
            table.add_column(heading, justify="left" if left else "right", overflow="fold")
        for layer in self.layers:
            table.add_row(*layer.cells())
        console = Console(file=StringIO(), width=160, markup=False, highlight=False, emoji=False, color_system=None)
        console.print(table)
        assert isinstance(console.file, StringIO)
        rows = "\n".join(f"{a:<11}{b:>16} -> {c:>16}  {d}" for a, b, c, d in self.totals())
        body = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
        rest = "".join(f"\n{line}" for line in lines(self.rest, self.before.parameters))
        return f"{self.title()}\n\n{body}\n\n{rows}\n{self.footnote()}{rest}"

    def footnote(self) -> str:
        """What the numbers are of."""
        bounds = " Errors are bounds from singular values." if self.dry_run else ""
        return f"Flops and times (over the dense layer's, predicted) are for a batch of {self.batch}.{bounds}"
