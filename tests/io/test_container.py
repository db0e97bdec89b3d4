"""The container: safetensors both ways, and a save that fails."""

import numpy as np
import pytest
import safetensors.numpy

import tnlayers as tnl
from tnlayers.io.container import Stored, digest, read, write


def test_our_files_are_safetensors_and_theirs_are_read(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.standard_normal((3, 4)),
        "a.c": rng.integers(0, 9, (2,), np.int64),
        "e": np.zeros((0, 3), np.float16),
        "d": rng.standard_normal(()).astype(np.float32),
        "f": np.array([True, False, True]),
    }
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    stored = {name: Stored(dtype=str(a.dtype), shape=a.shape, data=a.tobytes()) for name, a in arrays.items()}
    write(ours, "text", stored)
    for name, array in safetensors.numpy.load_file(ours).items():
        assert (array.dtype, array.shape) == (arrays[name].dtype, arrays[name].shape)
        assert array.tobytes() == arrays[name].tobytes()
    with safetensors.safe_open(ours, framework="np") as file:
        assert file.metadata() == {"tnlayers": "text", "sha256": digest("text", stored)}
    safetensors.numpy.save_file(arrays, theirs, metadata={"k": "v"})
    metadata, found = read(theirs)
    assert metadata == {"k": "v"}
    assert {name: (a.dtype, a.shape, bytes(a.data)) for name, a in found.items()} == {
        name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()
    }


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    tnl.save(tnl.build("mpo(in=4, out=4)", backend="numpy"), path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(tnl.TNLayersError, match="No space left"):
        tnl.save(tnl.build("mpo(in=4, out=5)", backend="numpy"), path)
    assert path.read_bytes() == before
