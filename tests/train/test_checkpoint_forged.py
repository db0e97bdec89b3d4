"""Checkpoints that were damaged or made to lie: the word "damaged", in no time and little memory, and nothing runs."""

import io
import os
import pickle
import resource
import struct
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from promptly import assert_prompt

from tnlayers.errors import TNLayersError
from tnlayers.train.checkpoint import read
from tnlayers.train.recipe import Recipe

SECONDS = 2
ROW = {"epoch": 1, "train_loss": 0.5, "test_loss": 0.5, "test_accuracy": 0.5, "lr": 0.1, "seconds": 1.0}
CONTENT = {
    "format": 1,
    "fingerprint": {"seed": 0, "lr": 0.1, "network": "mpo"},
    "history": [ROW | {"test_seconds": 0.1}],
    "random": {"cpu": torch.arange(16, dtype=torch.uint8).reshape(1, 16)},
    "model": {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.empty(0)},
    "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "a.ckpt"
    torch.save(CONTENT, path)
    return path, path.read_bytes()


def test_what_was_saved_is_read(place):
    path, whole = place
    path.write_bytes(whole)
    found, theirs = read(path), torch.load(path, weights_only=True)
    assert found.keys() == theirs.keys()
    for name, tensor in CONTENT["model"].items():
        assert torch.equal(found["model"][name], tensor)
        assert found["model"][name].dtype == tensor.dtype
    assert found["history"] == theirs["history"]


@given(st.data())
def test_every_flipped_bit_is_damage_or_makes_no_difference(place, data):
    path, whole = place
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    path.write_bytes(flipped)
    try:
        found = read(path)
    except TNLayersError:
        return
    # A bit of the archive's own fields, such as a date.
    assert torch.equal(found["model"]["a"], CONTENT["model"]["a"])
    assert found["history"] == CONTENT["history"]


@pytest.mark.parametrize(
    "change",
    [
        {"history": 5},
        {"history": [5]},
        {"history": [{}]},
        {"history": [ROW]},
        {"history": [ROW | {"test_seconds": "x"}]},
        {"history": [ROW | {"test_seconds": 0.1, "epoch": 7}]},
        {"history": [ROW | {"test_seconds": 0.1, "more": 1}]},
        {"fingerprint": 3},
        {"fingerprint": {"seed": [0]}},
        {"format": "1"},
        {"format": True},
        {"random": None},
        {"model": []},
        {"optimizer": 0},
    ],
    ids=str,
)
def test_forged_fields(place, change):
    path, _ = place
    torch.save(CONTENT | change, path)
    with pytest.raises(TNLayersError, match="is damaged or not a checkpoint"):
        read(path)


class Calls:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def archive(path, pickled, compressed=False, records=()):
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("a/data.pkl", pickled)
        for name, content in records:
            file.writestr(f"a/{name}", content)


def dumped(thing):
    return pickle.dumps(thing, protocol=2)


def tensor_of(size, stride=(1,), storage="FloatStorage", entries=1):
    """A pickle of a tensor that says that it has such a shape, on a storage of one entry."""
    text = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n" + storage.encode() + b"\n"
    text += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + dumped(entries)[2:-1] + b"tQK\x00" + dumped(size)[2:-1]
    return text + dumped(stride)[2:-1] + b"\x89NtR."


BOMBS = {
    "a function": dumped(Calls(print, "executed")),
    "a bytearray of 64 GB": b"\x80\x05\x96" + (2**36).to_bytes(8, "little") + b".",
    "a call for 64 GB": dumped(Calls(bytearray, 2**36)),
    "a storage of 64 GB": b"\x80\x02ctorch\nFloatStorage\n" + dumped(2**36)[2:-1] + b"\x85R.",
    "an untyped storage": b"\x80\x02ctorch.storage\nUntypedStorage\n" + dumped(2**36)[2:-1] + b"\x85R.",
    "a memo of 64 GB": b"\x80\x02Nr" + (2**31 - 1).to_bytes(4, "little") + b".",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a tensor of 64 GB": tensor_of((2**34,)),
    "a tensor of one entry many times": tensor_of((2**34,), (0,)),
    "a tensor outside": tensor_of((1,), (1,)).replace(b"K\x00", b"K\x09"),
    "a negative size": tensor_of((-1,)),
    "a storage of more than it has": tensor_of((1,), entries=2**34),
    "no pickle": b"nonsense",
    "nothing": b"",
    "a tensor again and again": tensor_of((1,))[:-1] + b"q\x00" + b"h\x00" * 3_000_000 + b".",
    "tensors of one storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00"
    + tensor_of((1,))[36:-2]
    + b"q\x01"
    + b"h\x00h\x01R" * 600_000
    + b".",
    "keys of one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x14" + (k * (2**61 - 1)).to_bytes(20, "little") + b"N" for k in range(1, 100_000))
    + b"u.",
    "three million lists": b"\x80\x02(" + b"]" * 3_000_000 + b"t.",
    "a tower": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_pickles_that_ask_for_much_get_nothing(tmp_path, capsys, bomb):
    path = tmp_path / "a.ckpt"
    archive(path, BOMBS[bomb], records=[("data/0", b"\0\0\0\0")])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def refused():
        with pytest.raises(TNLayersError, match="is damaged or not a checkpoint"):
            read(path)

    assert_prompt(refused, SECONDS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert capsys.readouterr() == ("", "")


def test_what_these_pickles_are_made_of_is_read(tmp_path):
    """Their one tensor that fits is read, so that the refusals above are of what they say."""
    from tnlayers.train.archive import load

    archive(tmp_path / "a.ckpt", tensor_of((1,)), records=[("data/0", b"\0\0\x80?")])
    assert torch.equal(load(tmp_path / "a.ckpt"), torch.ones(1))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "a.ckpt"
    archive(path, dumped(3), compressed=True, records=[("data/0", bytes(2**26))])
    with pytest.raises(TNLayersError, match="compressed members"):
        read(path)
    overlapping = io.BytesIO()
    archive(overlapping, dumped(3), records=[("data/0", bytes(100))])
    path.write_bytes(overlapping.getvalue().replace((100).to_bytes(4, "little"), (2**31).to_bytes(4, "little")))
    with pytest.raises(TNLayersError, match="is damaged or not a checkpoint"):
        read(path)


def with_fields(place, **changes):
    """The archive of a checkpoint whose table of members says something else of its first member."""
    _, whole = place
    at = {"compressed": 20, "size": 24, "offset": 42}
    changed = bytearray(whole)
    start = changed.index(b"PK\x01\x02")
    for name, value in changes.items():
        struct.pack_into("<I", changed, start + at[name], value)
    return bytes(changed)


ARCHIVES = {
    "a member of 4 GB": lambda place: with_fields(place, size=2**32 - 2, compressed=2**32 - 2),
    "a member that inflates": lambda place: with_fields(place, size=2**32 - 2),
    "a member elsewhere": lambda place: with_fields(place, offset=7),
    "a member of 2^64 bytes": lambda place: with_fields(place, size=2**32 - 1, compressed=2**32 - 1),
    "members beyond number": lambda place: b"PK\x01\x02" + bytes(42) * 2_000_000,
    "one member many times": lambda place: repeated(place, 60_000),
    "some members many times": lambda place: repeated(place, 15_000),
    "an archive of nothing": lambda place: b"PK\x05\x06" + bytes(18),
    "a table of 4 GB": lambda place: b"PK\x05\x06" + b"\0" * 8 + b"\xfe\xff\xff\xff" + bytes(6),
}


def repeated(place, count):
    """An archive whose table has an entry for one small member again and again."""
    stream = io.BytesIO()
    archive(stream, dumped(3))
    data = stream.getvalue()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    size = (end - start) * count
    return data[:start] + data[start:end] * count + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size, start, 0)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_say_what_they_do_not_hold_are_refused_at_once(place, tmp_path, kind):
    path = tmp_path / "a.ckpt"
    path.write_bytes(ARCHIVES[kind](place))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def refused():
        with pytest.raises(TNLayersError, match="is damaged or not a checkpoint"):
            read(path)

    assert_prompt(refused, SECONDS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.ckpt")
    with pytest.raises(TNLayersError, match="no regular file"):
        read(tmp_path / "a.ckpt")


def test_the_longest_history_that_a_recipe_allows_is_read(tmp_path):
    (most,) = [bound.le for bound in Recipe.model_fields["epochs"].metadata if hasattr(bound, "le")]
    rows = [ROW | {"epoch": epoch, "test_seconds": 0.1, "train_loss": 1 / epoch} for epoch in range(1, most + 1)]
    torch.save(CONTENT | {"history": rows}, tmp_path / "a.ckpt")
    assert read(tmp_path / "a.ckpt")["history"] == rows
