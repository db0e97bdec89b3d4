"""docs/lenet5.md: its tables and sentences are those of the stored runs, and the recipe is the one that was chosen."""

import json

from scripts import script

from tnlayers.train.recipes import find_recipe

lenet5 = script("lenet5")
STORED = json.loads(lenet5.STORE.read_text())
RUNS = json.loads(lenet5.RUNS.read_text())["runs"]


def test_the_page_is_that_of_the_stored_runs():
    page = lenet5.PAGE.read_text(encoding="utf-8")
    assert lenet5.written(page, STORED, RUNS) == page, "run python docs/results/lenet5.py"
    better = [run | {"best_test_accuracy": 0.9917, "chosen_test_accuracy": 0.9917} for run in RUNS]
    changed = lenet5.written(page, STORED, better)
    assert "within the paper's error of 99.17" in changed
    assert changed != page


def test_the_recipe_is_the_best_of_the_choice_on_the_images_held_out():
    rows = STORED["choice"]
    by_setting = {}
    for row in rows:
        by_setting.setdefault(json.dumps(row["recipe"], sort_keys=True), {})[row["network"]] = row["held_out"]
    best = max(by_setting, key=lambda setting: sum(by_setting[setting].values()))
    assert find_recipe("lenet5", "mnist").model_dump() == json.loads(best)
    assert find_recipe("lenet5", "mnist") == find_recipe("lenet5", "mnist", "tuned")
    assert len(by_setting) == 4
    assert all(found.keys() == {"dense", "mpo"} for found in by_setting.values())
    assert all(row["seed"] == 7 and row["commit"] for row in rows)
    seeds = {run["seed"] for network in lenet5.NAMES for run in lenet5.of_recipe(RUNS, "tuned", network)}
    assert 7 not in seeds  # the seed of the choice is none of those reported


def test_the_papers_recipes_go_by_name():
    paper, text = (find_recipe("lenet5", "mnist", name) for name in ("paper", "paper-text"))
    assert find_recipe("lenet5", "mnist", "paper-code") == paper
    assert text == paper.model_copy(update={"momentum": 0.9})
    assert (paper.momentum, paper.lr, paper.epochs, paper.l2) == (0, 0.01, 500, 1e-4)
