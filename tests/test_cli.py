"""The command line: numbers, exit statuses, what goes to which stream, and what is not loaded."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from absent import skip_if_told
from rich.console import Console

import tnlayers as tnl
from tnlayers import __main__ as command_line
from tnlayers.cli import completion
from tnlayers.networks import registry
from tnlayers.progress import progress

ROOT = Path(__file__).parents[1]
SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run one command; return its exit status, standard output and error output."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TNLAYERS_DEBUG", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            command_line.main(words)
        shown = capsys.readouterr()
        skip_if_told(shown.out + shown.err)
        return int(exit_.value.code or 0), shown.out, shown.err

    return run


# The paper's counts (arXiv 1904.06194): replaced weights, rho, and the whole model's weights and trainables.
COUNTS = {
    "fc2": ({"mpo": 15584, "dense": 203264}, 0.0766688, (15584, 15850), 203264),
    "lenet5": ({"mpo": 2860, "dense": 58920}, 0.0485404, (5410, 5646), 61470),
}


@pytest.mark.parametrize("model", COUNTS)
def test_describe_counts_as_the_paper_does(call: Call, model: str) -> None:
    replaced, rho, (weights, trainable), dense_weights = COUNTS[model]
    status, out, err = call("describe", model, "--network", "mpo", "--json")
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert report["replaced"] == replaced
    assert report["rho"] == pytest.approx(rho, abs=5e-8)
    assert report["total"]["mpo"] == {"weights": weights, "trainable": trainable}
    assert report["total"]["dense"]["weights"] == dense_weights
    assert sum(layer["parameters"] for layer in report["layers"]) == replaced["mpo"]


def test_describe_shows_the_same_as_a_table(call: Call) -> None:
    status, out, err = call("describe", "lenet5")
    assert (status, err) == (0, "")
    for text in ("conv3", "mpo(in=2x10x10x2, out=2x5x6x2, bias=true, bond=4)", "2,860", "58,920", "0.0485", "5,646"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80


def test_bond_is_a_shorthand_and_clipped_bonds_are_told(call: Call) -> None:
    status, out, err = call("describe", "fc2", "--bond", "64")
    assert (status, err) == (0, "")
    assert "57,856" in out  # what is built
    assert "231,424" in out  # the paper's formula
    assert "clipped from 64 to 16" in out
    long_form = call("describe", "fc2", "--network", "mpo(bond=64)", "--json")
    assert call("describe", "fc2", "--bond", "64", "--json") == long_form


def test_describe_of_a_dense_model(call: Call) -> None:
    status, out, _ = call("describe", "lenet5", "--network", "dense")
    assert status == 0
    assert "61,612" in out


def test_describe_a_layer(call: Call) -> None:
    status, out, _ = call("describe", "mpo(cores=4, bond=16)", "--in", "784", "--out", "256", "--json")
    layer = json.loads(out)
    assert status == 0
    assert layer["spec"] == SPEC
    assert [core["shape"] for core in layer["cores"]] == [[4, 4, 16], [16, 7, 4, 16], [16, 7, 4, 16], [16, 4, 4]]
    assert (layer["parameters"], layer["dense_parameters"]) == (14848, 200704)
    assert layer["rho"] == 14848 / 200704
    table = call("describe", SPEC)[1]
    assert "16x7x4x16" in table
    assert "14,848" in table


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_describe_a_file(call: Call, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"layer.{suffix}"
    made = tnl.spec(SPEC)
    file.write_text(made.to_json() if suffix == "json" else made.to_yaml())
    assert json.loads(call("describe", str(file), "--json")[1])["spec"] == SPEC
    assert json.loads(call("describe", str(file), "--bond", "2", "--json")[1])["spec"] == SPEC.replace("16", "2")


def test_list_names_models_and_networks(call: Call) -> None:
    status, out, _ = call("describe", "--list")
    assert status == 0
    for name in ("fc2", "lenet5", "mpo(bond=16)", "Matrix product operator"):
        assert name in out
    listed = json.loads(call("describe", "--list", "--json")[1])
    assert list(listed["models"])[:4] == ["fc2", "lenet5", "vgg16", "vgg19"]
    assert listed["models"]["vgg16"] == {
        "weights": 28_907_200,
        "replaces": ["conv5_1", "conv5_2", "fc1", "fc2", "fc3"],
    }
    assert listed["networks"]["mpo"]["keywords"] == {"bond": 16}


def test_plan_prints_the_tree_and_json_reads_back(call: Call) -> None:
    expected = tnl.plan(SPEC, batch=128, objective="training", dtype="float64")
    words = ("plan", SPEC, "--batch", "128", "--objective", "training", "--dtype", "float64")
    status, out, err = call(*words, "--json")
    assert (status, err) == (0, "")
    assert tnl.Plan.from_json(out) == expected
    assert call(*words) == (0, f"{expected}\n", "")


def test_plan_keeps_a_memory_limit_or_names_the_least(call: Call) -> None:
    words = ("plan", SPEC, "--batch", "128", "--objective", "training", "--json")
    free = json.loads(call(*words)[1])["memory"]
    status, out, _ = call(*words, "--memory-limit", str(free - 1))
    assert status == 0
    assert json.loads(out)["memory"] < free
    status, out, err = call(*words, "--memory-limit", "1")
    assert (status, out) == (1, "")
    assert "the least that is feasible is" in " ".join(err.split())


def test_own_networks_come_from_a_file(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    file = tmp_path / "own_network.py"
    file.write_text(
        "import tnlayers as tnl\n\n"
        "@tnl.network('pair_of_cores', cores=2)\n"
        "def pair_of_cores(in_modes, out_modes, bond_dim=2):\n"
        "    net = tnl.Declaration()\n"
        "    a = net.core('a', inp=in_modes[0], out=out_modes[0], right=bond_dim)\n"
        "    b = net.core('b', left=bond_dim, inp=in_modes[1], out=out_modes[1])\n"
        "    a['right'] ^ b['left']\n"
        "    return net.linear(inputs=[a['inp'], b['inp']], outputs=[a['out'], b['out']])\n"
    )
    status, out, _ = call("describe", "pair_of_cores(in=4x7, out=2x5, bond=3)", "--load", str(file), "--json")
    assert status == 0
    assert json.loads(out)["parameters"] == 129
    assert call("plan", "pair_of_cores", "--in", "28", "--out", "10", "--load", str(file))[0] == 0
    file.write_text("1 / 0\n")
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    status, _, err = call("describe", "fc2", "--load", str(file))
    assert status == 1
    assert "own_network.py failed: ZeroDivisionError" in err


def test_adjustments_are_one_plain_line(call: Call) -> None:
    status, out, err = call("plan", "mpo(in=4x7, out=2x2, bond=99)", "--json")
    assert status == 0
    assert json.loads(out)["title"] == "mpo(in=4x7, out=2x2, bond=8)"
    assert err.startswith("note: mpo(in=4x7, out=2x2, bond=8): bond core_0 - core_1 clipped from 99 to 8")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["describe", "nosuch"], "no model 'nosuch'. Known models: fc2, lenet5, vgg16"),
        (["describe", "fc2", "--network", "nosuch"], "no network type 'nosuch'"),
        (["describe", "mpo(bond=8)"], "Add them, such as --in 784 --out 256"),
        (["describe", "no/such/file.yaml"], "Cannot read the spec file"),
        (["describe", "fc2", "--load", "no/such/file.py"], "no such Python file"),
        (["plan", "mpo(in=4x7x7, out=4x4x4, bond=0)"], "bond=0"),
        (["plan", SPEC, "--dtype", "float7"], "'float7'"),
        (["plan", SPEC, "--objective", "fame"], "'fame'"),
        (["plan", SPEC, "--optimize", "nosuch"], "'nosuch'"),
        (["train", "fc3"], "must be one of fc2, lenet5"),
        (["train", "fc2", "--epochs", "1", "--config", "no/such/file.yaml"], "no/such/file.yaml"),
        (["train", "fc2", "--momentum", "2"], "momentum=2.0"),
    ],
)
def test_refusals_are_one_paragraph_and_status_1(call: Call, words: list[str], told: str) -> None:
    status, out, err = call(*words)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert told in err
    assert "Traceback" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["describe", "fc2", "--nosuch"],
        ["describe", "fc2", "--list"],
        ["describe", "mpo(bond=8)", "--in", "784"],
        ["describe", SPEC, "--network", "mpo"],
        ["describe", "fc2", "--in", "784", "--out", "256"],
        ["describe", "fc2", "--network", "dense", "--bond", "4"],
        ["plan", SPEC, "--batch", "0"],
    ],
)
def test_wrong_usage_is_status_2(call: Call, words: list[str]) -> None:
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert "Traceback" not in err


def test_a_refusal_shows_its_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TNLAYERS_DEBUG", "1")
    with pytest.raises(tnl.TNLayersError, match="bond=0"):
        command_line.main(["plan", "mpo(in=4x7, out=4x4, bond=0)"])


def test_help_and_version(call: Call) -> None:
    status, out, _ = call("--help")
    assert status == 0
    for command in ("describe", "plan", "train"):
        assert command in out
        status, text, _ = call(command, "--help")
        assert status == 0
        assert f"tnlayers {command} " in text
        assert "--json" in text
    assert call("--version") == (0, f"tnlayers {tnl.__version__}\n", "")


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
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_train_prints_the_table_and_writes_the_files(call: Call, tmp_path: Path) -> None:
    words = ("train", "fc2", "--network", "mpo,dense", "--data", "digits", "--epochs", "1", "--out", str(tmp_path))
    status, out, err = call(*words, "--name", "one")
    folder = tmp_path / "one"
    assert status == 0, err
    for text in ("fc2 on digits", "15,584", "203,264", "0.0767", "accuracy %", str(folder / "accuracy.png")):
        assert text in out
    for name in ("accuracy.png", "metrics.csv", "results.json", "config.yaml"):
        assert (folder / name).stat().st_size > 0
    assert len(list(folder.rglob("*.safetensors"))) == 2
    with (folder / "metrics.csv").open(newline="") as file:
        assert [row["network"] for row in csv.DictReader(file)] == ["mpo", "dense"]

    status, out, err = call(*words, "--name", "one")
    assert (status, out) == (1, "")
    assert "--resume" in err

    status, out, err = call(*words, "--name", "one", "--resume", "--json")  # all done: only the results again
    assert status == 0, err
    results = json.loads(out)
    assert results["directory"] == str(folder)
    assert results["networks"] == json.loads((folder / "results.json").read_text())["networks"]


def test_an_interrupted_training_says_how_to_go_on(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tnlayers.train.train", interrupted)
    status, out, err = call("train", "fc2")
    assert (status, out) == (130, "")
    assert "--resume" in err


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


def test_the_install_of_completion_is_offered(call: Call) -> None:
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


def test_every_command_has_json_and_an_example(call: Call) -> None:
    names = [command.name or command.callback.__name__ for command in command_line.app.registered_commands]
    assert len(names) >= 9
    for name in names:
        text = call(name, "--help")[1]
        assert "--json" in text, name
        assert name == "calibrate" or f"tnlayers {name} " in text, name
