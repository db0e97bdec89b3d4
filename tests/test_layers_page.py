"""docs/layers.md tells the truth: its code runs and prints what is shown."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "layers.md"
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_code_prints_what_is_shown():
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    told = []
    failed, tried = doctest.DocTestRunner(optionflags=SAME).run(example, out=told.append)
    assert tried > 20
    assert not failed, "".join(told)
