"""The pages tell the truth: the Python of README.md and docs/ runs, and cheap commands run and print what is shown.

Run is each ```python block, and each line of `$ tnlayers describe`, `plan` or `draw`. What is marked otherwise is not:

- ```py needs more than one process, or files that a page does not make: torchrun (howto/several-gpus.md), a file that a
  process without the declaration reads (files.md: tests/io/test_layers.py and test_docs.py do that), and cores that
  other libraries wrote (files.md: tests/io/test_foreign.py), or transformers (compress.md:
  tests/compress/test_transformers.py);
- ```sh and ```bash install, train, reproduce for hours, run on clusters, or read files and code of the reader's;
- `tnlayers explore` takes ten seconds (tests/explore/test_explore.py writes pages of smaller grids), and
  `tnlayers train` longer: what it prints on a page is measured, not tested.
"""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from places import DOCS, ROOT

from tnlayers.__main__ import main
from tnlayers.declare import registry

PAGES = [page for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if page.is_file()]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (tnlayers (?:describe|plan|draw) .*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE  # a page may leave out lines with "..."

pytestmark = [
    pytest.mark.filterwarnings("default::tnlayers.TNLayersWarning"),
    # torch's exporter uses a part of torch that torch deprecates
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    # PEFT asks transformers for what transformers deprecates
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def python_blocks(page: Path) -> list[tuple[int, str]]:
    """The line each ```python block of a page begins on, and its code."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(2)), m[2]) for m in BLOCK.finditer(text) if m[1] == "python"]


def commands() -> list[tuple[str, str]]:
    """Each `$ tnlayers describe`, `plan` or `draw` of a ```console block, and the output below it ("" if none)."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    blocks = [m[2] for t in texts for m in BLOCK.finditer(t) if m[1] in ("console", "bash", "sh", "shell")]
    return [(found[1], found[2].strip()) for block in blocks for found in COMMAND.finditer(block)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the pages show torch")
    if page.name == "hf.md":
        pytest.importorskip("transformers")
        pytest.importorskip("peft")
    if page.name == "onnx.md":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))  # a page's own networks stay on it
    names: dict[str, Any] = {"__name__": page.stem}
    for line, code in python_blocks(page):
        if code.startswith(">>>"):
            names = printed_as_shown(page, line, code, names)
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)


def printed_as_shown(page: Path, line: int, code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a block of `>>>` examples and return the names that it leaves."""
    example = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
    message: list[str] = []
    result = doctest.DocTestRunner(optionflags=SAME).run(example, out=message.append, clear_globs=False)
    assert not result.failed, "".join(message)
    return example.globs


def test_the_comparison_sees_another_number() -> None:
    with pytest.raises(AssertionError, match=r"Got:\s+3"):
        printed_as_shown(ROOT / "README.md", 0, ">>> 1 + 2\n4\n", {})


@pytest.mark.parametrize(("command", "shown"), commands())
def test_commands_print_what_is_shown(
    command: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main(shlex.split(command, comments=True)[1:])
    printed = capsys.readouterr()
    assert not exit_.value.code, printed.err
    if shown:
        assert doctest.OutputChecker().check_output(f"{shown}\n", printed.out, SAME), printed.out


def test_the_readme_shows_python_and_commands() -> None:
    assert python_blocks(ROOT / "README.md")
    assert commands()
