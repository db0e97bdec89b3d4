"""The campaigns: what is made up, and what it is given to.

Each campaign is a strategy of inputs and a function that gives one input to the library, in an empty folder. Arguments
(`calls.py`) are a table instead: every public callable, each of its arguments, each wrong value.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from hypothesis import strategies as st

import tnlayers as tnl
from fuzz.values import JSON, ODD_TEXTS, changed
from fuzz.words import TOKENS, WORDS
from tnlayers.io.container import read, write
from tnlayers.train.checkpoint import read as read_checkpoint
from tnlayers.train.config import TrainConfig

RECIPE = {"model": "fc2", "networks": ["mpo", "dense"], "data": "digits", "seeds": [0, 1], "epochs": 2, "lr": 0.1}
NETWORK = {
    "network": "fuzzed",
    "keywords": {"bond": 4},
    "cores": {"left": {"inp": "in_0", "right": "bond"}, "right": {"left": "bond", "out": "out_0"}},
    "edges": [["left.right", "right.left"]],
    "hyperedges": {},
    "inputs": ["left.inp"],
    "outputs": ["right.out"],
}
SPEC = {"network": "mpo", "in_modes": [4, 4], "out_modes": [4, 4], "bond_dim": 2, "pad_in": 1, "bias": True}


@dataclass(frozen=True)
class Campaign:
    """One campaign.

    Attributes:
        what: In a line, for the report.
        inputs: The strategy.
        give: Gives an input to the library; its second argument is an empty folder.
    """

    what: str
    inputs: st.SearchStrategy[Any]
    give: Callable[[Any, Path], object]


SPECS = st.lists(TOKENS, max_size=14).map("".join) | st.builds(
    "{}({}={}, {}={})".format,
    st.sampled_from(["mpo", "ring", "tucker", "cp", "lowrank", "btt", "tree", "mera", "peps", "blockdiag", "monarch"]),
    st.sampled_from(["in", "out", "bond", "rank", "cores", "blocks", "bias", "pad_in"]),
    TOKENS,
    st.sampled_from(["out", "in", "bond", "cores", "terms"]),
    TOKENS,
)


def give_spec(text: str, folder: Path) -> None:
    spec = tnl.spec(text) if "in=" in text else tnl.spec(text, 16, 16)
    assert tnl.spec(str(spec)) == spec


def _yaml_texts() -> st.SearchStrategy[str]:
    whole = [
        changed(thing).map(lambda value: yaml.safe_dump(value, allow_unicode=True)) for thing in (SPEC, NETWORK, RECIPE)
    ]
    pieces = st.sampled_from(
        ["a: ", "- ", "&a ", "*a", "[", "]", "{", "}", ", ", "\n", "  ", "<<: ", "!!int ", "!!python/", "'", '"']
    )
    made = st.lists(pieces | ODD_TEXTS | st.text(max_size=4), max_size=40).map("".join)
    repeated = st.builds(
        lambda part, times: part * times, pieces | st.text(min_size=1, max_size=5), st.integers(1, 20_000)
    )
    return st.one_of(*whole, made, repeated)


def give_yaml(text: str, folder: Path) -> None:
    data = text.encode("utf-8", "surrogatepass")
    (folder / "input.yaml").write_bytes(data)
    problems = []
    for reader in (tnl.Spec.from_yaml, lambda _: tnl.load_network(folder / "input.yaml"), lambda _: _config(folder)):
        try:
            reader(text)
        except tnl.TNLayersError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _config(folder: Path) -> TrainConfig:
    return TrainConfig.resolve(folder / "input.yaml", out=folder / "input-runs")


@cache
def _files() -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    """Headers and arrays of a few files."""
    things = [
        tnl.build("mpo(in=4x4, out=4x2, bond=2, bias=true)", backend="numpy", seed=0),
        tnl.build("mpo(in=4x4, out=4x2, bond=2) + lowrank(in=16, out=8, rank=2)", backend="torch", seed=0),
        tnl.nn.TNConv2d(4, 4, 3, network="mpo(bond=2)", seed=0),
        tnl.nn.TNEmbedding(12, 8, padding_idx=1, network="mpo(bond=2)", seed=0),
        tnl.models.build("fc2", network="mpo", seed=0),
    ]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for thing in things:
            tnl.save(thing, Path(folder, "file"))
            metadata, arrays = read(Path(folder, "file"))
            found.append((json.loads(metadata["tnlayers"]), arrays))
    return tuple(found)


def _headers() -> st.SearchStrategy[tuple[int, Any]]:
    return st.one_of(*[st.tuples(st.just(k), changed(header)) for k, (header, _) in enumerate(_files())])


def give_header(given: tuple[int, Any], folder: Path) -> None:
    which, header = given
    write(folder / "input", json.dumps(header), _files()[which][1])
    tnl.load(folder / "input")


def _damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with bits flipped, cut off, doubled, or with others in their middle."""

    def made(places: list[int], cut: int, more: bytes) -> bytes:
        data = bytearray(whole)
        for place in places:
            data[place // 8] ^= 1 << place % 8
        return bytes(data[:cut] + more + data[cut:]) if more else bytes(data[: cut or None])

    places = st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=3)
    return st.builds(
        made, places, st.sampled_from([0, 0, 0, 8, 100, len(whole) // 2]), st.just(b"") | st.binary(max_size=4)
    )


def give_container(data: bytes, folder: Path) -> None:
    (folder / "input").write_bytes(data)
    tnl.load(folder / "input", backend="numpy")


@cache
def _checkpoint() -> bytes:
    row = {
        "epoch": 1,
        "train_loss": 0.5,
        "test_loss": 0.5,
        "test_accuracy": 0.5,
        "lr": 0.1,
        "seconds": 1.0,
        "test_seconds": 1.0,
    }
    buffer = io.BytesIO()
    torch.save(CHECKPOINT | {"history": [row]}, buffer)
    return buffer.getvalue()


CHECKPOINT = {
    "format": 1,
    "fingerprint": {"seed": 0},
    "history": [],
    "random": {"cpu": torch.zeros(1, 16, dtype=torch.uint8)},
    "model": {"a": torch.ones(2, 3)},
    "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
}


def _checkpoints() -> st.SearchStrategy[bytes]:
    def saved(changes: dict[str, Any]) -> bytes:
        buffer = io.BytesIO()
        torch.save(CHECKPOINT | changes, buffer)
        return buffer.getvalue()

    fields = st.dictionaries(st.sampled_from(sorted(CHECKPOINT)), JSON, max_size=2)
    return _damaged(_checkpoint()) | fields.map(saved)


def give_checkpoint(data: bytes, folder: Path) -> None:
    (folder / "input.ckpt").write_bytes(data)
    read_checkpoint(folder / "input.ckpt")


@cache
def _plan() -> dict[str, Any]:
    return json.loads(tnl.plan("mpo(in=4x4, out=4x4, bond=2)", 8).to_json())


def _plans() -> st.SearchStrategy[str]:
    whole = changed(_plan()).map(json.dumps)
    repeated = st.builds(
        lambda part, times: part * times, st.sampled_from(["[", '{"a":', "9", " ", '"']), st.integers(1, 50_000)
    )
    return whole | repeated


def give_plan(text: str, folder: Path) -> None:
    tnl.Plan.from_json(text)


def give_words(words: list[str], folder: Path) -> None:
    """The command line, in this process: exit status 0, 1 or 2, one paragraph, no traceback."""
    from contextlib import redirect_stderr, redirect_stdout

    from tnlayers.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words)
    except SystemExit as end:
        if end.code not in (None, 0, 1, 2):
            raise AssertionError(f"exit status {end.code}") from end
        if end.code == 1 and len(err.getvalue()) > 10_000:
            raise AssertionError(f"{len(err.getvalue())} characters on the error stream") from end
        if end.code:
            raise tnl.TNLayersError(err.getvalue() or "refused") from end
    finally:
        if "explore" in words:  # its page where no file is named, as its help says: asked for
            (folder / "explore.html").unlink(missing_ok=True)


def campaigns() -> dict[str, Campaign]:
    """All campaigns but that of arguments, by name."""
    return {
        "specs": Campaign("spec strings", SPECS, give_spec),
        "yaml": Campaign("YAML of specs, networks and configurations", _yaml_texts(), give_yaml),
        "headers": Campaign("safetensors files with a changed header and a right digest", _headers(), give_header),
        "containers": Campaign(
            "safetensors files with flipped bits, cut off or made longer", _damaged(_saved()), give_container
        ),
        "checkpoints": Campaign("checkpoints with flipped bits and forged fields", _checkpoints(), give_checkpoint),
        "plans": Campaign("plans as JSON", _plans(), give_plan),
        "words": Campaign("words of the command line", st.lists(WORDS, max_size=6), give_words),
    }


@cache
def _saved() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tnl.save(tnl.build("mpo(in=4x4, out=4x2, bond=2, bias=true)", backend="numpy", seed=0), Path(folder, "file"))
        return Path(folder, "file").read_bytes()
