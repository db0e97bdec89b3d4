"""docs/paper.md is what the stored runs say."""

import dataclasses
import shlex
import sys

import pytest
from places import DOCS
from stored_runs import FC2, RUNS, STEPS, STRUCTURE

import tnlayers as tnl
from tnlayers.models.differences import DIFFERENCES
from tnlayers.reproduce import figures
from tnlayers.reproduce.cost import gpu_hours, gpu_step, hours, seconds_per_epoch
from tnlayers.reproduce.dense_twins import twins
from tnlayers.reproduce.missing import measured_ratios, missing
from tnlayers.reproduce.page import page
from tnlayers.reproduce.paper import ROWS, rows
from tnlayers.reproduce.recipe_text import recipe_name, recipes
from tnlayers.reproduce.schedule import schedule
from tnlayers.reproduce.store import Store, identity, of
from tnlayers.reproduce.structure import measure
from tnlayers.reproduce.summary import difference, in_short
from tnlayers.reproduce.writing import measure_steps
from tnlayers.train import TrainConfig


def test_the_page_is_what_the_store_says():
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    assert page(RUNS, STRUCTURE, STEPS) == text, "run tnlayers reproduce --budget 0: docs/paper.md is stale"
    changed = [run | {"best_test_accuracy": 0.5} for run in RUNS]
    assert page(changed, STRUCTURE, STEPS) != text


def test_the_pictures_are_of_the_stored_runs():
    pytest.importorskip("matplotlib", reason="the pictures need it")
    everything = figures.points("all", RUNS, STRUCTURE)
    measured = {part: figures.points(part, RUNS, STRUCTURE) for part in ("fig2", "fig3")}
    measured |= {
        part: [point for point in everything if point.row.data == data]
        for part, data in (("cost", "mnist"), ("cifar", "cifar10"))
    }
    for part, points in measured.items():
        drawn = figures.digest(part, points)
        assert drawn in (DOCS / "img" / f"paper-{part}.svg").read_text(encoding="utf-8"), f"{part} is stale"
        assert f"(img/paper-{part}.svg)" in (DOCS / "paper.md").read_text(encoding="utf-8")
    fewer = figures.points("fig2", [run for run in RUNS if run["model"] != "fc2"], STRUCTURE)
    assert figures.digest("fig2", fewer) not in (DOCS / "img" / "paper-fig2.svg").read_text(encoding="utf-8")


def test_pictures_are_drawn_alike_each_time(tmp_path):
    pytest.importorskip("matplotlib", reason="the pictures need it")
    for folder in ("one", "two"):
        figures.draw(tmp_path / folder, RUNS, STRUCTURE)
    for part in ("fig2", "fig3", "cost", "cifar"):
        one, two = ((tmp_path / folder / f"paper-{part}.svg").read_bytes() for folder in ("one", "two"))
        assert one == two


def test_rows_are_those_of_the_paper():
    counted = [len(rows(part)) for part in ("table1", "table2", "fig2", "fig3")]
    assert counted == [6, 9, 12, 25]
    assert [row.at for row in rows("fig2")] == [0, *range(2, 23, 2)]
    assert len(ROWS) == len({(row.model, row.network) for row in ROWS})
    for row in ROWS:
        if row.rho and row.model != "densenet40-12-conv":  # whose printed rho cannot be reproduced
            places = len(row.rho.partition(".")[2])
            read = 2e-4 if row.part == "fig2" else 0.5 * 10**-places + 1e-9
            assert abs(STRUCTURE[row.model][row.network]["rho"] - float(row.rho.strip("~"))) <= read, row


def test_the_page_says_where_a_ratio_is_not_the_papers():
    shown = page([], STRUCTURE, {})
    assert "| 0.6295 | ~0.497, see `densenet_conv_497` |" in shown
    assert "| 0.1031 | 0.1031, see `fig2_bond_cap` |" in shown
    keys = {point.key for point in DIFFERENCES}
    assert {row.point for row in ROWS} - {""} <= keys
    assert all(f"| {key} |" in shown for key in keys)


def test_twins_are_compared_by_one_recipe():
    recipe = recipes("densenet40-12", "cifar10")["fast"].model_dump()
    run = {"data": "cifar10", "recipe": recipe, "device": "a CPU, 2 cores"}
    dense = [
        run | {"model": "densenet40-12", "network": "dense", "seed": s, "final_test_accuracy": 0.9} for s in (0, 1)
    ]
    conv = run | {"model": "densenet40-12-conv", "network": "mpo", "seed": 0, "final_test_accuracy": 0.89}
    assert "| densenet40-12-conv | fast | 20 | 2, 1 | 90.00 ± 0.00 | 89.00 | -1.00 |" in twins([*dense, conv])
    elsewhere = conv | {"device": "a GPU"}
    longer = conv | {"recipe": recipe | {"epochs": 30}}
    assert "89.00" not in twins([*dense, elsewhere, longer])


def test_what_is_met_is_told_by_two_standard_errors():
    recipe = recipes("lenet5", "mnist")["paper"].model_dump() | {"validation": 0}
    run = {
        "model": "lenet5",
        "data": "mnist",
        "recipe": recipe,
        "device": "a CPU, 2 cores",
    }  # the paper's: 99.17 ± 0.04
    dense = [run | {"network": "dense", "seed": s, "best_test_accuracy": 0.9910} for s in range(2)]
    mpo = run | {"network": "mpo", "seed": 0, "best_test_accuracy": 0.9905}  # the paper's: 99.17 ± 0.08
    shown = in_short([*dense, mpo])
    assert "| Table I: LeNet-5 and VGG | 6 | 2 | 1 | 0 | 4 |" in shown
    assert "Below the paper: lenet5 `dense` by 0.07 ± 0.02 (2 runs)." in shown
    assert difference([mpo], next(row for row in ROWS if row.network == "mpo")) == "-0.12 ± 0.09"
    shorter = [one | {"recipe": recipe | {"epochs": 3}} for one in dense]
    assert "| Table I: LeNet-5 and VGG | 6 | 0 | 0 | 1 | 5 |" in in_short(shorter)
    assert "Below the paper: none." in in_short([])


def test_types_are_compared_in_the_same_places(tmp_path):
    wanted = rows("types")
    assert [row.network for row in wanted if row.model == "lenet5"][:3] == ["dense", "mpo", "ring(equal)"]
    jobs = schedule(wanted, [], STRUCTURE, seeds=1, out=tmp_path)
    assert {(job.row.model, job.recipe, job.epochs) for job in jobs} == {("lenet5", "fast", 20), ("vgg16", "fast", 3)}
    ring = next(job for job in jobs if job.row.network == "ring(equal)" and job.row.model == "lenet5")
    recipe = recipes("lenet5", "mnist")["fast"].model_dump()
    run = {"model": "lenet5", "network": "ring(equal)", "data": "mnist", "seed": 0, "recipe": recipe, "commit": None}
    run |= {
        "best_test_accuracy": 0.99,
        "final_test_accuracy": 0.98,
        "device": "a CPU, 2 cores",
        "threads": 1,
        "rho": 0.05,
    }
    assert ring not in schedule(wanted, [run | {"median_seconds_per_epoch": 1.0}], STRUCTURE, seeds=1, out=tmp_path)
    shown = page([run], STRUCTURE, {"lenet5": {"ring(equal)": {"seconds": 0.0123, "device": "cpu"}}})
    counted = "| lenet5 | `ring(equal)` | 3,060 | 1.07 | 0.0519 |"
    assert counted in shown
    assert "| 12.3 ms | 99.00 | 98.00 |  | fast | 20 | 0 | `unknown` | a CPU, 2 cores, 1 thread |" in shown
    longer = run | {"recipe": recipe | {"epochs": 25}}
    dense = run | {"network": "dense", "recipe": recipe | {"epochs": 26}}
    both = page([longer, longer | {"network": "mpo"}, dense], STRUCTURE, {})
    lines = [line for line in both.partition("## Other networks")[2].splitlines() if "epochs 2" in line]
    assert [line.split("`")[1] for line in lines] == ["mpo", "ring(equal)"]  # what has equal lengths
    elsewhere = page([run | {"data": "fashion-mnist"}], STRUCTURE, {})
    assert "| lenet5 | fashion-mnist | `ring(equal)` | 0.0500 | 99.00 |" in elsewhere


def test_runs_on_a_gpu_are_cells_of_their_own_and_correct_the_cost():
    recipe = recipes("vgg16", "cifar10")["fast"].model_dump()
    counts = STRUCTURE["vgg16"]["dense"]
    run = {"model": "vgg16", "network": "dense", "data": "cifar10", "seed": 0, "recipe": recipe, "commit": None}
    run |= {"best_test_accuracy": 0.9, "final_test_accuracy": 0.9, "threads": 1, "rho": 1.0}
    slow = run | {"device": "a CPU, 2 cores", "median_seconds_per_epoch": 240.0}
    steps = 45_000 // recipe["batch"]
    quick = run | {"device": "a GPU", "median_seconds_per_epoch": 0.5 * steps * gpu_step(counts, recipe["batch"])}
    other = quick | {"seed": 1}
    assert len({identity(one) for one in (slow, quick, other)}) == 3
    assert of([quick, slow, other], "vgg16", "dense", "cifar10") == [[slow], [quick, other]]
    assert measured_ratios([slow], STRUCTURE) == {}
    assert measured_ratios([slow, quick, other], STRUCTURE) == {("vgg16", "dense"): pytest.approx(0.5)}
    shown = page([slow, quick, other], STRUCTURE, {})
    assert "| 20 | 0, 1 | `unknown` | a GPU |" in shown
    assert "2 runs on a GPU are stored" in " ".join(shown.split())
    hour = gpu_hours(next(row for row in ROWS if (row.model, row.network) == ("vgg16", "dense")), counts)
    assert f"| vgg16 | `dense` | 325 | 5 |  |  | {hour / 2:.2f} | {5 * hour / 2:.1f} | measured rate |" in shown
    assert "estimate, corrected" in shown
    assert "No run on a GPU is stored" in page([slow], STRUCTURE, {})
    assert seconds_per_epoch(ROWS[0], STRUCTURE, [quick], "bf16-mixed")[1].endswith("a guess")


def test_steps_are_timed_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["tnlayers.reproduce.steps"], "MOST", 3)
    store = Store(folder=tmp_path)
    measure_steps(store, [FC2, FC2])
    (found,) = store.steps()["fc2"].values()
    assert found["steps"] == 3
    assert 0 < found["seconds"] < 5
    monkeypatch.setattr(sys.modules["tnlayers.reproduce.writing"], "time_step", None)
    measure_steps(store, [FC2])  # known: not timed again
    assert hours(FC2, 0.012) == pytest.approx(1.0)  # 300,000 steps
    shown = page([], STRUCTURE, {"fc2": {"mpo(bond=8)": {"seconds": 0.012, "device": "a machine"}}})
    assert "processor time of one thread of a machine" in " ".join(shown.split())
    assert "| fc2 | `mpo(bond=8)` | 500 | 5 | 12 ms | 1.0 | 0.09 | 0.5 | estimate |" in shown


def test_stored_counts_are_those_of_the_models():
    wanted = [("fc2", "dense"), ("vgg16", "mpo"), ("densenet40-12", "mpo"), ("lenet5", "ring(equal)")]
    for model, networks in measure(wanted).items():
        for network, counts in networks.items():
            stored = STRUCTURE[model][network]
            planned = (
                {"flops"} if network != "dense" else set()
            )  # an mpo's depend on the plan taken where it was counted
            assert {k: v for k, v in counts.items() if k not in planned} == {
                k: v for k, v in stored.items() if k not in planned
            }


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_stored_runs_are_of_the_networks_that_they_name():
    for model, network in dict.fromkeys((run["model"], run["network"]) for run in RUNS):
        report = tnl.models.describe(model, network=network)
        for run in (run for run in RUNS if (run["model"], run["network"]) == (model, network)):
            assert run["rho"] == pytest.approx(report.rho, abs=1e-6)
            assert run["trainable"] == next(iter(report.total.values()))["trainable"]
            assert 0 < run["final_test_accuracy"] <= run["best_test_accuracy"] < 1
            assert 1 <= run["best_test_epoch"] <= run["recipe"]["epochs"]


def test_the_command_of_a_stored_run_has_its_recipe():
    flags = {"--paper-selection": {"paper_selection": True}, "--no-nesterov": {"nesterov": False}}
    for run in RUNS:
        asked = {"model": run["model"]}
        words = iter(shlex.split(run["command"])[3:])
        for word in words:
            asked |= flags.get(word) or {word.removeprefix("--").replace("-", "_"): next(words)}
        assert TrainConfig.resolve(None, **asked).recipe.model_dump() == run["recipe"], run["command"]
        assert (asked["network"], asked["data"], int(asked["seed"])) == (run["network"], run["data"], run["seed"])


def test_runs_of_one_network_are_grouped_by_recipe():
    groups = of(RUNS, "fc2", "mpo(bond=16)", "mnist")
    names = [recipe_name(group[0]) for group in groups]
    assert names[0] == "paper, paper selection"
    assert {"fast, paper selection", "paper, clip_norm 0, paper selection"} <= set(names[1:])
    assert of(RUNS, "fc2", "mpo", "mnist") == groups  # the same network
    assert of(RUNS, "vgg16", "mpo", "cifar10")[0][0]["recipe"]["epochs"] == 30  # and not the comparison's 3
    full = dataclasses.replace(FC2, network="mpo(bond=16)")
    assert missing(full, RUNS) == 5 - len(groups[0])
    assert missing(full, []) == 5


def test_more_work_is_estimated_to_take_longer():
    dense = next(row for row in ROWS if row.model == "vgg16" and row.network == "dense")
    counts = STRUCTURE["vgg16"]["dense"]
    assert 0.1 < gpu_hours(dense, counts) < gpu_hours(dense, counts | {"flops": 2 * counts["flops"]}) < 2
