"""The report as HTML: one page without other files, in the reader's light or dark colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tnlayers.compress.layer_report import HEADINGS, LayerReport

_STYLE = """
.tnl-report{--ink:#1c2430;--dim:#5b6675;--line:#d9dee6;--bar:#2f6fde;--track:#e6eaf0;--paper:#fff;--warn:#a15c00;
 color:var(--ink);background:var(--paper);font:14px/1.45 system-ui,sans-serif;padding:1rem;overflow-x:auto}
@media (prefers-color-scheme:dark){.tnl-report{--ink:#e6eaf0;--dim:#9aa5b4;--line:#343d4a;--bar:#6fa2ff;--track:#2a323d;
 --paper:#161b22;--warn:#e8b45a}}
.tnl-report h2{font-size:1.05rem;font-weight:600;margin:0 0 .8rem}
.tnl-report table{border-collapse:collapse;margin:0 0 1rem;font-variant-numeric:tabular-nums}
.tnl-report th,.tnl-report td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right;
 vertical-align:top;color:var(--ink);background:none}
.tnl-report th{color:var(--dim);font-weight:500}
.tnl-report .left{text-align:left}
.tnl-report .net{font-family:ui-monospace,monospace;font-size:.85em;word-break:break-word;min-width:9rem}
.tnl-report .note{color:var(--warn);min-width:6rem}
.tnl-report .track{display:block;height:4px;min-width:4rem;background:var(--track);border-radius:2px;margin-top:.2rem}
.tnl-report .track i{display:block;height:4px;background:var(--bar);border-radius:2px}
.tnl-report p{color:var(--dim);margin:0}
"""
_LEFT = {"layer": "left", "asked": "left", "network": "left net", "note": "left note"}


def page(model: str, body: str) -> str:
    """A whole page of what `fragment` gives."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(model)} compressed</title><style>body{{margin:0}}"
        "@media (prefers-color-scheme:dark){body{background:#161b22}}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def fragment(
    title: str,
    layers: Sequence[LayerReport],
    totals: Sequence[tuple[str, str, str, str]],
    footnote: str,
    rest: Sequence[str] = (),
) -> str:
    """The part that a notebook shows.

    Args:
        title: The line above.
        layers: One row each.
        totals: Of the whole model: what, before, after, ratio.
        footnote: The line below.
        rest: More lines below it.
    """
    head = "".join(f'<th class="{_LEFT.get(name, "").split(" ")[0]}">{name}</th>' for name in HEADINGS)
    rows = "".join(_row(layer) for layer in layers)
    whole = "".join(
        f'<tr><td class="left">{name}</td><td>{before}</td><td>{after}</td><td>{ratio}</td></tr>'
        for name, before, after, ratio in totals
    )
    return (
        f'<div class="tnl-report"><style>{_STYLE}</style><h2>{escape(title)}</h2>'
        f'<table><tr><th class="left">whole model</th><th>before</th><th>after</th><th>ratio</th></tr>{whole}</table>'
        f"<table><tr>{head}</tr>{rows}</table><p>{escape(footnote)}</p>{_rest(rest)}</div>"
    )


def _rest(rest: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(map(escape, rest))}</p>" if rest else ""


def _row(layer: LayerReport) -> str:
    cells = []
    for name, text in zip(HEADINGS, layer.cells(), strict=True):
        inner = escape(text)
        if name == "of dense":
            share = min(layer.after.parameters / max(layer.before.parameters, 1), 1.0)
            inner += f'<span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
        cells.append(f'<td class="{_LEFT.get(name, "")}">{inner}</td>')
    return f"<tr>{''.join(cells)}</tr>"
