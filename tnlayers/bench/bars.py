"""Bars: what the benchmark is measured against, each with its figures and whether it is met.

A bar on a ratio is met when the ratio's median reaches it. Where only the 95 % interval does, it is missed within
noise, which is a verdict of its own. Bars are about the grid: mpo, torch, float32, one thread, unless they name
something else. A bar whose cells were not run is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tnlayers.bench.cell_run import Result, best_peer
from tnlayers.bench.gpu import DTYPES, HOWS, Figures
from tnlayers.bench.measure import DENSE, OURS, mean
from tnlayers.bench.schedule import CLAIMED
from tnlayers.pricing.limits import PREPARED_LIMIT

_NAMED = "4096-4096-c4-r16-b128"
_GRAPHS = {"float32": 0.9, "bfloat16": 1.0}  # of dense, under CUDA graphs

Verdict: TypeAlias = Literal["met", "within noise", "not met", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        asked: What is asked.
        measured: What was measured.
        verdict: Whether it is met.
        missed: The cells that miss it, each with its figure.
    """

    asked: str
    measured: str
    verdict: Verdict
    missed: tuple[str, ...] = ()


def bars(cells: Mapping[str, Result], growth: Mapping[str, Result]) -> list[Bar]:
    """All bars.

    Args:
        cells: Results by name.
        growth: Points of the growth curves by name.
    """
    whole = {name: r for name, r in cells.items() if OURS in r["contenders"] and DENSE in r["contenders"]}
    grid = {name: r for name, r in whole.items() if plain(r["cell"])}
    return [
        _peers(grid),
        _twice(grid),
        _cell(
            grid, f"{_NAMED}-training", 0.5, "4096 to 4096, 4 cores, bond 16, batch 128: training at most 0.5 of dense"
        ),
        _cell(grid, f"{_NAMED}-forward", 0.45, "the same, forward: at most 0.45 of dense"),
        _peak(grid),
        _each(
            "training at batch 1024 and more: at most 1.15 + bond / batch of dense",
            {name: r for name, r in grid.items() if _is(r, "training", 1024)},
            lambda r: (own(r)["to_dense"], 1.15 + r["cell"]["bond"] / r["cell"]["batch"]),
        ),
        _each(
            "inference at batch 32 and more, where W fits the memory cap of 64 MiB: at most 1.05 of dense",
            {name: r for name, r in grid.items() if _is(r, "forward", 32) and _weight_fits(r["cell"])},
            lambda r: (own(r)["to_dense"], 1.05),
        ),
        _cell(grid, "784-256-c4-r16-b1-forward", 2.5, "784 to 256, bond 16, batch 1: forward at most 2.5 of dense"),
        *(
            _each(
                f"{mode} at batch 128 and more: at most {bound} of the limit",
                {name: r for name, r in grid.items() if _is(r, mode, 128)},
                lambda r, bound=bound: (to_limit(r), bound),  # type: ignore[misc]
            )
            for mode, bound in (("forward", 1.6), ("training", 2.0))
        ),
        *_growth(growth),
        *(_general(name, whole) for name in CLAIMED),
    ]


def on_gpu(figures: Figures) -> Bar:
    """The GPU's column: all ways to run and both dtypes, and under CUDA graphs a bound for each dtype."""
    bounds = " and ".join(f"{bound} of dense in {DTYPES[dtype]}" for dtype, bound in _GRAPHS.items())
    asked = f"where a GPU is at hand, the same cells under CUDA graphs: geometric mean at most {bounds}"
    found: dict[tuple[str, str], list[float]] = {(dtype, how): [] for dtype in DTYPES for how in HOWS}
    for _, dtype, how, ratios in figures.means():
        found[dtype, how] += ratios
    lines = [f"{DTYPES[d]} {HOWS[h]} {mean(r):.2f} of dense in {len(r)} cells" for (d, h), r in found.items() if r]
    timed = [(mean(found[dtype, "graph"]), bound) for dtype, bound in _GRAPHS.items() if found[dtype, "graph"]]
    if len(timed) < len(_GRAPHS):
        return Bar(asked=asked, measured="; ".join(lines) or "not run: no GPU", verdict="open")
    verdict: Verdict = "met" if all(ratio <= bound for ratio, bound in timed) else "not met"
    return Bar(asked=asked, measured=f"geometric means: {', '.join(lines)}", verdict=verdict)


def judged(ratio: list[float], bound: float) -> Verdict:
    """Whether a ratio (median, and the ends of its interval) is at most a bound."""
    return "met" if ratio[0] <= bound else "within noise" if ratio[1] <= bound else "not met"


def plain(cell: Mapping[str, Any]) -> bool:
    """Whether a result is of the grid."""
    setting = (cell["network"], cell["framework"], cell["dtype"], cell["threads"], cell.get("drawn", ""))
    return setting == ("", "torch", "float32", 1, "")


def own(result: Result) -> dict[str, Any]:
    """Our numbers."""
    numbers: dict[str, Any] = result["contenders"][OURS]
    return numbers


def to_limit(result: Result) -> list[float]:
    """Our time over the limit, with the interval of the median time."""
    numbers, least = own(result), result["limit"]["seconds"]
    return [seconds / least for seconds in (numbers["seconds"], *numbers["seconds_95"])]


def shown(ratio: list[float]) -> str:
    """A ratio with its interval."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def _is(result: Result, mode: str, least: int) -> bool:
    return bool(result["cell"]["mode"] == mode and result["cell"]["batch"] >= least)


def _weight_fits(cell: Mapping[str, Any]) -> bool:
    return bool(4 * cell["in_features"] * cell["out_features"] <= PREPARED_LIMIT)


def _each(asked: str, cells: Mapping[str, Result], figure: Callable[[Result], tuple[list[float], float]]) -> Bar:
    """A bar that every one of some cells has to meet: `figure` gives a ratio with interval, and its bound."""
    if not cells:
        return Bar(asked=asked, measured="not run", verdict="open")
    found = {name: figure(r) for name, r in cells.items()}
    verdicts = {name: judged(*pair) for name, pair in found.items()}
    missed = sorted(
        (name for name in found if verdicts[name] != "met"), key=lambda name: found[name][1] / found[name][0][0]
    )
    noise = sum(verdict == "within noise" for verdict in verdicts.values())
    worst = max(found, key=lambda name: found[name][0][0] / found[name][1])
    return Bar(
        asked=asked,
        measured=f"met in {len(cells) - len(missed)} of {len(cells)} cells"
        + (f", missed within noise in {noise}" if noise else "")
        + f"; geometric mean {mean(ratio[0] for ratio, _ in found.values()):.2f}; furthest {shown(found[worst][0])} in "
        f"`{worst}`",
        verdict="met" if not missed else "within noise" if noise == len(missed) else "not met",
        missed=tuple(f"`{name}` {shown(found[name][0])}" for name in missed),
    )


def _cell(grid: Mapping[str, Result], name: str, bound: float, asked: str) -> Bar:
    if name not in grid:
        return Bar(asked=asked, measured="not run", verdict="open")
    ratio = own(grid[name])["to_dense"]
    peer = best_peer(grid[name])
    beside = f"; best peer {peer} {shown(grid[name]['contenders'][peer]['to_dense'])}" if peer else ""
    return Bar(asked=asked, measured=f"{shown(ratio)}{beside}", verdict=judged(ratio, bound))


def _peers(grid: Mapping[str, Result]) -> Bar:
    cells = {name: r for name, r in grid.items() if best_peer(r) is not None}

    def figure(result: Result) -> tuple[list[float], float]:
        return result["contenders"][best_peer(result)]["ours_to"], 1.1

    return _each("in every cell that a peer was timed in, at most 1.1 of the best peer's time", cells, figure)


def _twice(grid: Mapping[str, Result]) -> Bar:
    asked = (
        "geometric mean over training cells of batch 32 and more whose best peer is more than 3 times off the limit: "
        "at least 2 times faster than it"
    )
    ratios = []
    for r in grid.values():
        peer = best_peer(r)
        if peer is not None and _is(r, "training", 32):
            numbers = r["contenders"][peer]
            if numbers["seconds"] > 3 * r["limit"]["seconds"]:
                ratios.append([1 / numbers["ours_to"][k] for k in (0, 2, 1)])
    if not ratios:
        return Bar(asked=asked, measured="not run", verdict="open")
    middle, low, high = (mean(ratio[k] for ratio in ratios) for k in range(3))
    verdict: Verdict = "met" if middle >= 2 else "within noise" if high >= 2 else "not met"
    return Bar(
        asked=asked, measured=f"{shown([middle, low, high])} times faster over {len(ratios)} cells", verdict=verdict
    )


def _peak(grid: Mapping[str, Result]) -> Bar:
    asked = "the same, training: at most 8 MB peak above parameters, gradients and inputs"
    result = grid.get(f"{_NAMED}-training")
    if result is None:
        return Bar(asked=asked, measured="not run", verdict="open")
    peaks = {name: c["peak_bytes"] / 1e6 for name, c in result["contenders"].items()}
    rest = ", ".join(f"{name} {peak:.3g}" for name, peak in peaks.items() if name != OURS)
    verdict: Verdict = "met" if peaks[OURS] <= 8 else "not met"
    return Bar(asked=asked, measured=f"{peaks[OURS]:.2f} MB; {rest}", verdict=verdict)


def _growth(growth: Mapping[str, Result]) -> list[Bar]:
    asked = "as bonds, batches and cores grow, {} within 1.5 of the plan's prediction, either way"
    if not growth:
        return [Bar(asked=asked.format(what), measured="not run", verdict="open") for what in ("time", "memory")]
    times = {n: [seconds / p["predicted_seconds"] for seconds in p["seconds"]] for n, p in growth.items()}
    memory = {n: [p["peak_bytes"] / p["predicted_bytes"]] * 3 for n, p in growth.items()}
    return [_within(asked.format(what), found) for what, found in (("time", times), ("memory", memory))]


def _within(asked: str, found: Mapping[str, list[float]]) -> Bar:
    missed = [name for name, (middle, *_) in found.items() if not 1 / 1.5 <= middle <= 1.5]
    sure = [name for name in missed if found[name][1] > 1.5 or found[name][2] < 1 / 1.5]
    middle = [ratio[0] for ratio in found.values()]
    return Bar(
        asked=asked,
        measured=f"{len(found) - len(missed)} of {len(found)} points; measured over predicted {min(middle):.2f} to "
        f"{max(middle):.2f}, geometric mean {mean(middle):.2f}",
        verdict="not met" if sure else "within noise" if missed else "met",
        missed=tuple(f"`{name}` {found[name][0]:.2f}" for name in missed),
    )


def _general(network: str, cells: Mapping[str, Result]) -> Bar:
    """A network type against a rebuilt weight and against opt_einsum's expression."""
    found = {name: r for name, r in cells.items() if r["cell"]["network"].startswith(f"{network}(")}
    ways = ("rebuild", "opt_einsum")

    def figure(result: Result) -> tuple[list[float], float]:
        timed = [result["contenders"][way]["ours_to"] for way in ways if way in result["contenders"]]
        return max(timed, default=[0.0, 0.0, 0.0], key=lambda ratio: ratio[0]), 1.0

    what = "a user's own graph (chord)" if network == "chord" else network
    return _each(f"{what}: faster than rebuild-then-dense and than opt_einsum's expression", found, figure)
