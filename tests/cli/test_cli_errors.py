"""Wrong calls: exit status 2 and the user's own words; failures for other reasons: 1; with --json both as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import SPEC, Call
from interpreter import run

WRONG_CALLS = {
    "a type": (["plan", "mop(cores=4)", "--in", "784", "--out", "256"], "Did you mean 'mpo'?"),
    "a keyword": (["plan", "mpo(cors=4)", "--in", "784", "--out", "256"], "Did you mean 'cores'?"),
    "a keyword of the type": (["describe", "ring(bnd=4)", "--in", "16", "--out", "16"], "Did you mean 'bond'?"),
    "a command": (["pln", SPEC], "Did you mean 'plan'?"),
    "an option": (["plan", SPEC, "--bach", "3"], "--batch"),
    "a model": (["describe", "lenet55"], "Did you mean 'lenet5'?"),
    "a model to train": (["train", "lenet6"], "Did you mean 'lenet5'?"),
    "a data set": (["train", "fc2", "--data", "minst"], "Did you mean 'mnist'?"),
    "a network to train": (["train", "fc2", "--network", "mpo,rng"], "Did you mean 'ring'?"),
    "a network to describe": (["describe", "fc2", "--network", "tuker"], "Did you mean 'tucker'?"),
    "a network to compress by": (
        ["compress", "mine:make", "--ratio", "0.5", "--network", "mp0"],
        "Did you mean 'mpo'?",
    ),
    "a network to explore": (["explore", SPEC, "--network", "rng"], "Did you mean 'ring'?"),
    "an optimizer": (["plan", SPEC, "--optimize", "gredy"], "Did you mean 'greedy'?"),
    "an unknown optimizer": (["plan", SPEC, "--optimize", "hyper"], "optimize='hyper': opt_einsum has no optimizer"),
    "a backend": (["check", SPEC, "--backend", "numby"], "There is no backend 'numby'. Did you mean 'numpy'?"),
    "a model where a layer goes": (["plan", "lenet5"], "`tnlayers describe lenet5`"),
    "a model to draw": (["draw", "resnet20"], "`tnlayers describe resnet20`"),
    "an open parenthesis": (
        ["plan", "mpo(cores=4", "--in", "8", "--out", "8"],
        "the '(' at character 4 is never closed",
    ),
    "a stray parenthesis": (
        ["plan", "mpo(cores=4))", "--in", "8", "--out", "8"],
        "the ')' at character 13 closes nothing",
    ),
    "seeds": (["train", "fc2", "--seeds", "x"], "such as 3, or a list of them, such as 4,7"),
    "seeds with a hole": (["train", "fc2", "--seeds", "1,,2"], "such as 4,7"),
    "modes": (["plan", "mpo(in=4x7x7, out=4x8x8)", "--in", "785", "--out", "256"], "in=4x7x7 multiplies to 196"),
    "no sizes": (["plan", "mpo(cores=4)"], "--in 784 --out 256"),
    "neither file nor factory": (["compress", "nofile"], "module:function"),
    "half a factory": (["spectra", "mine:"], "module:function"),
}
FAILURES = {
    "no file of a model": (["compress", "absent.safetensors", "--ratio", "0.5"], "absent.safetensors: no such file"),
    "no file of a spec": (["plan", "absent.yaml"], "absent.yaml"),
    "no configuration": (["train", "--config", "absent.yaml"], "absent.yaml"),
    "a factory that fails": (["spectra", "no_such_module:make"], "ModuleNotFoundError"),
}
ROWS = [(name, 2, *row) for name, row in WRONG_CALLS.items()] + [(name, 1, *row) for name, row in FAILURES.items()]


@pytest.mark.parametrize(("status", "words", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_refusal_is_in_the_users_words_and_has_its_status(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = call(*words)
    assert (code, out) == (status, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    code, out, _ = call(*words, "--json")
    text = json.loads(out)
    assert code == status
    assert (text["format"], text["status"]) == ("tnlayers-error/1", status)
    # typer's own parser words a wrong option otherwise where it does not end the process itself
    assert message in text["error"] or words[0] == "pln"


def test_what_the_words_alone_decide_is_refused_before_torch_is_loaded() -> None:
    calls = ["train fc2 --network mpo,foo", "compress nofile", "compress no.safetensors"]
    calls += ["compress mine:make --network foo", "describe fc2 --network foo"]
    program = (
        "import sys\n"
        "from tnlayers.__main__ import main\n"
        f"for words in {calls!r}:\n"
        "    try:\n"
        "        main(words.split())\n"
        "    except SystemExit as exit_:\n"
        "        assert exit_.code in (1, 2), words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    run(program)


def test_a_result_as_json_is_not_an_error(call: Call) -> None:
    code, out, err = call("describe", SPEC, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["parameters"] == 14848


def test_points_where_paper_and_code_disagree_are_printed_when_asked_for(call: Call) -> None:
    short, long = call("describe", "lenet5")[1], call("describe", "lenet5", "--notes")[1]
    assert "--notes" in short
    assert "momentum" in short
    assert "Here:" not in short
    assert long.count("Here:") >= 8


def test_a_flag_takes_no_value_in_the_help(call: Call) -> None:
    for words in (["--help"], ["train", "--help"], ["compress", "--help"], ["check", "--help"]):
        _, out, _ = call(*words)
        assert "bool" not in out.lower(), words
    assert "--dry-run" in call("compress", "--help")[1]


@pytest.mark.parametrize("words", [["describe", "lenet5"], ["describe", "--list"], ["plan", SPEC, "--batch", "128"]])
def test_at_60_columns_nothing_is_cut(call: Call, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    narrow = call(*words)[1]
    assert "…" not in narrow
    monkeypatch.setenv("COLUMNS", "200")
    numbers = {word for word in call(*words)[1].split() if word.replace(",", "").replace(".", "").isdigit()}
    assert numbers <= set(narrow.split())
