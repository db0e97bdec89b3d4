"""Refusals of training that no other file of tests raises: checkpoints, recipes, tokens, devices, trained texts."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import tnlayers as tnl
from tnlayers.train import TrainConfig, launch, shakespeare, tokens
from tnlayers.train.archive import load
from tnlayers.train.checkpoint import read
from tnlayers.train.idx import read_bytes
from tnlayers.train.recipe import Recipe
from tnlayers.train.text import load_text
from tnlayers.train.trained_texts import _read

PLAIN = {"epochs": 1, "batch": 1, "lr": 1.0}


def archived(path, pickled, **records):
    """An archive as torch.save makes them, with these bytes for its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for name, data in records.items():
            archive.writestr(f"a/{name}", data)
    return path


def test_a_flipped_bit_of_a_member_is_named(tmp_path):
    path = archived(tmp_path / "a.ckpt", pickle.dumps(3, 2), version=b"3 is the version")
    assert load(path) == 3
    path.write_bytes(path.read_bytes().replace(b"3 is the", b"4 is the"))
    with pytest.raises(tnl.TNLayersError, match="wrong checksum of a/version"):
        read(path)


def test_the_other_order_of_bytes_is_refused(tmp_path):
    assert load(archived(tmp_path / "a.ckpt", pickle.dumps(3, 2), byteorder=b"little")) == 3
    with pytest.raises(tnl.TNLayersError, match="in an order other than little-endian"):
        read(archived(tmp_path / "b.ckpt", pickle.dumps(3, 2), byteorder=b"big"))


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (pickle.dumps(b"text", 3), "its pickle has the instruction SHORT_BINBYTES"),
        (pickle.dumps(json.dumps, 2), "its pickle asks for json.dumps"),
        (b"\x80\x02}r\xff\xff\x00\x00.", "its pickle puts value 65535 after 3 instructions"),
        (b"\x80\x02\x8a\x20" + b"\x01" * 32 + b".", "its pickle has an integer of more than"),
    ],
    ids=["instruction", "class", "memo", "integer"],
)
def test_a_refused_pickle_says_why(tmp_path, pickled, words):
    with pytest.raises(tnl.TNLayersError, match=words):
        read(archived(tmp_path / "a.ckpt", pickled))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight_decay": 0.1}, "weight_decay is for optimizer adamw; sgd has l2"),
        ({"optimizer": "adamw", "l2": 0.1}, "nesterov and l2 are for optimizer sgd"),
        ({"nesterov": True}, "nesterov needs momentum above 0"),
        ({"warmup": 0.6, "cooldown": 0.6}, "add up to more than 1"),
    ],
)
def test_settings_that_do_not_go_together(change, words):
    Recipe(**PLAIN)
    with pytest.raises(ValidationError, match=words):
        Recipe(**PLAIN, **change)


def test_a_device_that_is_not_there():
    config = TrainConfig.resolve(None, model="fc2", accelerator="cpu", devices="0,1")
    with pytest.raises(tnl.TNLayersError, match=r"accelerator='cpu', devices='0,1', .* cannot be used here: "):
        launch.launch(config)


@pytest.mark.filterwarnings("ignore:.*16")
def test_a_precision_that_fabric_would_replace():
    config = TrainConfig.resolve(None, model="fc2", accelerator="cpu", precision="16-mixed")
    with pytest.raises(
        tnl.TNLayersError, match=r"precision='16-mixed' .*is not possible on cpu; nearest is .bf16-mixed."
    ):
        launch.launch(config)


@pytest.mark.parametrize("form", ["words", "bpe", "bpe-", "bpe-x", "", "Characters"])
def test_a_form_of_tokens_that_is_none(form):
    with pytest.raises(tnl.TNLayersError, match=f"tokens='{form}' must be characters, or bpe-N"):
        tokens.learn_tokens(form, "abc", "abc")


@pytest.mark.parametrize("text", ['{"kind": "bpe", "tokenizer": "{}"}', '{"kind": "bpe", "tokenizer": "no JSON"}'])
def test_byte_pairs_that_are_none(text):
    pytest.importorskip("tokenizers")
    with pytest.raises(tnl.TNLayersError, match="The tokens are no byte pairs: "):
        tokens.tokens_from_json(text)


@pytest.mark.parametrize("text", ['{"kind": "characters", "symbols": "ba"}', '{"kind": "bpe"}', "[]", '{"kind": 3}'])
def test_tokens_that_are_something_else(text):
    with pytest.raises(tnl.TNLayersError, match="neither sorted characters nor byte pairs"):
        tokens.tokens_from_json(text)


def test_a_file_of_a_model_that_writes_no_text(tmp_path):
    file, layer = tmp_path / "a.safetensors", tnl.nn.TNLinear(4, 4, network="mpo(bond=2)", seed=0)
    tnl.save(layer, file)
    with pytest.raises(tnl.TNLayersError, match="does not say what its tokens are"):
        _read("mpo", file)
    tnl.save(layer, file, info={"tokens": tokens.Characters("abc").to_json()})
    with pytest.raises(tnl.TNLayersError, match="holds TNLinear beside 3 tokens: the model of these tokens is a GPT"):
        _read("mpo", file)
    gpt = tnl.models.gpt(width=8, depth=1, heads=2, context=4, vocabulary=5, seed=0)
    tnl.save(gpt, file, info={"tokens": tokens.Characters("abc").to_json()})
    with pytest.raises(tnl.TNLayersError, match="beside 3 tokens"):
        _read("dense", file)


def test_a_checkpoint_that_is_no_table(tmp_path):
    torch.save([1, 2], tmp_path / "a.ckpt")
    with pytest.raises(tnl.TNLayersError, match="it holds a list, no table"):
        read(tmp_path / "a.ckpt")
    torch.save({"format": 1}, tmp_path / "a.ckpt")
    with pytest.raises(tnl.TNLayersError, match="it lacks "):
        read(tmp_path / "a.ckpt")


class Stored:
    """What a pickle of torch calls a storage, with this in its place."""

    def __init__(self, *persistent):
        self.persistent = persistent


def pickled(*persistent):
    """A pickle of a tensor of four numbers whose storage is referred to by these."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.persistent_id = lambda thing: thing.persistent if isinstance(thing, Stored) else None
    pickler.dump(Stored(*persistent))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("persistent", "words"),
    [
        (("file", "float32", "0", "cpu", 4), "its pickle refers to something that is no storage"),
        (("storage", "float32", "0", "cpu", 4), "its pickle refers to something that is no storage"),
    ],
)
def test_a_reference_to_something_else(tmp_path, persistent, words):
    path = archived(tmp_path / "a.ckpt", pickled(*persistent), **{"data/0": bytes(16)})
    with pytest.raises(tnl.TNLayersError, match=words):
        read(path)


def test_a_storage_of_another_length(tmp_path):
    torch.save({"a": torch.ones(4)}, tmp_path / "a.ckpt")
    assert load(tmp_path / "a.ckpt")["a"].tolist() == [1.0] * 4
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.ckpt", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:8] if name.endswith("data/0") else data)
    with pytest.raises(tnl.TNLayersError, match=r"storage 0 has 2 entries of torch\.float32"):
        read(tmp_path / "b.ckpt")


@pytest.mark.parametrize("reads", [lambda path: read_bytes(path), lambda path: load_text("shakespeare", root=path)])
def test_data_that_cannot_be_read(tmp_path, monkeypatch, reads):
    (tmp_path / "tinyshakespeare").mkdir()
    place = tmp_path / "tinyshakespeare" / "input.txt"
    place.write_bytes(bytes(shakespeare.BYTES))

    def refused(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(tnl.TNLayersError, match=r"Cannot read .*Permission denied\."):
        reads(tmp_path)
