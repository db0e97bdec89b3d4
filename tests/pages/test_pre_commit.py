"""The hooks of a commit run what CI runs: the commands of `make lint` and `make types`."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
}


def recipe(target):
    """The commands of a target of the Makefile, with the environment's folder written out."""
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in lines.splitlines()]


def test_the_hooks_are_the_commands_of_ci():
    script = (ROOT / ".ci" / "run").read_text()
    assert all(f"make {target}\n" in script for target in ("lint", "types"))
    assert [hook["entry"] for hook in HOOKS.values()] == recipe("lint") + recipe("types")
    assert not any(hook["pass_filenames"] for hook in HOOKS.values())  # all files, as CI


@pytest.mark.parametrize(
    ("path", "hooks"),
    [
        ("tnlayers/cores/check.py", {"ruff-check", "ruff-format", "mypy"}),
        ("backends/tnlayers_backends/base.py", {"ruff-check", "ruff-format", "mypy"}),
        ("tests/cores/test_check.py", {"ruff-check", "ruff-format"}),
        ("notebooks/2-backends.ipynb", {"ruff-check", "ruff-format"}),
        ("pyproject.toml", {"ruff-check", "ruff-format", "mypy"}),
        ("docs/design.md", set()),
        ("tests/data/pyproject.toml.txt", set()),
    ],
)
def test_a_change_runs_the_hooks_that_it_can_fail(path, hooks):
    assert {name for name, hook in HOOKS.items() if re.search(hook["files"], path)} == hooks
