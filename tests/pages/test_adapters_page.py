"""What docs/repair.md says of kinds of adapters is what its script measured."""

import json

import pytest
from scripts import script


def test_the_table_is_that_of_the_stored_results():
    pytest.importorskip("sklearn")
    page = script("adapters")
    text, found = page.PAGE.read_text(encoding="utf-8"), json.loads(page.STORED.read_text(encoding="utf-8"))
    assert page.filled(text, "adapters", page.table(found)) == text, "run python docs/results/adapters.py --table"
    fewest = min(found["rows"], key=lambda row: row["parameters"])
    assert fewest["accuracy"] > found["turned"] + 20  # adapters learn
