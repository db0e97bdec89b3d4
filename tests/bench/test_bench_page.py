"""The benchmark's page says what the results say: bars met and missed, losing cells, and the GPU's part."""

import json

import pytest

import tnlayers as tnl
from tnlayers.bench.bars import bars
from tnlayers.bench.cells import Cell
from tnlayers.bench.gpu import Figures, load_gpu, section
from tnlayers.bench.report import write_report
from tnlayers.bench.run import FORMAT

NAMED = Cell(in_features=4096, out_features=4096, cores=4, bond=16, batch=128, mode="training")


def contender(ratio, *, to_dense=None, peak=10**6):
    """Numbers of a contender that our layer takes `ratio` of the time of, where ours takes a millisecond."""
    seconds = 1e-3 / ratio
    spread = [ratio, 0.98 * ratio, 1.02 * ratio]
    times = {"seconds": seconds, "seconds_95": [0.98 * seconds, 1.02 * seconds], "quartiles": [seconds, seconds]}
    dense = [to_dense, 0.98 * to_dense, 1.02 * to_dense]
    return times | {"rounds": 50, "ours_to": spread, "to_dense": dense, "peak_bytes": peak, "kept_bytes": peak // 2}


def result(cell, *, dense, peer, limit=1.0, peak=10**6):
    """A cell where ours takes so much of the dense layer's time, of the best peer's, and of the limit."""
    return {
        "run": 0,
        "cell": cell.to_dict(),
        "parameters": cell.spec.parameters,
        "limit": {"seconds": 1e-3 / limit, "flops": 10**8, "bytes": 10**6, "products": 1e-3 / limit, "moved": 1e-4},
        "plan": {"predicted_seconds": 1e-3, "copied_bytes": 0, "chunks": [None], "links": 4},
        "contenders": {
            "dense": contender(dense, to_dense=1.0),
            "tnlayers": contender(1.0, to_dense=dense, peak=peak),
            "rebuild": contender(0.5, to_dense=dense / 0.5),
            "torchtt": contender(peer, to_dense=dense / peer, peak=10**8),
        },
        "left_out": {"tednet": {"why": "slow", "told": "about 9 s a call", "seconds": 9.0}},
    }


def data(cells, growth=()):
    machine = {"cpu": "A processor", "cores": 2, "system": "Linux", "python": "3.11"}
    run = {"commit": "a" * 40, "machine": machine, "versions": {"torch": "2.13"}, "command": "tnlayers bench"}
    run |= {"seed": 0, "begun": "2026-01-01T00:00+00:00", "calibrated": True, "rates": {}, "cap_seconds": 5.0}
    run |= {"peak_flops": 1e11, "read_bytes": 1e10, "minutes": 1.0}
    return {"format": FORMAT, "runs": [run], "cells": cells, "growth": dict(growth)}


def point(value, seconds, **changes):
    numbers = {"run": 0, "along": "bond", "value": value, "mode": "forward", "predicted_seconds": 1e-3}
    numbers |= {"seconds": [seconds, 0.9 * seconds, 1.1 * seconds], "peak_bytes": 10**6, "predicted_bytes": 10**6}
    return numbers | changes


@pytest.mark.parametrize(("dense", "peer", "peak", "met"), [(0.45, 0.3, 7e6, True), (0.55, 1.3, 9e6, False)])
def test_bars_are_met_where_the_interval_reaches_them(dense, peer, peak, met):
    found = bars({NAMED.name: result(NAMED, dense=dense, peer=peer, peak=int(peak))}, {})
    verdicts = {bar.asked: bar.met for bar in found}
    assert verdicts["in every cell at most 1.1 of the best peer's time"] is met
    assert verdicts["4096 to 4096, 4 cores, bond 16, batch 128: training at most 0.5 of dense"] is met
    assert verdicts["the same, training: at most 8 MB peak above parameters, gradients and inputs"] is met
    assert verdicts["training at batch 128 and more: at most 2.0 of the limit"] is True
    assert verdicts["784 to 256, bond 16, batch 1: forward at most 2.5 of dense"] is None


def test_a_bound_within_the_interval_is_reached():
    found = bars({NAMED.name: result(NAMED, dense=0.505, peer=0.3)}, {})
    assert [bar.met for bar in found if "training at most 0.5" in bar.asked] == [True]


@pytest.mark.parametrize(("seconds", "met"), [(1.6e-3, True), (1.8e-3, False), (0.5e-3, False)])
def test_growth_is_compared_with_the_prediction_either_way(seconds, met):
    found = bars({}, {"bond-4-forward": point(4, 1e-3), "bond-8-forward": point(8, seconds)})
    assert [bar.met for bar in found if "time within 1.5" in bar.asked] == [met]
    assert [bar.met for bar in found if "memory within 1.5" in bar.asked] == [True]


def test_the_page_shows_bars_losing_cells_and_pictures(tmp_path):
    cells = {NAMED.name: result(NAMED, dense=1.4, peer=1.3, limit=1.7)}
    growth = {"bond-4-forward": point(4, 1e-3), "bond-8-forward": point(8, 3e-3)}
    page = tmp_path / "page.md"
    write_report(data(cells, growth), page, tmp_path / "gpu.json")
    text = page.read_text()
    assert "| in every cell at most 1.1 of the best peer's time | met in 0 of 1 cells" in text
    assert "Slower than the best peer by more than a tenth: 1 of 1 cells." in text
    assert f"- `{NAMED.name}`: 1.40 (1.37 to 1.43) of its time; execution: 1.70 of the limit" in text
    assert "Not measured: no GPU was at hand." in text
    assert "tednet was far slower than our layer and not timed" in text
    for name in ("dense", "peers", "roofline", "growth"):
        assert f"(img/bench-{name}.png)" in text
        assert (tmp_path / "img" / f"bench-{name}.png").stat().st_size > 10_000
    with pytest.raises(tnl.TNLayersError, match="no results to write a page of"):
        write_report(data({}) | {"runs": []}, page)


def test_the_gpu_has_a_column_and_tables(tmp_path):
    about = {"layer": [4096, 4096, 4], "bond": 16, "batch": 128, "mode": "training", "dtype": "bfloat16"}
    rows = [
        about | {"how": "graph", "contender": "dense", "ms": 2.0, "spread": [1.9, 2.1]},
        about | {"how": "graph", "contender": "tnlayers", "ms": 1.0, "spread": [0.9, 1.1]},
        about | {"how": "compile", "contender": "tnlayers", "failure": "RuntimeError: no compiler"},
    ]
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps({"environment": {"device": "NVIDIA H100", "commit": "b" * 40}, "rows": rows}))
    figures = Figures(load_gpu(file))
    assert figures.column(NAMED) == "bf16 CUDA graph 0.50"
    text = "\n".join(section(figures))
    assert "| training | bfloat16 | CUDA graph | 1 | 0.50 | 1 of 1 |" in text
    assert (
        "| 4096 to 4096, 16, 128 | training | bfloat16 | CUDA graph | 2 (1.9 to 2.1) | 1 (0.9 to 1.1) |  | 0.50 |"
        in text
    )
    assert "tnlayers, compiled, failed in 1 cells: RuntimeError: no compiler" in text
    assert load_gpu(tmp_path / "none.json") is None
    file.write_text("{}")
    with pytest.raises(tnl.TNLayersError, match="'environment' and 'rows'"):
        load_gpu(file)
