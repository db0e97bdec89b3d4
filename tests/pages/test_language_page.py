"""docs/language.md: its tables and sentences are those of the stored runs, and the recipe is the one that ran."""

import json
import re

from places import DOCS
from scripts import script

import tnlayers as tnl
from tnlayers.train.recipes import find_recipe

language = script("language")
STORED = json.loads(language.STORE.read_text())


def test_the_page_is_that_of_the_stored_runs():
    page = language.PAGE.read_text(encoding="utf-8")
    assert language.written(page, STORED) == page, "run python docs/results/language.py"
    row = next(line for line in page.splitlines() if line.startswith("| `dense`"))
    changed = page.replace(row, row.replace("8", "9"), 1)
    assert changed != page == language.written(changed, STORED)


def test_the_stored_runs_are_by_the_recipe_that_is_named_short():
    assert find_recipe("gpt-pico", "shakespeare", "short").model_dump() == STORED["recipe"]
    assert find_recipe("gpt-pico", "shakespeare", "long").model_dump() == STORED["long"]["recipe"]
    best = max(STORED["choice"], key=lambda row: row["validation_accuracy"])
    assert best["lr"] == STORED["recipe"]["lr"]
    assert all(row["held_out"] == 100_000 and row["network"] == "dense" for row in STORED["choice"])
    assert STORED["environment"]["commit"]


def test_every_count_on_the_page_is_that_of_the_model():
    for run in STORED["runs"] + STORED["long"]["runs"]:
        total = tnl.models.describe("gpt-pico", network=run["network"]).total
        assert next(iter(total.values()))["trainable"] == run["parameters"]
    page = (DOCS / "language.md").read_text()
    message = {count for point in tnl.models.describe("gpt-pico").differences for count in numbers(point.what)}
    assert {count for count in numbers(page) if count.endswith(",224") or count in ("808,448", "42,336")} <= message


def test_bits_are_the_loss_in_bits():
    for run in STORED["runs"] + STORED["long"]["runs"]:
        assert abs(run["bits"] - run["nats"] / 0.6931471805599453) < 1e-9


def numbers(text):
    return re.findall(r"\d{1,3}(?:,\d{3})+", text)
