"""Cells drawn at random: who is drawn, what is timed beside ours, and what the report makes of it."""

from math import prod

import pytest

from tnlayers.bench.bars import bars
from tnlayers.bench.cell_run import regret, run_cell
from tnlayers.bench.cells import Cell
from tnlayers.bench.drawn import BATCHES, BONDS, CORES, FEATURES, LARGEST, drawn
from tnlayers.bench.drawn_report import drawn_section, other


def test_a_draw_is_that_of_its_seed_and_within_its_bounds():
    cells = drawn(60, seed=3)
    assert cells[:20] == drawn(10, seed=3) != drawn(10, seed=4)
    assert len({cell.name for cell in cells}) == len(cells) == 120
    for cell in cells:
        assert prod(cell.in_modes) == cell.in_features
        assert prod(cell.out_modes) == cell.out_features
        assert min(*cell.in_modes, *cell.out_modes) > 1
        assert CORES[0] <= cell.cores <= CORES[1]
        assert BONDS[0] <= cell.bond <= BONDS[1]
        assert BATCHES[0] <= cell.batch <= BATCHES[1]
        assert FEATURES[0] <= min(cell.in_features, cell.out_features)
        assert max(cell.in_features, cell.out_features) < 1.05 * FEATURES[1]
        assert cell.dense_flops <= LARGEST
        assert not cell.plain
    for number in (2, 3, 4, 5, 6):
        assert any(cell.cores == number for cell in cells)


@pytest.mark.parametrize("mode", ["forward", "training"])
def test_a_cell_is_timed_beside_plans_chosen_by_the_clock(mode, tmp_path, monkeypatch):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    cell = Cell(in_features=64, out_features=27, cores=3, bond=4, batch=8, mode=mode, drawn="s0n0")
    result = run_cell(cell, cap=0.05)
    names = {"tuned", "tuned, nothing prepared"} if mode == "forward" else {"tuned"}
    assert names <= result["contenders"].keys()
    assert regret(result) == max(1.0, *(result["contenders"][name]["ours_to"][0] for name in names))
    page = "\n".join(drawn_section({cell.name: result}))
    assert f"| 64 to 27 | 3 | 4 | 8 | {mode} |" in page


def timed(ours, rebuilt, tuned, mode="training", batch=64):
    """A result as `run_cell` gives it, of seconds."""
    seconds = {"tnlayers": ours, "dense": 1.0, "rebuild": rebuilt, "tuned": tuned}
    contenders = {
        name: {"seconds": s, "seconds_95": [s, s], "ours_to": [ours / s] * 3, "to_dense": [s] * 3, "rounds": 3}
        for name, s in seconds.items()
    }
    cell = Cell(in_features=64, out_features=27, cores=3, bond=4, batch=batch, mode=mode, drawn="s0n0").to_dict()
    return {"cell": cell, "contenders": contenders, "limit": {"seconds": 0.5}, "left_out": {}}


def test_the_figures_are_those_of_the_results():
    good, slow = timed(0.5, 1.0, 0.5), timed(1.0, 0.5, 0.8)
    assert other(good) == ("rebuild", [0.5] * 3)
    assert (regret(good), regret(slow)) == (1.0, 1.25)
    met, missed = ("\n".join(drawn_section({"a": good, "b": found})) for found in (good, slow))
    assert "| 2 of 2 cells: met |" in met
    assert "| 1 of 2 cells: **not met** |" in missed
    assert "1.00, asked 0.7: **not met**" in missed  # the mean of 0.5 and 2
    assert "1.41, asked 1.5: met" in missed  # of the limit: 1 and 2
    assert "1 of 2 cells; the 95% quantile 1.24: **not met**" in missed
    assert "None was run." in "\n".join(drawn_section({}))


def test_cells_of_the_grid_alone_make_the_bars():
    assert all(bar.verdict == "open" for bar in bars({"a": timed(0.5, 1.0, 0.5)}, {}))


def test_the_command_measures_what_it_draws_and_goes_on(tmp_path, monkeypatch, call):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tnlayers.bench.drawn.FEATURES", (256, 300))
    monkeypatch.setattr("tnlayers.bench.drawn.BATCHES", (1, 4))
    monkeypatch.setattr("tnlayers.bench.drawn.BONDS", (2, 3))
    monkeypatch.setattr("tnlayers.bench.run.provenance", lambda: {"commit": "c", "machine": {}, "versions": {}})
    monkeypatch.setattr("tnlayers.bench.run.same_origin", lambda one, other: True)
    asked = ("bench", "--random", "1", "--seed", "5", "--cap", "0.02", "--out", str(tmp_path / "random.json"))
    status, output, _ = call(*asked)
    assert (status, output.count("s5n0-")) == (0, 2)
    assert call(*asked)[1].count("s5n0-") == 0


WRONG = {
    "leave one of the two": ("--random", "1", "--quick"),
    "it goes with --random N": ("--seed", "3"),
    "less than or equal to 10000": ("--random", "1000000000"),
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_calls_measure_nothing(words, tmp_path, call):
    status, output, error = call("bench", *WRONG[words], "--out", str(tmp_path / "random.json"))
    assert (status, output) == (2, "")
    assert words in " ".join(error.replace("│", " ").split())  # out of the frame around it
    assert not any(tmp_path.iterdir())
