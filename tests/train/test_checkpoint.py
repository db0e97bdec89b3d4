"""Checkpoints: resuming gives the same bits, files are whole, and what does not fit is refused."""

import os
import zipfile

import pytest
import torch

from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import replacing, write_text
from tnlayers.train import state as state_module
from tnlayers.train.average import WeightAverage
from tnlayers.train.checkpoint import Checkpoint, read
from tnlayers.train.history import without_times
from tnlayers.train.loop import fit
from tnlayers.train.progress import Silent
from tnlayers.train.recipe import Recipe

RECIPE = Recipe(epochs=4, batch=20, lr=0.1, lr_decay_per_epoch=0.8, momentum=0.9, l2=1e-3, average=0.95, augment=True)


def run(fabric, model, data, path, *, epochs=4, seed=0, every_seconds=0.0, keep=1):
    checkpoint = Checkpoint(path=path, fingerprint={"seed": seed, "lr": 0.1}, every_seconds=every_seconds, keep=keep)
    recipe = RECIPE.model_copy(update={"epochs": epochs})
    return fit(fabric, model, data, recipe, seed=seed, label="", checkpoint=checkpoint, progress=Silent())


def assert_same(history, other_history, model, other_model):
    assert without_times(history) == without_times(other_history)
    for weight, other in zip(model.parameters(), other_model.parameters(), strict=True):
        assert torch.equal(weight, other)


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resuming_gives_the_same_bits(fabric, small_data, small_model, tmp_path, stop):
    """The model drops out at random, the optimizer has momentum, weights are averaged, images are moved about."""
    whole_model, model, other_model = small_model(), small_model(), small_model()
    whole = run(fabric, whole_model, small_data, tmp_path / "whole.ckpt")
    run(fabric, small_model(), small_data, tmp_path / "broken.ckpt", epochs=stop)
    torch.rand(1000)  # what another program does in between must not matter
    resumed = run(fabric, model, small_data, tmp_path / "broken.ckpt")
    assert_same(resumed, whole, model, whole_model)
    other = run(fabric, other_model, small_data, tmp_path / "other.ckpt", seed=1)
    with pytest.raises(AssertionError):
        assert_same(other, whole, other_model, whole_model)


@pytest.mark.parametrize(
    ("owner", "part"),
    [(state_module, "set_random_state"), (WeightAverage, "take_over"), (torch.optim.SGD, "load_state_dict")],
)
def test_each_part_of_the_state_matters(fabric, small_data, small_model, tmp_path, monkeypatch, owner, part):
    """Leave the random state, the averages or the momentum out and the comparison above must notice."""
    whole_model, model = small_model(), small_model()
    whole = run(fabric, whole_model, small_data, tmp_path / "whole.ckpt")
    run(fabric, small_model(), small_data, tmp_path / "broken.ckpt", epochs=2)
    monkeypatch.setattr(owner, part, lambda *_: None)
    resumed = run(fabric, model, small_data, tmp_path / "broken.ckpt")
    with pytest.raises(AssertionError):
        assert_same(resumed, whole, model, whole_model)


def test_written_at_the_end_even_if_not_due(fabric, small_data, small_model, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, state, history: written.append(len(history)))
    run(fabric, small_model(), small_data, tmp_path / "a.ckpt", every_seconds=1e6)
    run(fabric, small_model(), small_data, tmp_path / "a.ckpt", every_seconds=0)
    assert written == [4, 1, 2, 3, 4]


def test_other_settings_are_refused(fabric, small_data, small_model, tmp_path):
    run(fabric, small_model(), small_data, tmp_path / "a.ckpt", epochs=1)
    with pytest.raises(TNLayersError, match=r"a\.ckpt was written with seed=0, but now seed=3"):
        run(fabric, small_model(), small_data, tmp_path / "a.ckpt", seed=3)
    with pytest.raises(TNLayersError, match=r"momentum=None, but now momentum=0\.9"):
        Checkpoint(path=tmp_path / "a.ckpt", fingerprint={"seed": 0, "lr": 0.1, "momentum": 0.9}).history()


def test_damage_is_refused(fabric, small_data, small_model, tmp_path):
    path = tmp_path / "a.ckpt"
    run(fabric, small_model(), small_data, path, epochs=1)
    whole = path.read_bytes()
    assert len(read(path)["history"]) == 1
    flipped = bytearray(whole)
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda info: info.file_size)
    flipped[member.header_offset + 30 + len(member.filename) + 64 + member.file_size // 2] ^= 1
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-1], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(TNLayersError, match=rf"a\.ckpt \({len(content)} bytes\) is damaged.*Delete it"):
            read(path)


def test_a_setting_that_came_later_is_taken_as_it_was(tmp_path, fabric, small_data, small_model):
    path = tmp_path / "a.ckpt"
    run(fabric, small_model(), small_data, path, epochs=1)
    settings = {"seed": 0, "lr": 0.1, "average": 0.5}
    assert len(Checkpoint(path=path, fingerprint=settings, assumed={"average": 0.5}).history()) == 1
    with pytest.raises(TNLayersError, match=r"average=0\.0, but now average=0\.5"):
        Checkpoint(path=path, fingerprint=settings, assumed={"average": 0.0}).history()


@pytest.mark.parametrize("links", [True, False])
def test_the_last_ones_are_kept(fabric, small_data, small_model, tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    run(fabric, small_model(), small_data, tmp_path / "a.ckpt", keep=3)
    names = ("a.ckpt", "a.ckpt.1", "a.ckpt.2")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert [len(read(tmp_path / name)["history"]) for name in names] == [4, 3, 2]
    (tmp_path / "a.ckpt").write_bytes(b"damaged")
    with pytest.raises(TNLayersError, match=r"damaged.*an older one in its place: .*a\.ckpt\.1, .*a\.ckpt\.2"):
        run(fabric, small_model(), small_data, tmp_path / "a.ckpt", keep=3)
    os.replace(tmp_path / "a.ckpt.1", tmp_path / "a.ckpt")
    whole_model, model = small_model(), small_model()
    whole = run(fabric, whole_model, small_data, tmp_path / "whole.ckpt")
    assert_same(run(fabric, model, small_data, tmp_path / "a.ckpt", keep=3), whole, model, whole_model)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_full_disk_leaves_the_last_one(fabric, small_data, small_model, tmp_path, keep):
    path = tmp_path / "a.ckpt"
    run(fabric, small_model(), small_data, path, epochs=2)
    before = path.read_bytes()
    (tmp_path / ".a.ckpt.partial").symlink_to("/dev/full")  # every write to it fails as one to a full disk does
    with pytest.raises(TNLayersError, match=r"a\.ckpt after epoch 3: .*[Nn]o space left.*--resume"):
        run(fabric, small_model(), small_data, path, keep=keep)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]
    whole_model, model = small_model(), small_model()
    whole = run(fabric, whole_model, small_data, tmp_path / "whole.ckpt")
    assert_same(run(fabric, model, small_data, path), whole, model, whole_model)


def test_foreign_files_are_refused_and_run_nothing(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"model": 3}, path)
    with pytest.raises(TNLayersError, match="lacks fingerprint"):
        read(path)
    torch.save({"model": Bomb(tmp_path / "exploded")}, path)
    with pytest.raises(TNLayersError, match="damaged or not a checkpoint"):
        read(path)
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Makes a folder when unpickled without care."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"new but not all of i", None])
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
