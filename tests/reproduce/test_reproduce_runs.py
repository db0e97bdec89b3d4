"""What is missing of the paper is run within a budget, gathered from any folder, and taken up again."""

import json
import sys
import time

import pytest
from stored_runs import FC2, RUNS, STRUCTURE

import tnlayers as tnl
from tnlayers.__main__ import main
from tnlayers.reproduce import running
from tnlayers.reproduce.cost import seconds_per_epoch
from tnlayers.reproduce.missing import missing
from tnlayers.reproduce.page import page
from tnlayers.reproduce.paper import ROWS, Row, rows
from tnlayers.reproduce.recipe_text import recipe_name, recipes
from tnlayers.reproduce.schedule import schedule, within
from tnlayers.reproduce.store import Store, of
from tnlayers.train import TrainConfig


def test_what_is_stored_is_not_run_again(tmp_path):
    jobs = schedule([FC2], RUNS, STRUCTURE, seeds=4, out=tmp_path, selection=True)
    stored = {run["seed"] for run in of(RUNS, "fc2", "mpo(bond=8)", "mnist")[0]}
    assert stored >= {0, 1, 2}
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
    assert recipe_name(run) == "fast, epochs 2, paper selection"
    assert schedule([row], [run], STRUCTURE, **words, selection=True) == []
    assert len(schedule([row], [run], STRUCTURE, **words)) == 1
    (mnist,) = schedule([FC2], RUNS, STRUCTURE, seeds=1, out=tmp_path)  # whose stored runs hold nothing out
    assert not mnist.selection
    assert mnist.otherwise
    assert not job.otherwise
    in_full = run | {"recipe": recipes("vgg16", "cifar10")["paper"].model_dump() | {"validation": 0}}
    assert (recipe_name(in_full), missing(row, [in_full])) == ("paper, paper selection", 4)


def test_begun_runs_come_first_then_seed_by_seed_the_shortest_first(tmp_path):
    wanted = [row for row in rows("fig2") if row.at in (2, 6, 22)]
    jobs = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path)
    assert [job.seed for job in jobs] == [0, 0, 0, 1, 1, 1]
    assert [job.minutes for job in jobs[:3]] == sorted(job.minutes for job in jobs[:3])
    begin(jobs[-1], tmp_path / "of any name")
    again = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path)
    assert again[0].folder == tmp_path / "of any name"
    assert (again[0].row, again[0].seed, again[0].unfinished) == (jobs[-1].row, jobs[-1].seed, True)
    assert not any(job.unfinished for job in again[1:])
    shorter = schedule(wanted, [], STRUCTURE, seeds=2, out=tmp_path, epochs=3)
    assert not any(job.unfinished for job in shorter)  # another recipe
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
    assert recipe_name(run) == "fast, epochs 2"
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


@pytest.mark.parametrize(
    "change",
    [
        *({"recipe": value} for value in (5, {}, {"epochs": "x"})),
        *({"seed": "0"}, {"seed": True}, {"model": []}, {"network": None}),
        *({"best_test_accuracy": "x"}, {"median_seconds_per_epoch": {}}),
    ],
    ids=str,
)
def test_a_damaged_record_is_refused_by_the_name_of_its_file(tmp_path, change):
    (tmp_path / "paper.json").write_text(json.dumps({"runs": [RUNS[0] | change]}))
    store = Store(folder=tmp_path)
    for act in (store.runs, store.add):
        with pytest.raises(tnl.TNLayersError, match=r"The results in .*paper\.json are damaged.*Restore the file"):
            act()
    assert json.loads((tmp_path / "paper.json").read_text())["runs"] == [RUNS[0] | change]


@pytest.mark.parametrize("table", [[], {"fc2": 3}, "x"], ids=str)
def test_a_damaged_table_of_the_store_is_refused(tmp_path, table):
    (tmp_path / "paper.json").write_text(json.dumps({"structure": table, "steps": table, "runs": []}))
    for read in (Store(folder=tmp_path).structure, Store(folder=tmp_path).steps):
        with pytest.raises(tnl.TNLayersError, match="is not a table by model and network"):
            read()


@pytest.mark.parametrize(
    "content", ["{}", '{"recipe": {"epochs": 1, "batch": 1, "lr": 1}}', '{"recipe": 1}', "[]", "{"]
)
def test_damaged_results_of_a_run_folder_are_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(tnl.TNLayersError, match=r"results\.json"):
        Store(folder=tmp_path / "store").gather([tmp_path])


def test_other_records_beside_the_runs_are_left_alone(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"runs": [{"model": "fc2", "seconds": 1}, 3]}))
    (tmp_path / "list.json").write_text("[1]")
    assert Store(folder=tmp_path).runs() == []


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
