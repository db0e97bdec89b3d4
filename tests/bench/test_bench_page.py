"""The benchmark's page says what the results say: bars met and missed, losing cells, and the GPU's part."""

import json

import pytest
from places import DOCS, RESULTS

import tnlayers as tnl
from tnlayers.bench.bars import bars, on_gpu, plain
from tnlayers.bench.cell_run import best_peer
from tnlayers.bench.cells import Cell
from tnlayers.bench.gpu import Figures, load_gpu, section
from tnlayers.bench.measure import DENSE, OURS
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


@pytest.mark.parametrize(("dense", "peer", "peak", "met"), [(0.45, 0.3, 7e6, "met"), (0.55, 1.3, 9e6, "not met")])
def test_bars_are_met_where_the_median_reaches_them(dense, peer, peak, met):
    found = bars({NAMED.name: result(NAMED, dense=dense, peer=peer, peak=int(peak))}, {})
    verdicts = {bar.asked: bar.verdict for bar in found}
    assert verdicts["in every cell that a peer was timed in, at most 1.1 of the best peer's time"] == met
    assert verdicts["4096 to 4096, 4 cores, bond 16, batch 128: training at most 0.5 of dense"] == met
    assert verdicts["the same, training: at most 8 MB peak above parameters, gradients and inputs"] == met
    assert verdicts["training at batch 128 and more: at most 2.0 of the limit"] == "met"
    assert verdicts["784 to 256, bond 16, batch 1: forward at most 2.5 of dense"] == "open"


def test_a_bound_within_the_interval_is_missed_within_noise():
    found = bars({NAMED.name: result(NAMED, dense=0.505, peer=1.105)}, {})
    assert [bar.verdict for bar in found if "training at most 0.5" in bar.asked] == ["within noise"]
    (peers,) = [bar for bar in found if "best peer's time" in bar.asked]
    assert peers.verdict == "within noise"
    assert peers.measured.startswith("met in 0 of 1 cells, missed within noise in 1;")
    assert NAMED.name in peers.missed[0]


@pytest.mark.parametrize(("fp32", "bf16", "verdict"), [(0.8, 0.9, "met"), (0.8, 1.1, "not met"), (0.8, None, "open")])
def test_the_gpus_bar_has_a_bound_for_each_dtype(tmp_path, fp32, bf16, verdict):
    about = {"layer": [4096, 4096, 4], "bond": 16, "batch": 128, "mode": "training", "how": "graph"}
    rows = []
    for dtype, ratio in (("float32", fp32), ("bfloat16", bf16)):
        if ratio is not None:
            both = (("dense", 1.0), ("tnlayers", ratio))
            rows += [about | {"dtype": dtype, "contender": name, "ms": ms, "spread": [ms, ms]} for name, ms in both]
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps({"environment": {"device": "NVIDIA H100", "commit": "b" * 40}, "rows": rows}))
    assert on_gpu(Figures(load_gpu(file))).verdict == verdict
    assert on_gpu(Figures(None)).verdict == "open"


@pytest.mark.parametrize(
    ("seconds", "met"), [(1.4e-3, "met"), (1.6e-3, "within noise"), (1.8e-3, "not met"), (0.5e-3, "not met")]
)
def test_growth_is_compared_with_the_prediction_either_way(seconds, met):
    found = bars({}, {"bond-4-forward": point(4, 1e-3), "bond-8-forward": point(8, seconds)})
    assert [bar.verdict for bar in found if "time within 1.5" in bar.asked] == [met]
    assert [bar.verdict for bar in found if "memory within 1.5" in bar.asked] == ["met"]


def test_the_page_shows_bars_losing_cells_and_pictures(tmp_path):
    cells = {NAMED.name: result(NAMED, dense=1.4, peer=1.3, limit=1.7)}
    growth = {"bond-4-forward": point(4, 1e-3), "bond-8-forward": point(8, 3e-3)}
    page = tmp_path / "page.md"
    write_report(data(cells, growth), page, tmp_path / "gpu.json")
    text = page.read_text()
    assert "| in every cell that a peer was timed in, at most 1.1 of the best peer's time | met in 0 of 1 cells" in text
    assert "Slower than the best peer by more than a tenth: 1 of the 1 cells that one was timed in." in text
    assert f"- `{NAMED.name}`: 1.40 (1.37 to 1.43) of its time; execution: 1.70 of the limit" in text
    assert "Not measured: no GPU was at hand." in text
    assert (
        "a layer takes 1.40 of the time of `nn.Linear` (geometric mean of 1 cells), and is faster than it in 0" in text
    )
    assert "takes 1.30 of the time in the 1 cells that one was timed in, and more than it in 1." in text
    assert "It takes 1.70 of what this machine needs at least" in text
    assert text.index("## Bars") < text.index("## Runs") < text.index("| run | begun (UTC) |")
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


def test_what_the_page_for_whom_it_is_not_says_of_peers_follows_from_the_results():
    cells = json.loads((RESULTS / "benchmarks.json").read_text())["cells"].values()
    grid = [r for r in cells if {OURS, DENSE} <= r["contenders"].keys() and plain(r["cell"]) and best_peer(r)]
    ratios = [r["contenders"][best_peer(r)]["ours_to"][0] for r in grid]
    within, most = sum(ratio <= 1.1 for ratio in ratios), max(ratios)
    words = f"at most 1.1 of their time in {within} of {len(ratios)} cells, and {most:.2f} of it at most"
    assert words in " ".join((DOCS / "when-not.md").read_text(encoding="utf-8").split())
