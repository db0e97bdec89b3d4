"""Cells that lose, each with the reason as the numbers show it, and contenders that were not timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tnlayers.bench.bars import own, plain, shown, to_limit
from tnlayers.bench.cell_run import Result, best_peer
from tnlayers.bench.measure import DENSE

_CALLS = 1e-3  # seconds; what is lost in shorter cells is mostly calls


def losses(results: Mapping[str, Result]) -> Iterator[str]:
    """Cells where the best peer is faster, then those where the dense layer is, by the medians."""
    grid = {name: r for name, r in results.items() if plain(r["cell"])}
    timed = {name: r for name, r in grid.items() if best_peer(r)}
    peers = {name: r for name, r in timed.items() if r["contenders"][best_peer(r)]["ours_to"][0] > 1.1}
    where = f"{len(peers)} of the {len(timed)} cells that one was timed in"
    yield f"Slower than the best peer by more than a tenth: {where}."
    alone = [f"`{name}`" for name in grid if name not in timed]
    if alone:
        yield f"No peer was timed in {', '.join(alone)}."
    yield ""
    for name, r in peers.items():
        peer = best_peer(r) or ""
        yield f"- `{name}`: {shown(r['contenders'][peer]['ours_to'])} of {peer}'s time; {reason(r)}"
    dense = {name: r for name, r in grid.items() if own(r)["to_dense"][0] > 1}
    yield ""
    yield f"Slower than the dense layer: {len(dense)} of {len(grid)} cells."
    yield ""
    for name, r in sorted(dense.items(), key=lambda item: -own(item[1])["to_dense"][0]):
        yield f"- `{name}`: {shown(own(r)['to_dense'])} of its time; {reason(r)}"


def reason(result: Result) -> str:
    """Why a cell is not faster than dense: its arithmetic, its calls, or what it loses on the way to its limit."""
    least, seconds = result["limit"]["seconds"], own(result)["seconds"]
    dense, links = result["contenders"][DENSE]["seconds"], result["plan"]["links"]
    if least > 0.9 * dense:
        return f"arithmetic: the products of the best plan alone take {least / dense:.2f} of the dense layer's time"
    if seconds < _CALLS:
        return (
            f"calls: {1e6 * (seconds - least):.0f} us beyond a limit of {1e6 * least:.0f} us, around {links} products; "
            f"the dense layer is one call of {1e6 * dense:.0f} us"
        )
    return f"execution: {to_limit(result)[0]:.2f} of the limit, which is {least / dense:.2f} of the dense layer's time"


def left_out(cells: Mapping[str, Result]) -> Iterator[str]:
    """Contenders that were wrong, failed, or were too slow, once per contender and reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, r in cells.items():
        for contender, left in r["left_out"].items():
            details = "" if left["why"] == "slow" else left["told"]
            found.setdefault((left["why"], contender, details), []).append(name)
    if not found:
        yield "Every contender was right and was timed in every cell that was run."
    words = {
        "wrong": "gave a wrong result",
        "failed": "did not run",
        "slow": "was far slower than our layer and not timed",
    }
    for (why, contender, details), names in sorted(found.items()):
        where = ", ".join(f"`{name}`" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield f"- {contender} {words[why]} in {where}{': ' + details if details else ''}"
