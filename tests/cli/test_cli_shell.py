"""What a shell and a terminal see of the command line: completion, colours, bars, and what is not loaded."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from command import SPEC, Call
from interpreter import run
from places import ROOT
from rich.console import Console

from tnlayers.cli import completion
from tnlayers.files.progress import progress


def test_help_plan_and_layers_load_no_framework() -> None:
    program = (
        "import sys\n"
        "from tnlayers.__main__ import main\n"
        f"for words in (['--help'], ['train', '--help'], ['plan', {SPEC!r}], ['describe', {SPEC!r}]):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as exit_:\n"
        "        assert not exit_.code, words\n"
        "    heavy = {'torch', 'matplotlib', 'sklearn'} | ({'tensornetwork'} if words[-1] == '--help' else set())\n"
        "    loaded = heavy & set(sys.modules)\n"
        "    assert not loaded, (words, loaded)\n"
    )
    run(program)


@pytest.fixture
def complete(call: Call, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What bash offers after the words, the last of which is incomplete."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_TNLAYERS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["tnlayers", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return call()[1].split()

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["desc"], ["describe"]),
        (["describe", "vg"], ["vgg16", "vgg19"]),
        (["describe", "monar"], ["monarch"]),
        (["describe", "fc2", "--network", "den"], ["dense"]),
        (["train", "lenet5", "--network", "mpo,de"], ["mpo,dense"]),
        (["plan", "tuck"], ["tucker"]),
        (["plan", "mpo", "--objective", "tr"], ["training"]),
        (["draw", "mpo", "--theme", "d"], ["dark"]),
        (["check", "mpo", "--backend", "num"], ["numpy"]),
        (["reproduce", "fig"], ["fig2", "fig3"]),
        (["spectra", "docs/"], ["docs/results/"]),
        (["spectra", "m.safetensors", "--network", "tre"], ["tree"]),
    ],
)
def test_the_shell_completes(complete: Callable[..., list[str]], words: list[str], offered: list[str]) -> None:
    found = complete(*words)  # other tests may have declared types of their own
    assert set(offered) <= set(found)
    assert all(one.startswith(words[-1]) for one in found)


def test_all_models_are_completed() -> None:
    catalogue = pytest.importorskip("tnlayers.models.catalogue")
    assert sorted(completion.model("")) == sorted(catalogue.names())


def run_in_own_process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    command = [sys.executable, "-X", "importtime", "-m", "tnlayers", *words]
    whole = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    return subprocess.run(
        command, env=whole | {"PYTHONPATH": paths} | environment, capture_output=True, text=True, check=False
    )


def test_completion_loads_no_framework() -> None:
    words = {"COMP_WORDS": "tnlayers describe vg", "COMP_CWORD": "2", "_TNLAYERS_COMPLETE": "complete_bash"}
    done = run_in_own_process(**words)
    assert done.stdout.split() == ["vgg16", "vgg19"]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tnlayers" in loaded
    assert not loaded & {"torch", "jax", "matplotlib", "tensornetwork"}


def test_the_install_of_completion_is_offered(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # which depends on the shell around pytest
    assert "--install-completion" in call("--help")[1]
    assert "_TNLAYERS_COMPLETE" in call("--show-completion", "bash")[1]


def test_piped_output_has_no_colours() -> None:
    for words in (["--help"], ["describe", SPEC]):
        done = run_in_own_process(*words)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_has_colours_unless_told(no_color: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    if no_color:
        environment["NO_COLOR"] = no_color
    process = subprocess.Popen([sys.executable, "-m", "tnlayers", "--help"], env=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    coloured = re.search(rb"\x1b\[[\d;]*3\d", shown) is not None
    assert coloured == (not no_color)


def test_progress_shows_the_time_left_on_terminals_alone() -> None:
    for terminal in (True, False):
        text = io.StringIO()
        with progress("planning", 4, Console(file=text, force_terminal=terminal, width=80)) as step:
            for _ in range(3):
                step()
        assert ("planning" in text.getvalue()) == terminal
        assert ("4" in text.getvalue() and ":" in text.getvalue()) == terminal


def test_every_option_of_train_is_a_setting_and_the_other_way_around():
    """Options are named as the fields of the configuration; settings that a command line has no use for are files'."""
    pytest.importorskip("torch")
    from tnlayers.cli.train import train
    from tnlayers.train.config import SYNONYMS, TrainConfig

    options = set(inspect.signature(train).parameters) - {"config", "load", "as_json"}
    options = {SYNONYMS.get(name, name) for name in options} - {"out_dir"} | {"out"}
    in_files_alone = {"staircase", "warmup", "cooldown", "l2_on", "augment", "normalise"}
    in_files_alone |= {"optimizer", "beta2", "cooldown_shape"}
    assert options == set(TrainConfig.model_fields) - in_files_alone
