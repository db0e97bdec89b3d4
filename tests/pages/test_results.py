"""The tables of the documentation are those of the stored results, and the stored results are whole."""

import json

import pytest
from places import DOCS
from scripts import script

import tnlayers as tnl
from tnlayers.train.recipes import find_recipe

collect, entropies, fast, frozen = script("collect"), script("entropies"), script("fast"), script("frozen")
serve = script("serve")
RUNS = json.loads(collect.STORE.read_text())["runs"]


def test_pages_show_the_stored_runs():
    for page in collect.PAGES:
        assert collect.summary(RUNS) in page.read_text(), f"run python docs/results/collect.py: {page.name} is stale"
    assert collect.every_run(RUNS) in (DOCS / "mnist.md").read_text()


def test_the_table_of_frozen_layers_is_of_the_stored_times():
    assert frozen.table(json.loads(frozen.FILE.read_text())) in (DOCS / "plans.md").read_text()


def test_the_sizes_of_served_models_are_the_stored_ones():
    assert serve.table(json.loads(serve.STORE.read_text())) in serve.PAGE.read_text()


def test_the_table_of_entropies_is_of_the_stored_ones():
    stored = json.loads(entropies.STORE.read_text())
    page = entropies.PAGE.read_text()
    assert entropies.table(stored) in page
    assert entropies.write(stored) == page
    for found in stored["networks"].values():
        assert len(found["entropies"]) == entropies.EPOCHS + 1
        assert all(
            0 < value <= most for row in found["entropies"] for value, most in zip(row, found["at_most"], strict=True)
        )


def test_the_page_on_the_recipe_fast_is_of_the_stored_measurements():
    stored, page = json.loads(fast.STORE.read_text()), fast.PAGE.read_text()
    assert fast.written(page, stored) == page
    means = {row["setting"]: sum(row[network]["validation"] for network in fast.NETWORKS) for row in stored["settings"]}
    assert max(means, key=means.get) == "lr 0.2"
    assert find_recipe("vgg16", "cifar10", "fast").lr == 0.2


def test_a_page_without_the_marks_is_refused():
    marks = script("marks")
    page = "before\n<!-- one -->\nold\n<!-- /one -->\nafter\n"
    assert marks.filled(page, "one", "new\n") == "before\n<!-- one -->\nnew\n<!-- /one -->\nafter\n"
    for wrong in (page.replace("<!-- one -->", ""), page + page, page.replace("/one", "/two")):
        with pytest.raises(ValueError, match="no place for 'one'"):
            marks.filled(wrong, "one", "new")


def test_a_gradient_that_is_no_number_is_no_small_error_on_a_gpu():
    gpu = script("gpu")
    cell = gpu.cell(64, 27, 3, 4, 8, "training", "float32")
    contender = gpu.Contender("tnlayers", cell, gpu.torch.device("cpu"))
    assert contender.error() < gpu.LIMITS["float32"]
    contender.x.register_hook(lambda gradient: gradient * float("nan"))
    assert not contender.error() < gpu.LIMITS["float32"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['model']}-{run['network']}-{run['seed']}")
def test_a_stored_run_is_of_the_network_that_it_names(run):
    report = tnl.models.describe(run["model"], network=run["network"])
    assert run["rho"] == pytest.approx(report.rho, abs=1e-6)
    assert run["trainable"] == next(iter(report.total.values()))["trainable"]
    assert 0 < run["final_test_accuracy"] <= run["best_test_accuracy"] < 1
    assert 1 <= run["best_test_epoch"] <= run["recipe"]["epochs"]


def test_gathering_a_run_twice_keeps_one(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    folder = tmp_path / "run"
    folder.mkdir()
    newer = ("clip_norm", "validation")  # settings than the run
    recipe = {key: value for key, value in find_recipe("fc2", "mnist").model_dump().items() if key not in newer}
    end = {"epoch": 500, "train_loss": 0.1, "test_accuracy": 0.98}
    results = {
        "model": "fc2",
        "data": "mnist",
        "recipe": recipe,
        "environment": {"commit": "0" * 40, "torch": "2", "device": "cpu", "threads": 1},
        "networks": [
            {
                "network": "mpo(bond=8)",
                "rho": 0.0225,
                "parameters": {"replaced": {"weights": 4576}, "total": {"trainable": 4842}},
                "seeds": [{"seed": 4, "final": end, "best_test_epoch": end, "median_seconds_per_epoch": 1.0}],
            }
        ],
    }
    (folder / "results.json").write_text(json.dumps(results))
    store = tmp_path / "mnist.json"
    store.write_text('{"runs": []}')
    monkeypatch.setattr(collect, "STORE", store)
    monkeypatch.setattr(collect, "PAGES", {page: {"results": collect.summary}})
    collect.main([folder])
    collect.main([folder])
    (stored,) = json.loads(store.read_text())["runs"]
    assert stored["command"].endswith("--seed 4 --threads 1 --clip-norm 0 --paper-selection")
    recipe = "paper, clip_norm 0, paper selection"
    assert f"| fc2 | `mpo(bond=8)` | 4,576 | 0.0225 | {recipe} | 4 | 98.00 | 98.00 | 97.99 ± 0.18 |" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("\nafter\n")
