"""docs/backends.md is what its script makes; its code is run with that of the other pages."""

import json
import re

import pytest
from places import RESULTS
from scripts import script

abilities, page = script("abilities"), script("backends_page")
TEXT = page.PAGE.read_text(encoding="utf-8")


def test_every_cell_names_a_test_that_exists(monkeypatch):
    assert abilities.missing() == []
    monkeypatch.setitem(abilities.ABILITIES, "flying", ("test_jax::test_flying", "no_file::test_it", "no"))
    assert abilities.missing() == ["no_file::test_it", "test_jax::test_flying"]
    with pytest.raises(SystemExit, match="do not exist: no_file"):
        abilities.abilities()


def test_the_page_is_up_to_date():
    for block, make in (("abilities", abilities.abilities), ("parity", page.parity), ("example", page.example)):
        assert page.filled(TEXT, block, make()) == TEXT, "run python docs/results/backends_page.py --table"


def test_the_measured_parts_are_there():
    largest = float(re.search(r"The largest is ([0-9.]+):", TEXT).group(1))
    assert 0 < largest < 1
    seconds = float(re.search(r"Importing tnlayers takes ([0-9.]+) s", TEXT).group(1))
    assert 0 < seconds < 2


def test_what_is_said_of_plans_by_xlas_rates_follows_from_what_is_stored():
    table = script("xla_table")
    stored = json.loads((RESULTS / "xla.json").read_text(encoding="utf-8"))
    assert page.filled(TEXT, "xla", table.table(stored)) == TEXT, "run python docs/results/xla.py --show"
    stored["cells"][0]["ratio_to_best_other"][1] = 1.3
    assert page.filled(TEXT, "xla", table.table(stored)) != TEXT
