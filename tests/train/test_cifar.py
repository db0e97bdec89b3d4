"""CIFAR-10's files: plain, packed, in the archive, damaged, cut; the cache; the real set where it lies."""

import hashlib
import io
import lzma
import os
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest

from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files import atomic
from tnlayers.train import cifar, load

NAMES = ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TNLAYERS_DATA", raising=False)
    return tmp_path / "cache" / cifar.FOLDER


@pytest.fixture
def records():
    """Three files of two records each."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 256, (3, 2, cifar.RECORD), dtype=np.uint8)
    found[:, :, 0] %= 10
    return found


@pytest.fixture
def files(records):
    return tuple(
        cifar.BatchFile(name=name, md5=hashlib.md5(record.tobytes()).hexdigest(), records=2)
        for name, record in zip(NAMES, records, strict=True)
    )


@pytest.fixture
def packed(tmp_path, records):
    folder = tmp_path / "data" / cifar.FOLDER
    folder.mkdir(parents=True)
    for name, record in zip(NAMES, records, strict=True):
        (folder / f"{name}.xz").write_bytes(lzma.compress(record.tobytes()))
    return folder


def assert_is(read, records):
    images, labels, test_images, test_labels = read
    assert images.shape == (4, 3, 32, 32)
    assert np.array_equal(images.reshape(4, -1), records[:2, :, 1:].reshape(4, -1))
    assert np.array_equal(labels, records[:2, :, 0].ravel())
    assert np.array_equal(test_images[1, 2, 31], records[2, 1, -32:])  # blue, last row
    assert np.array_equal(test_labels, records[2, :, 0])


@pytest.mark.parametrize("below", ["", cifar.FOLDER])
def test_packed_files_are_unpacked_once(packed, files, records, cache, monkeypatch, below):
    root = packed.parent / below
    assert_is(cifar.read(root, files=files), records)
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)
    monkeypatch.setattr(lzma, "decompress", lambda _: pytest.fail("unpacked twice"))
    assert_is(cifar.read(root, files=files), records)
    with pytest.raises(AssertionError):
        assert_is(cifar.read(root, files=files), records + np.uint8(1))


def test_plain_files_are_read_as_they_lie(packed, files, records, cache):
    for path in list(packed.iterdir()):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    assert_is(cifar.read(packed, files=files), records)
    assert not cache.exists()


def test_a_cache_that_was_damaged_is_made_again(packed, files, records, cache):
    cifar.read(packed, files=files)
    whole = (cache / NAMES[0]).read_bytes()
    for content in (whole[:-1], b"", bytes([whole[0] ^ 1]) + whole[1:]):
        (cache / NAMES[0]).write_bytes(content)
        assert_is(cifar.read(packed, files=files), records)
        assert (cache / NAMES[0]).read_bytes() == whole


def test_a_kill_while_the_cache_is_written_leaves_nothing_wrong(packed, files, records, cache, monkeypatch):
    """A process that is interrupted leaves nothing, a killed one the file beside, half written; it is never read."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cifar.read(packed, files=files)
    assert list(cache.iterdir()) == []
    (cache / f".{NAMES[0]}.partial").write_bytes(b"half")
    monkeypatch.undo()
    os.environ["TNLAYERS_CACHE"] = str(cache.parent)
    assert_is(cifar.read(packed, files=files), records)
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)
    del os.environ["TNLAYERS_CACHE"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda content: content[:100], ("not whole xz data", "100 bytes")),
        (lambda content: lzma.compress(lzma.decompress(content)[:-1]), ("6145 bytes", "expected 6146")),
        (lambda content: lzma.compress(b"\1" + lzma.decompress(content)[1:]), ("MD5", "damaged or another file")),
    ],
)
def test_damaged_files_are_refused(packed, files, cache, change, parts):
    path = packed / f"{NAMES[1]}.xz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TNLayersError) as refusal:
        cifar.read(packed, files=files)
    for part in (str(path), "Delete it", *parts):
        assert part in str(refusal.value)
    assert not (cache / NAMES[1]).exists()


def test_missing_files_are_refused(packed, files, tmp_path):
    (packed / f"{NAMES[2]}.xz").unlink()
    with pytest.raises(TNLayersError, match=rf"{NAMES[2]}\.xz is missing.*{files[2].md5}"):
        cifar.read(packed, files=files)
    with pytest.raises(TNLayersError, match="No CIFAR-10 files under") as refusal:
        load("cifar10", root=tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere" / cifar.FOLDER) in str(refusal.value)


def test_a_cache_without_room_is_told(packed, files, records, cache):
    cache.mkdir(parents=True)
    (cache / f".{NAMES[0]}.partial").symlink_to("/dev/full")
    with pytest.warns(TNLayersWarning, match=r"No space left on device.*TNLAYERS_CACHE"):
        found = cifar.read(packed, files=files)
    assert_is(found, records)


def test_without_a_folder_the_archive_is_fetched(records, files, cache, tmp_path, monkeypatch):
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        for name, record in zip(NAMES, records, strict=True):
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = record.nbytes
            target.addfile(member, io.BytesIO(record.tobytes()))
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        return str(archive)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert_is(cifar.read(files=files), records)
    assert set(asked) == {(cifar.URL, cifar.ARCHIVE_HASH)}
    assert_is(cifar.read(files=files), records)
    assert len(asked) == 3  # the second time everything is in the cache


def test_failed_download_says_what_to_do(monkeypatch):
    def retrieve(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(TNLayersError, match=r"no route to host.*TNLAYERS_DATA=D"):
        load("cifar10")


def test_real_cifar_where_it_lies(monkeypatch):
    monkeypatch.undo()
    root = os.environ.get("TNLAYERS_DATA")
    if not root or not any(Path(root).glob(f"**/{cifar.FOLDER}")):
        pytest.skip("TNLAYERS_DATA does not lead to CIFAR-10")
    dataset = load("cifar10")
    assert np.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    red = dataset.train.images[:, 0].reshape(-1)
    assert np.bincount(red, minlength=256) @ np.arange(256) / red.size / 255 == pytest.approx(0.49139968, abs=1e-8)
