"""docs/backends.md is what its script makes; its code is run with that of the other pages."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script():
    found = importlib.util.spec_from_file_location("make_backends", ROOT / "docs" / "make_backends.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_cell_names_a_test_that_exists(script, monkeypatch):
    assert script.missing() == []
    monkeypatch.setitem(script.ABILITIES, "flying", ("test_jax::test_flying", "no_file::test_it", "no"))
    assert script.missing() == ["no_file::test_it", "test_jax::test_flying"]
    with pytest.raises(SystemExit, match="do not exist: no_file"):
        script.abilities()


def test_the_page_is_up_to_date(script):
    page = script.PAGE.read_text(encoding="utf-8")
    for block, make in (("abilities", script.abilities), ("example", script.example)):
        assert script.filled(page, block, make()) == page, "run python docs/make_backends.py --table"


def test_the_measured_parts_are_there(script):
    page = script.PAGE.read_text(encoding="utf-8")
    largest = float(re.search(r"The largest is ([0-9.]+):", page).group(1))
    assert 0 < largest < 1
    seconds = float(re.search(r"Importing tnlayers takes ([0-9.]+) s", page).group(1))
    assert 0 < seconds < 2
