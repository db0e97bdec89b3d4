"""docs/compression-mnist.md and docs/minilm.md: tables are those of the stored rows, and the words quote the tables."""

import json
import re

import pytest
from places import RESULTS
from scripts import script

pytest.importorskip("matplotlib")


def pages():
    mnist, minilm = script("compression_page"), script("minilm_page")
    stored = json.loads((RESULTS / "minilm.json").read_text())
    return [(mnist.PAGE, mnist.written), (minilm.PAGE, lambda text: minilm.written(text, stored))]


@pytest.mark.parametrize(("page", "written"), pages(), ids=["mnist", "minilm"])
def test_a_page_shows_what_is_stored(page, written):
    text = page.read_text(encoding="utf-8")
    assert written(text) == text, f"run the script of docs/results that makes {page.name}"
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for number in re.findall(r"(?<![\d.])\d+\.\d{2,}(?![\d.])", text.partition("## What it says")[2]):
        assert any(number in line for line in tables), f"{page.name} says {number}, no table does"


@pytest.mark.parametrize(("page", "written"), pages(), ids=["mnist", "minilm"])
def test_the_comparison_has_teeth(page, written):
    text = page.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if re.match(r"\|.*\d\.\d\d", line))
    changed = text.replace(row, row.replace("0", "1"), 1)
    assert changed != text == written(changed)
