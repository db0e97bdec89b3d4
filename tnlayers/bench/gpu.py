"""The GPU's part of the page: what `docs/results/gpu.py` measured on one, beside the grid and in tables of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from tnlayers.bench.cells import MODES, Cell, named
from tnlayers.bench.measure import DENSE, OURS, mean
from tnlayers.errors import TNLayersError
from tnlayers.files.documents import read_json

Row: TypeAlias = dict[str, Any]
Store: TypeAlias = dict[str, Any]  # "environment", and "rows": one per cell, way to run, and contender

HOWS = {"eager": "eager", "compile": "compiled", "graph": "CUDA graph"}
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
_KEY = ("bond", "batch", "mode", "dtype")


def load_gpu(path: Path | None) -> Store | None:
    """What was measured on a GPU; None without a file.

    Args:
        path: The JSON file of `docs/results/gpu.py`.

    Raises:
        TNLayersError: If the file holds something else.
    """
    if path is None or not path.exists():
        return None
    store: Store = read_json(path, "results of a GPU")
    if not isinstance(store, dict) or not {"environment", "rows"} <= store.keys():
        found = f"the keys {sorted(store)}" if isinstance(store, dict) else f"a {type(store).__name__}"
        raise TNLayersError(
            f"{path} has {found}; results of a GPU have 'environment' and 'rows': give the file that "
            "`python docs/results/gpu.py` writes."
        )
    return store


class Figures:
    """Ratios of our time over another contender's, by cell and by how they ran.

    Args:
        store: What was measured, or None.
    """

    def __init__(self, store: Store | None) -> None:
        self.environment: Row = {} if store is None else store["environment"]
        self.rows: dict[tuple[str, str], dict[str, Row]] = {}
        for row in [] if store is None else store["rows"]:
            self.rows.setdefault((cell_of(row).name, row["how"]), {})[row["contender"]] = row

    def ratio(self, cell: Cell, how: str, other: str = DENSE) -> float | None:
        """Our time over the other's; None where one of the two was not measured."""
        found = self.rows.get((cell.name, how), {})
        if not all("ms" in found.get(name, {}) for name in (OURS, other)):
            return None
        return float(found[OURS]["ms"] / found[other]["ms"])

    def column(self, cell: Cell) -> str:
        """Ours over dense for a cell of the grid, in both dtypes and all ways that were measured."""
        parts = []
        for dtype, word in DTYPES.items():
            ratios = {how: self.ratio(replace(cell, dtype=dtype), how) for how in HOWS}
            listed = [f"{HOWS[how]} {ratio:.2f}" for how, ratio in ratios.items() if ratio is not None]
            parts += [f"{word} {', '.join(listed)}"] if listed else []
        return "; ".join(parts)

    def means(self) -> Iterator[tuple[str, str, str, list[float]]]:
        """(mode, dtype, how, ours over dense in each cell), for all that were measured."""
        groups: dict[tuple[str, str, str], list[float]] = {}
        for (_, how), found in self.rows.items():
            row = next(iter(found.values()))
            ratio = self.ratio(cell_of(row), how)
            if ratio is not None:
                groups.setdefault((row["mode"], row["dtype"], how), []).append(ratio)
        order = [(mode, dtype, how) for mode in MODES for dtype in DTYPES for how in HOWS]
        yield from ((*key, groups[key]) for key in order if key in groups)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row."""
    i, o, c = row["layer"]
    return Cell(in_features=i, out_features=o, cores=c, **{name: row[name] for name in _KEY})


def section(figures: Figures) -> Iterator[str]:
    """Geometric means over all cells, and the named cells one by one."""
    if not figures.rows:
        yield "Not measured: no GPU was at hand. `python docs/results/gpu.py` measures it where there is one."
        return
    environment = figures.environment
    yield (
        f"{environment.get('device', 'A GPU')}, torch {environment.get('torch')}, commit "
        f"{str(environment.get('commit'))[:12]}, measured by `python docs/results/gpu.py`. Times are those of CUDA "
        "events, TF32 is off, and the weight and input are the same at every call. Ours / dense, geometric means:"
    )
    yield ""
    yield "| mode | dtype | run | cells | ours / dense | faster than dense |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for mode, dtype, how, ratios in figures.means():
        faster = sum(ratio < 1 for ratio in ratios)
        yield f"| {mode} | {dtype} | {HOWS[how]} | {len(ratios)} | {mean(ratios):.2f} | {faster} of {len(ratios)} |"
    yield ""
    yield "The named cells; milliseconds are medians, with quartiles in brackets."
    yield ""
    yield "| layer, bond, batch | mode | dtype | run | dense ms | ours ms | rebuild ms | ours / dense |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from _named(figures)
    failures = [row for found in figures.rows.values() for row in found.values() if "failure" in row]
    yield from _failures(failures)


def _named(figures: Figures) -> Iterator[str]:
    for cell in (replace(cell, dtype=dtype) for dtype in DTYPES for cell in named()):
        for how, word in HOWS.items():
            if (found := figures.rows.get((cell.name, how))) is None:
                continue
            size = f"{cell.in_features} to {cell.out_features}, {cell.bond}, {cell.batch}"
            times = [_time(found.get(name, {})) for name in (DENSE, OURS, "rebuild")]
            ratio = figures.ratio(cell, how)
            fields = [size, cell.mode, cell.dtype, word, *times, "" if ratio is None else f"{ratio:.2f}"]
            yield f"| {' | '.join(fields)} |"


def _time(row: Mapping[str, Any]) -> str:
    if "ms" not in row:
        return "failed" if "failure" in row else ""
    low, high = row["spread"]
    return f"{row['ms']:.3g} ({low:.3g} to {high:.3g})"


def _failures(rows: Iterable[Row]) -> Iterator[str]:
    listed: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["contender"], row["how"], row["failure"].splitlines()[0][:160])
        listed[key] = listed.get(key, 0) + 1
    for (contender, how, failure), count in listed.items():
        yield ""
        yield f"{contender}, {HOWS[how]}, failed in {count} cells: {failure}"
