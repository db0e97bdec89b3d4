"""README.md tells the truth: its Python runs, and its cheap commands run and print what it shows."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tnlayers.__main__ import main
from tnlayers.networks import registry

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.is_file() else ""
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (tnlayers (?:describe|plan) .*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE  # README may leave out lines with "..."

pytestmark = [
    pytest.mark.skipif(not README.is_file(), reason="there is no README.md"),
    pytest.mark.filterwarnings("default::tnlayers.TNLayersWarning"),
]


def python_blocks() -> list[tuple[int, str]]:
    """The line each ```python block begins on, and its code."""
    return [(TEXT.count("\n", 0, m.start(2)), m[2]) for m in BLOCK.finditer(TEXT) if m[1] == "python"]


def commands() -> list[tuple[str, str]]:
    """Each `$ tnlayers describe` or `plan` of a ```console block, with the output shown below it ("" if none).

    `tnlayers train` takes too long for a test; what it prints in README.md is measured, not tested.
    """
    blocks = [m[2] for m in BLOCK.finditer(TEXT) if m[1] in ("console", "bash", "sh", "shell")]
    return [(found[1], found[2].strip()) for block in blocks for found in COMMAND.finditer(block)]


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))  # README's own networks stay in README
    blocks = python_blocks()
    assert blocks, "README.md shows no Python"
    names: dict[str, Any] = {"__name__": "readme"}
    for line, code in blocks:
        exec(compile("\n" * line + code, str(README), "exec"), names)


@pytest.mark.parametrize(("command", "shown"), commands())
def test_commands_print_what_is_shown(
    command: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main(shlex.split(command, comments=True)[1:])
    printed = capsys.readouterr()
    assert not exit_.value.code, printed.err
    if shown:
        assert doctest.OutputChecker().check_output(f"{shown}\n", printed.out, SAME), printed.out
