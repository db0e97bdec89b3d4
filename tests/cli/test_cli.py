"""The command line: plans, trainings, own networks, exit statuses, and what goes to which stream."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from command import SPEC, Call

import tnlayers as tnl
from tnlayers import __main__ as command_line
from tnlayers.declare import registry


def test_plan_prints_the_tree_and_json_reads_back(call: Call) -> None:
    expected = tnl.plan(SPEC, batch=128, objective="training", dtype="float64")
    words = ("plan", SPEC, "--batch", "128", "--objective", "training", "--dtype", "float64")
    status, out, err = call(*words, "--json")
    assert (status, err) == (0, "")
    assert tnl.Plan.from_json(out) == expected
    assert call(*words) == (0, f"{expected}\n", "")


def test_plan_for_a_gpu_makes_fewer_calls(call: Call) -> None:
    words = ("plan", "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)", "--batch", "128", "--objective", "training", "--json")
    here, there = (json.loads(call(*words, "--device", device)[1]) for device in ("cpu", "cuda"))
    assert (there["device"], there["chunk"]) == ("cuda", None)
    assert here["chunk"] is not None
    assert call(*words, "--device", "cuda", "--tune")[0] != 0


def test_plan_keeps_a_memory_limit_or_names_the_least(call: Call) -> None:
    words = ("plan", SPEC, "--batch", "128", "--objective", "training", "--json")
    free = json.loads(call(*words)[1])["memory"]
    status, out, _ = call(*words, "--memory-limit", str(free - 1))
    assert status == 0
    assert json.loads(out)["memory"] < free
    status, out, err = call(*words, "--memory-limit", "1")
    assert (status, json.loads(out)["status"]) == (1, 1)
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
    ("words", "message"),
    [
        (["describe", "nosuch"], "no model 'nosuch'. Known models: fc2, lenet5, vgg16"),
        (["describe", "fc2", "--network", "nosuch"], "no network type 'nosuch'"),
        (["plan", "mpo(in=4x7x7, out=4x4x4, bond=0)"], "bond=0"),
        (["plan", SPEC, "--dtype", "float7"], "'float7'"),
        (["plan", SPEC, "--objective", "fame"], "'fame'"),
        (["plan", SPEC, "--optimize", "nosuch"], "'nosuch'"),
        (["train", "fc3"], "must be one of fc2, lenet5"),
        (["train", "fc2", "--momentum", "2"], "momentum=2.0"),
        (["describe", "mpo(bond=8)"], "Add them, such as --in 784 --out 256"),
    ],
)
def test_wrong_words_are_one_paragraph_and_status_2(call: Call, words: list[str], message: str) -> None:
    _is_refused(call, 2, words, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "no/such/file.yaml"], "Cannot read the spec file"),
        (["describe", "fc2", "--load", "no/such/file.py"], "no such Python file"),
        (["train", "fc2", "--epochs", "1", "--config", "no/such/file.yaml"], "no/such/file.yaml"),
    ],
)
def test_refusals_are_one_paragraph_and_status_1(call: Call, words: list[str], message: str) -> None:
    _is_refused(call, 1, words, message)


def _is_refused(call: Call, expected: int, words: list[str], message: str) -> None:
    status, out, err = call(*words)
    assert (status, out) == (expected, "")
    assert err.startswith("error: ")
    assert message in err
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


def test_every_command_has_json_and_an_example(call: Call) -> None:
    names = [command.name or command.callback.__name__ for command in command_line.app.registered_commands]
    assert len(names) >= 9
    for name in names:
        text = call(name, "--help")[1]
        assert "--json" in text, name
        assert name == "calibrate" or f"tnlayers {name} " in text, name
