"""docs/conformance.md is what its script makes of the table, and every test that it names is there."""

import json
import re

from scripts import script

page = script("conformance_page")


def test_every_row_names_tests_that_exist_and_refusals_that_raise(monkeypatch):
    assert page.missing() == []
    lost = page.Row("flying", ("torch",), "works", ("hf/test_lora::test_flying", "hf/none::test_it"))
    calm = page.Row("walking", ("torch",), page.REFUSED, ("backends/torch/layers/test_grow::test_none",))
    monkeypatch.setattr(page, "ROWS", (lost, calm))
    assert page.missing() == [*lost.tests, *calm.tests]


def test_the_page_is_that_of_the_stored_run_and_nothing_failed():
    stored = json.loads(page.STORED.read_text(encoding="utf-8"))
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, "conformance", page.table(stored)) == text, "run python docs/results/conformance_page.py"
    assert not re.search(r"\d (failure|error|not run)", text)
    assert not stored["tests"] or set(stored["tests"]) == set(page.nodes())
