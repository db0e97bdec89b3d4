"""Running the benchmark: item by item into one JSON file, which a second call goes on with.

The file keeps a list of runs (commit, machine, versions, ...) and each result names its run. A result is kept until it
is asked for again; one of another commit, machine or version than the last run is marked by the report. The file is
replaced as a whole after every item.
"""

from __future__ import annotations

import gc
import json
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tnlayers.bench.cell_run import run_cell, summary
from tnlayers.bench.cells import NAMED, Cell
from tnlayers.bench.growth import Point, measure_point
from tnlayers.bench.provenance import provenance, same_origin
from tnlayers.cores.layer_plan import plan
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files.atomic import write_text
from tnlayers.files.documents import read_json

FORMAT = "tnlayers.bench/2"
Item: TypeAlias = Cell | Point
_NAMED_SHARE = 3.0  # the named cells have as many times the cap: bars are about them
_GROWTH_SHARE = 0.2  # one contender each
_CALLS = 25  # that a cell makes with everything about as slow as the dense layer, beside its rounds
_REBUILT = 128  # rows whose dense product takes about as long as making the weight, which some do at any batch
_FLOPS_PER_SECOND = 8e10  # to guess how long a cell takes


def run_items(
    items: Iterable[Item],
    path: Path,
    *,
    cap: float,
    budget: float | None = None,
    again: bool = False,
    report_line: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the items that the file does not have yet, and write it after each.

    Args:
        items: What to measure, in order.
        path: JSON file of results, made if it is not there.
        cap: Seconds of rounds per cell; the named cells have three times as many.
        budget: Minutes after which nothing more starts; what would not end in time is passed over. None for no limit,
            0 to measure nothing.
        again: Whether results of another commit, machine or version are measured again.
        report_line: Takes one line per item, or about passing over.

    Raises:
        TNLayersError: If the file holds something else.
    """
    begin = time.perf_counter()
    data = load(path)
    if budget == 0:
        return data
    run = provenance() | {"cap_seconds": cap, "budget_minutes": budget}
    same = {number for number, other in enumerate(data["runs"]) if same_origin(other, run)}
    number = len(data["runs"])
    for item in items:
        stored = data[_place(item)]
        if item.name in stored and (not again or stored[item.name]["run"] in {*same, number}):
            continue
        left = float("inf") if budget is None else 60 * budget - (time.perf_counter() - begin)
        if (guess := expected(item, cap)) > left:
            report_line(f"{item.name}: passed over, it would take about {guess:.0f} s of the {max(left, 0):.0f} left")
            continue
        started = time.perf_counter()
        result, summary = _measured(item, cap)
        wall = round(time.perf_counter() - started, 1)
        stored[item.name] = {"run": number, **rounded(result), "wall_seconds": wall}
        data["runs"][number:] = [run | {"minutes": round((time.perf_counter() - begin) / 60, 1)}]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text_of(data))
        report_line(f"{item.name}: {summary} [{wall:.0f} s]")
    return data


def rounded(value: Any) -> Any:
    """Plain data with its floats to five digits: more is noise.

    Example:
        >>> rounded({"seconds": [0.123456789, 2]})
        {'seconds': [0.12346, 2]}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def text_of(data: Mapping[str, Any]) -> str:
    """The results as JSON, a line per run and item, so that a comparison of two files says which changed."""
    parts = [f'"format": {json.dumps(data["format"])}']
    runs = ",\n".join(json.dumps(run) for run in data["runs"])
    parts.append(f'"runs": [\n{runs}\n]')
    for place in ("cells", "growth"):
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(item)}" for name, item in data[place].items())
        parts.append(f'"{place}": {{\n{lines}\n}}')
    return "{" + ",\n".join(parts) + "}\n"


def load(path: Path) -> dict[str, Any]:
    """The results of a file, or none where there is no file.

    Raises:
        TNLayersError: If it holds something else.
    """
    if not path.exists():
        return {"format": FORMAT, "runs": [], "cells": {}, "growth": {}}
    try:
        data: dict[str, Any] = read_json(path, "results")
        if data["format"] == FORMAT:
            return data
        reason = f"its format is {data['format']!r}"
    except TNLayersError as error:
        reason = str(error)
    except (LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise TNLayersError(
        f"{path} holds no results of `tnlayers bench` that this version reads ({reason}; wanted {FORMAT!r}). Give "
        "another file by --out, or move this one away."
    )


def current_runs(data: Mapping[str, Any]) -> set[int]:
    """The runs whose origin is that of the latest one."""
    return {number for number, run in enumerate(data["runs"]) if same_origin(run, data["runs"][-1])}


def expected(item: Item, cap: float) -> float:
    """A guess of the seconds that an item takes."""
    cell = item if isinstance(item, Cell) else item.cell
    calls = _CALLS if isinstance(item, Cell) else 4
    call = cell.dense_flops * max(1.0, _REBUILT / cell.batch if isinstance(item, Cell) else 1.0) / _FLOPS_PER_SECOND
    if cell.network:  # a weight may cost far more to make than the dense product
        objective = "training" if cell.mode == "training" else "forward"
        call = max(call, plan(cell.spec, batch=cell.batch, objective=objective).seconds)  # type: ignore[arg-type]
    return _cap(item, cap) + 1.0 + calls * call


def _cap(item: Item, cap: float) -> float:
    if isinstance(item, Point):
        return _GROWTH_SHARE * cap
    named = item.plain and (*item.layer, item.bond, item.batch) in NAMED
    return cap * (_NAMED_SHARE if named else 1.0)


def _place(item: Item) -> str:
    return "cells" if isinstance(item, Cell) else "growth"


def _measured(item: Item, cap: float) -> tuple[dict[str, Any], str]:
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # bonds above their maximum, which the cells' names keep
        if isinstance(item, Cell):
            result = run_cell(item, cap=_cap(item, cap))
            return result, summary(result)
        point = measure_point(item, cap=_cap(item, cap))
    return point, f"{1e3 * point['seconds'][0]:.3g} ms, predicted {1e3 * point['predicted_seconds']:.3g}"
