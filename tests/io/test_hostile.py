"""Files that are cut off, damaged or made to do harm: a clear refusal, or what was saved; never anything else."""

import pickle
import struct
import sys

import pytest
import torch
from damaged import load_or_refusal, raw
from hypothesis import given
from hypothesis import strategies as st

import tnlayers as tnl
from tnlayers.io.container import HEADER_LIMIT


def assert_refused_or_same(data, small):
    _, arrays, folder = small
    found = load_or_refusal(data, folder)
    if found is not None:
        assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in arrays.items()}
    return found is None


def test_every_byte_flipped(small):
    """Each position of the file, by one bit and by all bits: only blanks between the parts of the header may pass."""
    data = small[0]
    passed = []
    for position in range(len(data)):
        for mask in (1 << position % 8, 0xFF):
            changed = bytearray(data)
            changed[position] ^= mask
            if not assert_refused_or_same(changed, small):
                passed.append(position)
    assert not [position for position in passed if data[position : position + 1] != b" "]


@given(st.data())
def test_anything_written_anywhere(small, data):
    position = data.draw(st.integers(0, len(small[0])))
    assert_refused_or_same(
        small[0][:position] + data.draw(st.binary(max_size=40)) + small[0][position + data.draw(st.integers(0, 40)) :],
        small,
    )


def test_every_length_cut_off_or_too_long(small):
    data = small[0]
    assert all(assert_refused_or_same(data[:length], small) for length in range(len(data)))
    assert assert_refused_or_same(data + b"\0", small)
    assert not assert_refused_or_same(data, small)


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "it has 0 bytes"),
        (b"1234567", "it has 7 bytes"),
        (struct.pack("<Q", 2**60) + b"{}", rf"says that {2**60} of them are its header \(at most {HEADER_LIMIT}"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "are its header"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no safetensors file"),
        (raw(b"not json"), "its header is damaged"),
        (raw(b"\xff\xfe{}"), "its header is damaged"),
        (raw(b"[1, 2]"), "no JSON object"),
        (raw(b"[" * 100_000), "nested too deeply"),
        (raw(b'{"a": NaN}'), "NaN is no JSON number"),
        (raw(b'{"a": ' + b"9" * 5000 + b"}"), "its header is damaged"),
        (raw(b'{"a": 1, "a": 2}'), "is there twice"),
        (raw({"a": 1}), "does not have dtype, shape and data_offsets"),
        (raw({"a": ENTRY | {"dtype": "F7"}}, bytes(4)), "has dtype 'F7'"),
        (raw({"a": ENTRY | {"dtype": []}}, bytes(4)), "has dtype"),
        (raw({"a": ENTRY | {"shape": [-1]}}, bytes(4)), "no usable shape"),
        (raw({"a": ENTRY | {"shape": [1.0]}}, bytes(4)), "no usable shape"),
        (raw({"a": ENTRY | {"shape": [True]}}, bytes(4)), "no usable shape"),
        (raw({"a": ENTRY | {"shape": [1] * 65}}, bytes(4)), "no usable shape"),
        (raw({"a": ENTRY | {"shape": [2**62, 2**62]}}, bytes(4)), "cannot take bytes 0 to 4"),
        (raw({"a": ENTRY | {"data_offsets": [0]}}, bytes(4)), "no usable data_offsets"),
        (raw({"a": ENTRY, "b": ENTRY}, bytes(4)), "do not fill its 4 bytes"),
        (raw({"a": ENTRY | {"data_offsets": [4, 8]}}, bytes(8)), "do not fill its 8 bytes"),
        (raw({"a": ENTRY, "b": ENTRY | {"data_offsets": [4, 8]}}, bytes(12)), "do not fill its 12 bytes"),
        (raw({"a": ENTRY, "__metadata__": {"x": 1}}, bytes(4)), "not a table of texts"),
        (raw({"a": ENTRY}, bytes(4)), "not one of tnlayers; see tnl.io"),
        (raw({"../../etc/passwd": ENTRY}, bytes(4)), "'../../etc/passwd' cannot be the name of an array"),
        (raw({"__class__": ENTRY}, bytes(4)), "'__class__' cannot be the name"),
        (raw({"fc1.__init__": ENTRY}, bytes(4)), "cannot be the name"),
        (raw({"": ENTRY}, bytes(4)), "cannot be the name"),
    ],
)
def test_what_is_no_file_of_ours(tmp_path, data, part):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(tnl.TNLayersError, match=part) as refusal:
        tnl.load(path)
    assert str(path) in str(refusal.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(tnl.TNLayersError, match="there is no such file"):
        tnl.load(tmp_path / "missing")
    with pytest.raises(tnl.TNLayersError, match="it is a folder or a device"):
        tnl.load(tmp_path)
    with pytest.raises(tnl.TNLayersError, match=r"Cannot write .*No such file or directory.*folder that exists"):
        tnl.save(tnl.build("mpo(in=4, out=4)", backend="numpy"), tmp_path / "missing" / "file")


class Bomb:
    """Unpickled, it would end this interpreter."""

    def __reduce__(self):
        return sys.exit, (3,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_not_run(tmp_path, protocol):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    with pytest.raises(tnl.TNLayersError, match="is a pickle" if protocol > 1 else "no safetensors file"):
        tnl.load(path)
    torch.save(Bomb(), path)
    with pytest.raises(tnl.TNLayersError, match="is a pickle or an archive of torch"):
        tnl.load(path)
