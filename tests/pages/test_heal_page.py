"""docs/heal.md: its tables and sentences are those of the stored rows, and the rows keep to their budgets."""

import json

from scripts import script

page = script("heal_page")
STORED = json.loads((page.PAGE.parent / "results" / "heal.json").read_text())
ROWS = STORED["rows"]


def test_the_page_is_that_of_the_stored_rows():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text, STORED) == text, "run python docs/results/heal.py"
    row = next(line for line in text.splitlines() if line.startswith("| `lowrank`"))
    changed = text.replace(row, row.replace("1.", "2.", 1), 1)
    assert changed != text == page.written(changed, STORED)
    assert page.PICTURE.exists()


def test_every_row_keeps_to_its_budget_and_says_where_it_is_from():
    for row in ROWS:
        assert page.share(row, ROWS) <= row["budget"] + 1e-9
        assert row["commit"]
        assert not row["commit"].endswith("-dirty")
        assert abs(row["bits_per_character"] - row["nats"] / 0.6931471805599453) < 1e-9
    assert len(
        {tuple(row.get(key, "") for key in ("network", "gauge", "budget", "way", "codes")) for row in ROWS}
    ) == len(ROWS)


def test_low_rank_is_measured_wherever_another_network_is():
    for row in page.chosen(ROWS, way="sample", codes=32):
        assert page.chosen(ROWS, network="lowrank", gauge="", budget=row["budget"], way="sample", codes=32)


def test_sentences_follow_the_figures():
    told = page.reading(STORED)
    for budget in page.budgets(ROWS):
        base = page.one(ROWS, network="lowrank", gauge="", budget=budget, way="sample", codes=32)
        others = [
            row["nats"]
            for row in page.chosen(ROWS, budget=budget, way="sample", codes=32)
            if row["network"] != "lowrank" and row["bits"] <= base["bits"]
        ]
        gap = min(others) - base["nats"]
        assert f"{abs(gap):.4f} nats {'below' if gap < 0 else 'above'} it" in told
