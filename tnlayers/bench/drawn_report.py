"""The part of the report on cells drawn at random: what they were asked to reach, and a row for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tnlayers.bench.bars import own, shown, to_limit
from tnlayers.bench.cell_run import Result, best_peer, best_way, regret
from tnlayers.bench.cells import MODES
from tnlayers.bench.drawn import BATCHES, BONDS, CORES, FEATURES
from tnlayers.bench.measure import DENSE, mean
from tnlayers.bench.table import row

_OTHER = 1.05  # of the best other way's time, in every cell
_MEANS = {"forward": 0.5, "training": 0.7}  # of the best other way's time, geometric mean
_LIMITS = {"forward": 1.3, "training": 1.5}  # of the limit, geometric mean at batch 32 and more
_FEW = 32
_REGRET, _SHARE = 1.1, 0.95

_ABOUT = """\
Layers, bonds and batches drawn by `tnlayers bench --random N --seed S`: sizes of {features}, {cores} cores, bonds of
{bonds}, batches of {batches}, each octave as likely as another. "Other way" is the fastest of the other libraries,
of the weight rebuilt and multiplied, and of the einsums of the declaration. Regret is our time over that of the fastest
plan measured in the same rounds: ours, chosen by estimate, or one chosen by the clock."""


def drawn_section(results: Mapping[str, Result]) -> Iterator[str]:
    """What was drawn, the bars, and the cells."""
    found = {name: r for name, r in results.items() if r["cell"].get("drawn")}
    words = {"features": FEATURES, "cores": CORES, "bonds": BONDS, "batches": BATCHES}
    yield _ABOUT.format(**{name: f"{least} to {most}" for name, (least, most) in words.items()})
    yield ""
    if not found:
        yield "None was run."
        return
    yield from _asked(list(found.values()))
    yield ""
    yield row(["layer", "cores", "bond", "batch", "mode", "dense ms", "ours / dense (95 %)", *_COLUMNS])
    yield row(["---"] * (7 + len(_COLUMNS)))
    for r in found.values():
        cell, (way, ratio) = r["cell"], other(r) or ("", [])
        yield row(
            [
                f"{cell['in_features']} to {cell['out_features']}",
                *(str(cell[key]) for key in ("cores", "bond", "batch", "mode")),
                f"{1e3 * r['contenders'][DENSE]['seconds']:.3g}",
                shown(own(r)["to_dense"]),
                way,
                shown(ratio) if ratio else "",
                f"{to_limit(r)[0]:.2f}",
                "" if (lost := regret(r)) is None else f"{lost:.2f}",
                str(own(r)["rounds"]),
            ]
        )


_COLUMNS = ("other way", "ours / other way (95 %)", "ours / limit", "regret", "rounds")


def other(result: Result) -> tuple[str, list[float]] | None:
    """The fastest other way to run the cell, and our time over its with an interval; None where none was timed."""
    names = [name for name in (best_peer(result), best_way(result)) if name is not None]
    if not names:
        return None
    name = min(names, key=lambda name: result["contenders"][name]["seconds"])
    return name, result["contenders"][name]["ours_to"]


def _asked(results: Sequence[Result]) -> Iterator[str]:
    """A row for each figure that is asked for, by mode."""
    yield row(["asked", *MODES])
    yield row(["---"] * (1 + len(MODES)))
    figures: dict[str, Callable[[str, Sequence[Result]], str]] = {
        f"in every cell at most {_OTHER} of the best other way's time": lambda _, group: _each(group),
        "geometric mean over the best other way's time": _mean,
        f"geometric mean over the limit, batch {_FEW} and more": _limit,
        f"regret at most {_REGRET} in {100 * _SHARE:.0f} % of cells": lambda _, group: _regrets(group),
        "geometric mean over the dense layer's time": lambda _, group: _dense(group),
    }
    for asked, figure in figures.items():
        by_mode = {mode: [r for r in results if r["cell"]["mode"] == mode] for mode in MODES}
        yield row([asked, *(figure(mode, group) for mode, group in by_mode.items())])


def _each(group: Sequence[Result]) -> str:
    ratios = [found[1] for r in group if (found := other(r))]
    met = sum(ratio[0] <= _OTHER for ratio in ratios)
    return _judged(met == len(ratios), f"{met} of {len(ratios)} cells" if ratios else "")


def _mean(mode: str, group: Sequence[Result]) -> str:
    ratios = [found[1][0] for r in group if (found := other(r))]
    return _judged(mean(ratios) <= _MEANS[mode], f"{mean(ratios):.2f}, asked {_MEANS[mode]}" if ratios else "")


def _limit(mode: str, group: Sequence[Result]) -> str:
    ratios = [to_limit(r)[0] for r in group if r["cell"]["batch"] >= _FEW]
    return _judged(mean(ratios) <= _LIMITS[mode], f"{mean(ratios):.2f}, asked {_LIMITS[mode]}" if ratios else "")


def _regrets(group: Sequence[Result]) -> str:
    regrets = [found for r in group if (found := regret(r)) is not None]
    if not regrets:
        return ""
    at = float(np.quantile(regrets, _SHARE))
    small = sum(found <= _REGRET for found in regrets)
    return _judged(
        small >= _SHARE * len(regrets), f"{small} of {len(regrets)} cells; the {_SHARE:.0%} quantile {at:.2f}"
    )


def _dense(group: Sequence[Result]) -> str:
    return f"{mean(own(r)['to_dense'][0] for r in group):.2f}" if group else ""


def _judged(met: bool, words: str) -> str:
    return f"{words}: {'met' if met else '**not met**'}" if words else "not run"
