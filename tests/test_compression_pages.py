"""docs/compression-mnist.md and docs/minilm.md: tables are those of the stored rows, and the words quote the tables."""

import json
import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def script(name):
    return runpy.run_path(str(RESULTS / f"{name}.py"))


def pages():
    mnist, minilm = script("compression_page"), script("minilm_page")
    stored = json.loads((RESULTS / "minilm.json").read_text())
    return [(mnist["PAGE"], mnist["filled"]), (minilm["PAGE"], lambda text: minilm["filled"](text, stored))]


@pytest.mark.parametrize(("page", "filled"), pages(), ids=["mnist", "minilm"])
def test_a_page_shows_what_is_stored(page, filled):
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, f"run the script of docs/results that makes {page.name}"
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for number in re.findall(r"(?<![\d.])\d+\.\d{2,}(?![\d.])", text.partition("## What it says")[2]):
        assert any(number in line for line in tables), f"{page.name} says {number}, no table does"


@pytest.mark.parametrize(("page", "filled"), pages(), ids=["mnist", "minilm"])
def test_the_comparison_has_teeth(page, filled):
    text = page.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if re.match(r"\|.*\d\.\d\d", line))
    changed = text.replace(row, row.replace("0", "1"), 1)
    assert changed != text == filled(changed)
