"""Data sets: the IDX reader on made-up files, whole and damaged; MNIST's layouts and refusals; the real digits."""

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest

from tnlayers.errors import TNLayersError
from tnlayers.train import data, idx, load, mnist


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def small(tmp_path):
    """Two images and two labels in torchvision's layout, with the table that describes them."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    arrays = [np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8), np.array([3, 1], np.uint8)]
    files = []
    for name, array in zip(("images-idx3-ubyte", "labels-idx1-ubyte"), arrays, strict=True):
        content = idx_bytes(array)
        packed = gzip.compress(content, mtime=0)
        (raw / f"{name}.gz").write_bytes(packed)
        files.append(mnist.RawFile(name=name, shape=array.shape, md5_packed=md5(packed), md5_unpacked=md5(content)))
    return tmp_path, raw, replace(mnist.MNIST, files=tuple(files)), arrays


def same(read, expected):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(read, expected, strict=True))


@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_reads_every_layout(small, below):
    root, _, small_set, arrays = small
    read = mnist.read(root / below, collection=small_set)
    assert same(read, arrays)
    assert not same(read, [arrays[0] + np.uint8(1), arrays[1]])


def test_reads_unpacked_files_and_the_environment(small, monkeypatch):
    root, raw, small_set, arrays = small
    for path in list(raw.iterdir()):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    monkeypatch.setenv("TNLAYERS_DATA", str(root))
    assert same(mnist.read(collection=small_set), arrays)


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", ""])
def test_fashion_mnist_is_read_by_the_same_reader(small, tmp_path, folder):
    """In torchvision's layout, in Debian's, and where the files lie."""
    _, raw, small_set, arrays = small
    fashion = replace(mnist.FASHION_MNIST, files=small_set.files)
    root = tmp_path / "elsewhere"
    (root / folder).mkdir(parents=True)
    with pytest.raises(TNLayersError, match=r"No Fashion-MNIST files under .*elsewhere"):
        mnist.read(root, collection=fashion)
    for path in raw.iterdir():
        (root / folder / path.name).write_bytes(path.read_bytes())
    assert same(mnist.read(root, collection=fashion), arrays)


def test_missing_file_names_path_and_md5(small):
    root, raw, small_set, _ = small
    (raw / "labels-idx1-ubyte.gz").unlink()
    with pytest.raises(TNLayersError) as refusal:
        mnist.read(root, collection=small_set)
    assert str(raw / "labels-idx1-ubyte.gz") in str(refusal.value)
    assert small_set.files[1].md5_packed in str(refusal.value)


def test_empty_folder_is_refused_and_stays_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("TNLAYERS_DATA", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("must not download"))
    with pytest.raises(TNLayersError, match="unset TNLAYERS_DATA") as refusal:
        load("mnist")
    assert str(tmp_path / "MNIST" / "raw") in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_file_names_both_md5s(small, packed):
    """Packed anew it is the same file, as its content is; with one bit of that changed it is not."""
    root, raw, small_set, arrays = small
    path = raw / "images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    path.unlink()
    target = path if packed else raw / path.stem
    pack = (lambda found: gzip.compress(found, 1)) if packed else bytes
    target.write_bytes(pack(content))
    assert same(mnist.read(root, collection=small_set), arrays)
    content[len(content) // 2] ^= 1
    target.write_bytes(pack(content))
    with pytest.raises(TNLayersError) as refusal:
        mnist.read(root, collection=small_set)
    for part in (str(target), small_set.files[0].md5_unpacked, md5(bytes(content)), f"{len(content)} bytes"):
        assert part in str(refusal.value)


@pytest.mark.parametrize("kept", [5, 12, 100])
def test_truncated_gzip_is_refused(small, kept):
    _, raw, _, _ = small
    path = raw / "images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TNLayersError, match=rf"{kept} bytes"):
        idx.read_bytes(path)


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        (b"\0\0\x08\x03" + struct.pack(">I", 2), ("8 bytes", "0x00000803", "16")),
        (b"\0\0\x0d\x01" + struct.pack(">I", 2) + b"ab", ("0x00000d01", "0x00000801")),
        (b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abc", ("states sizes 3", "expected 2")),
        (b"\0\0\x08\x01" + struct.pack(">I", 2) + b"a", ("2 bytes", "holds 1")),
        (b"\0\0\x08\x01" + struct.pack(">I", 2) + b"abc", ("2 bytes", "holds 3")),
        (b"", ("0 bytes",)),
    ],
)
def test_wrong_idx_is_refused(content, numbers):
    shape = (2, 28, 28) if "16" in numbers else (2,)
    with pytest.raises(TNLayersError) as refusal:
        idx.parse(content, shape=shape, source="the-file")
    for part in ("the-file", *numbers):
        assert part in str(refusal.value)


def test_without_a_folder_files_are_fetched_and_checked(small, monkeypatch):
    _, raw, small_set, arrays = small
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        if "ossci" in url:
            raise OSError("no route")
        return str(raw / fname)

    monkeypatch.delenv("TNLAYERS_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert same(mnist.read(collection=small_set), arrays)
    assert asked[1] == (f"{mnist.MNIST.mirrors[1]}images-idx3-ubyte.gz", f"md5:{small_set.files[0].md5_packed}")


def test_failed_download_says_what_to_do(monkeypatch):
    def retrieve(*_, **__):
        raise OSError("no route to host")

    monkeypatch.delenv("TNLAYERS_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(TNLayersError, match=r"no route to host.*TNLAYERS_DATA=D"):
        load("mnist")


def test_bytes_are_scaled_to_one():
    part = data.from_bytes(np.full((1, 28, 28), 255, np.uint8), np.array([9], np.uint8))
    assert part.images.shape == (1, 1, 28, 28)
    assert part.images.dtype == np.float32
    assert part.labels.dtype == np.int64
    assert part.images.max() == 1.0


def test_parts_refuse_what_does_not_fit():
    with pytest.raises(TNLayersError, match=r"\(2, 1, 28, 28\)"):
        data.Part(images=np.zeros((3, 1, 28, 28), np.float32), labels=np.zeros(2, np.int64))
    with pytest.raises(TNLayersError, match=r"0\.\.9"):
        data.Part(images=np.zeros((1, 1, 28, 28), np.float32), labels=np.full(1, 10))


def test_digits():
    from sklearn import datasets

    digits = load("digits")
    assert digits.train.images.shape == (1352, 1, 28, 28)
    assert digits.test.images.shape == (445, 1, 28, 28)
    for part in (digits.train, digits.test):
        assert part.images.dtype == np.float32
        assert part.images.min() == 0.0
        assert 0.9 < part.images.max() <= 1.0
        share = np.bincount(part.labels, minlength=10) / len(part)
        assert np.abs(share - 0.1).max() < 0.005  # every digit about as often, in both parts
        assert part.images[:, :, :2].sum() + part.images[..., -2:].sum() == 0.0  # the frame
    raw = datasets.load_digits()
    middle = digits.train.images[0, 0, 2:26, 2:26].reshape(8, 3, 8, 3)[:, 1, :, 1]
    np.testing.assert_allclose(middle, raw.images[0] / 16, atol=1e-6)  # pixel centres are kept
    assert len(np.unique(np.concatenate([digits.train.images, digits.test.images]), axis=0)) == len(
        np.unique(raw.images, axis=0)
    )


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        TNLayersError, match=r"'minst' is unknown\. Known: digits, mnist, fashion-mnist, cifar10\. Did you mean 'mnist'"
    ):
        load("minst")


def test_real_mnist_where_it_lies(monkeypatch):
    import os

    root = os.environ.get("TNLAYERS_DATA")
    if not root or not any(Path(root).glob("**/t10k-labels-idx1-ubyte*")):
        pytest.skip("TNLAYERS_DATA does not lead to MNIST")
    digits = load("mnist")
    assert np.bincount(digits.train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(digits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
