"""docs/training.md tells the truth: its code runs, in order, in one namespace."""

import re

import pytest
from places import DOCS

PAGE = DOCS / "training.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not PAGE.is_file(), reason="there is no docs/training.md")
@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_the_code_runs():
    text = PAGE.read_text(encoding="utf-8")
    names = {"__name__": "training"}
    found = list(BLOCK.finditer(text))
    assert len(found) == 8
    for block in found:
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)
