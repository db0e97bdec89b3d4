"""docs/paper.md is what the stored runs say; what is missing is run within a budget, and taken up again."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytest

import tnlayers as tnl
from tnlayers.__main__ import main
from tnlayers.models.differences import DIFFERENCES
from tnlayers.reproduce import figures, running
from tnlayers.reproduce.cost import gpu_hours, gpu_step, hours, seconds_per_epoch
from tnlayers.reproduce.missing import measured_ratios, missing
from tnlayers.reproduce.page import page
from tnlayers.reproduce.paper import ROWS, Row, rows
from tnlayers.reproduce.schedule import schedule, within
from tnlayers.reproduce.store import Store, identity, of
from tnlayers.reproduce.structure import measure
from tnlayers.reproduce.told import recipes, told
from tnlayers.reproduce.twins import twins
from tnlayers.reproduce.writing import measure_steps
from tnlayers.train import TrainConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"
STORE = Store(folder=DOCS / "results")
RUNS, STRUCTURE, STEPS = STORE.runs(), STORE.structure(), STORE.steps()
FC2 = Row(part="fig2", model="fc2", network="mpo(bond=8)", data="mnist", accuracy=(97.99, 0.18), at=8)


def test_the_page_is_what_the_store_says():
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    assert page(RUNS, STRUCTURE, STEPS) == text, "run tnlayers reproduce --budget 0: docs/paper.md is stale"
    changed = [run | {"best_test_accuracy": 0.5} for run in RUNS]
    assert page(changed, STRUCTURE, STEPS) != text


def test_the_pictures_are_of_the_stored_runs():
    pytest.importorskip("matplotlib", reason="the pictures need it")
    for part in ("fig2", "fig3"):
        drawn = figures.digest(part, figures.points(part, RUNS, STRUCTURE))
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


def test_runs_of_one_network_are_grouped_by_recipe():
    groups = of(RUNS, "fc2", "mpo(bond=16)", "mnist")
    names = [told(group[0]) for group in groups]
    assert names[0] == "paper"
    assert {"fast", "paper, clip_norm 0"} <= set(names[1:])
    assert of(RUNS, "fc2", "mpo", "mnist") == groups  # the same network
    full = dataclasses.replace(FC2, network="mpo(bond=16)")
    assert missing(full, RUNS) == 5 - len(groups[0])
    assert missing(full, []) == 5


def test_what_is_stored_is_not_run_again(tmp_path):
    jobs = schedule([FC2], RUNS, STRUCTURE, seeds=4, out=tmp_path)
    stored = {run["seed"] for run in of(RUNS, "fc2", "mpo(bond=8)", "mnist")[0]}
    assert {job.seed for job in jobs} == set(range(4)) - stored
    short = schedule([FC2], RUNS, STRUCTURE, seeds=1, out=tmp_path, epochs=3)
    assert [(job.seed, job.epochs) for job in short] == [(0, 3)]  # another length is another run
    seconds, source = seconds_per_epoch(FC2, STRUCTURE, RUNS, "32-true")
    assert source == "measured"
    assert short[0].minutes == pytest.approx(3 * seconds / 60)
    others = [run for run in RUNS if run["network"] != "mpo(bond=8)"]
    assert seconds_per_epoch(FC2, STRUCTURE, others, "32-true")[1].endswith("of others")
    guesses = [seconds_per_epoch(FC2, STRUCTURE, [], precision) for precision in ("32-true", "bf16-mixed")]
    assert all(source.endswith("a guess") for _, source in guesses)
    assert guesses[1][0] < guesses[0][0]


def begin(job, folder):
    """What a training leaves that was stopped after its first checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "some.ckpt").touch()
    words = {"model": job.row.model, "data": job.row.data, "network": job.row.network, "seed": job.seed}
    config = TrainConfig.resolve(None, **words, recipe=job.recipe, epochs=job.epochs)
    (folder / "config.yaml").write_text(config.to_yaml())


def test_paper_selection_is_another_run_and_named_as_such(tmp_path):
    (row,) = (row for row in ROWS if (row.model, row.network) == ("vgg16", "mpo"))
    words = {"seeds": 1, "out": tmp_path, "recipe": "fast", "epochs": 2}
    (plain,) = schedule([row], [], STRUCTURE, **words)
    (job,) = schedule([row], [], STRUCTURE, **words, selection=True)
    assert job.selection
    assert "paper-selection" in job.folder.name
    assert plain.folder != job.folder
    assert "--paper-selection" not in running.command(plain, data_root=None, threads=None)
    asked = TrainConfig.resolve(None, model="vgg16", data="cifar10", recipe="fast", epochs=2, validation=0)
    assert "--paper-selection" in running.command(job, data_root=None, threads=None)
    run = {"model": "vgg16", "network": "mpo", "data": "cifar10", "seed": 0, "recipe": asked.recipe.model_dump()}
    run |= {"median_seconds_per_epoch": 1.0, "device": "a CPU, 2 cores"}
    assert told(run) == "fast, epochs 2, paper selection"
    assert schedule([row], [run], STRUCTURE, **words, selection=True) == []
    assert len(schedule([row], [run], STRUCTURE, **words)) == 1
    (mnist,) = schedule([FC2], [], STRUCTURE, seeds=1, out=tmp_path, selection=True)  # it holds nothing out anyway
    assert not mnist.selection
    in_full = run | {"recipe": recipes("vgg16", "cifar10")["paper"].model_dump() | {"validation": 0}}
    assert (told(in_full), missing(row, [in_full])) == ("paper, paper selection", 4)


def test_begun_runs_come_first_then_seed_by_seed_the_shortest_first(tmp_path):
    wanted = [row for row in rows("fig2") if row.at in (2, 6, 22)]
    jobs = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path)
    assert [job.seed for job in jobs] == [0, 0, 0, 1, 1, 1]
    assert [job.minutes for job in jobs[:3]] == sorted(job.minutes for job in jobs[:3])
    begin(jobs[-1], tmp_path / "of any name")
    again = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path)
    assert again[0].folder == tmp_path / "of any name"
    assert (again[0].row, again[0].seed, again[0].begun) == (jobs[-1].row, jobs[-1].seed, True)
    assert not any(job.begun for job in again[1:])
    shorter = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path, epochs=3)
    assert not any(job.begun for job in shorter)  # another recipe
    assert within(jobs, 0) == []
    assert within(jobs, jobs[0].minutes / 2) == jobs[:1]  # begun, and cut short
    assert within(jobs, jobs[0].minutes + 0.01) == jobs[:2]


def test_the_end_of_the_budget_stops_a_process_also_in_the_background():
    ignores = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(60)"  # as after `&`
    begin = time.monotonic()
    assert running._run([sys.executable, "-c", "import time; time.sleep(60)"], 0.5) == 130
    assert running._run([sys.executable, "-c", ignores], 1.0) == 130
    assert time.monotonic() - begin < 30
    assert running._run([sys.executable, "-c", "raise SystemExit(3)"], 30) == 3


def test_a_run_is_trained_gathered_and_not_trained_twice(tmp_path):
    pytest.importorskip("sklearn", reason="its digits")
    row = Row(part="fig2", model="fc2", network="mpo(bond=2)", data="digits", accuracy=None)
    counts = {"fc2": {"mpo(bond=2)": STRUCTURE["fc2"]["mpo(bond=2)"]}}

    def here(words, seconds):
        """Train in this process: another one loads torch anew, which takes seconds."""
        with pytest.raises(SystemExit) as end:
            main(words[3:])
        return end.value.code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_run", here)
        patch.setitem(sys.modules["tnlayers.reproduce.cost"].IMAGES, "digits", 1437)
        (job,) = schedule([row], [], counts, seeds=1, out=tmp_path / "runs", epochs=1)
        ((done, found),) = running.work([job], minutes=5, threads=1)
        assert done == job
        store = Store(folder=tmp_path / "results")
        store.add(found)
        store.add(found)
        (run,) = store.runs()
        assert store.gather([job.folder]) == []  # digits are not of the paper
        assert (run["model"], run["seed"], run["recipe"]["epochs"]) == ("fc2", 0, 1)
        assert run["command"].startswith('tnlayers train fc2 --network "mpo(bond=2)" --data digits --seed 0')
        assert schedule([row], store.runs(), counts, seeds=1, out=tmp_path / "runs", epochs=1) == []


def test_finished_runs_of_any_folder_are_gathered_once(tmp_path):
    end = {"epoch": 2, "train_loss": 0.1, "test_accuracy": 0.98}
    recipe = recipes("vgg16", "cifar10")["fast"].model_dump() | {"epochs": 2}
    results = {
        "model": "vgg16",
        "data": "cifar10",
        "recipe": recipe,
        "environment": {"commit": None, "torch": "2", "device": "a CPU, 2 cores", "threads": 2},
        "networks": [
            {
                "network": "mpo",
                "rho": 0.000463,
                "parameters": {"replaced": {"weights": 10944}, "total": {"trainable": 5307014}},
                "seeds": [
                    {
                        "seed": 4,
                        "final": end,
                        "best_test_epoch": end,
                        "validation_epoch": end | {"test_accuracy": 0.5},
                        "median_seconds_per_epoch": 1.0,
                    }
                ],
            }
        ],
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    (tmp_path / "empty").mkdir()
    store = Store(folder=tmp_path / "results")
    (run,) = store.gather([tmp_path / "run", tmp_path / "empty"])
    assert store.gather([tmp_path / "run"]) == []
    assert told(run) == "fast, epochs 2"
    assert run["command"] == (
        'tnlayers train vgg16 --network "mpo" --data cifar10 --seed 4 --threads 2 --recipe fast --epochs 2'
    )
    shown = page(store.runs(), STRUCTURE, {})
    assert "| 98.00 | 98.00 | 50.00 | fast, epochs 2 | 2 | 4 | `unknown` | a CPU, 2 cores, 2 threads |" in shown
    vgg = next(row for row in ROWS if row.model == "vgg16" and row.network == "mpo")
    assert missing(vgg, store.runs()) == 5  # another recipe is no repetition


def test_a_training_that_fails_is_told(tmp_path, monkeypatch):
    (job,) = schedule([FC2], [], STRUCTURE, seeds=1, out=tmp_path)
    monkeypatch.setattr(running, "_run", lambda words, seconds: 1)
    with pytest.raises(tnl.TNLayersError, match=r"Training fc2 with mpo\(bond=8\), seed 0, ended with status 1"):
        list(running.work([job], minutes=1))
    assert list(running.work([job], minutes=0)) == []


def test_a_damaged_store_is_told(tmp_path):
    (tmp_path / "mnist.json").write_text("{")
    with pytest.raises(tnl.TNLayersError, match=r"Cannot read the results in .*mnist\.json"):
        Store(folder=tmp_path).runs()


def test_other_records_beside_the_runs_are_left_alone(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"runs": [{"model": "fc2", "seconds": 1}, 3]}))
    (tmp_path / "list.json").write_text("[1]")
    assert Store(folder=tmp_path).runs() == []


def test_more_work_is_estimated_to_take_longer():
    dense = next(row for row in ROWS if row.model == "vgg16" and row.network == "dense")
    counts = STRUCTURE["vgg16"]["dense"]
    assert 0.1 < gpu_hours(dense, counts) < gpu_hours(dense, counts | {"flops": 2 * counts["flops"]}) < 2


def test_the_command_tells_what_would_run_and_writes_the_page(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "paper.json").write_text(json.dumps({"structure": STRUCTURE, "runs": []}))
    words = ["reproduce", "fig2", "--seeds", "1", "--budget", "30", "--docs", str(tmp_path), "--runs", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--dry-run", "--json"])
    told_here = json.loads(capsys.readouterr().out)
    assert len(told_here["missing"]) == 12
    assert "fig2_bond_cap" in told_here["differences"]
    assert told_here["taken_in"] == 0
    assert 0 < told_here["chosen"] < 12
    assert not (tmp_path / "paper.md").exists()
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--budget", "0"])
    assert (tmp_path / "paper.md").read_text(encoding="utf-8") == page([], STRUCTURE, {})
    assert (tmp_path / "img" / "paper-fig3.svg").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["reproduce", "table3"])
    assert "none of all, table1" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit, match="1"):
        main(["reproduce", "fig2", "--model", "vgg16"])
    assert "fig2 has no row of model='vgg16'; it has fc2" in " ".join(capsys.readouterr().err.split())
