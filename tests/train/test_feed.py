"""Batches: what augmentation does to a pixel, whom it depends on, normalisation, and images held out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers.train.augment import draw
from tnlayers.train.data import Dataset, Part, hold_out
from tnlayers.train.feed import DeviceData
from tnlayers.train.normalise import Normalisation
from tnlayers.train.recipe import Recipe

CPU = torch.device("cpu")
PLAIN = Recipe(epochs=1, batch=4, lr=0.1)


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)

    def part(count):
        return Part(images=rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), labels=rng.integers(0, 10, count))

    return Dataset(name="noise", train=part(60), test=part(20))


def by_hand(image, row, column, mirrored):
    framed = functional.pad(image, (4, 4, 4, 4))
    window = framed[:, row : row + 32, column : column + 32]
    return window.flip(2) if mirrored else window


def test_images_are_framed_cut_and_mirrored_as_drawn(dataset):
    data = DeviceData.put(dataset, CPU, PLAIN.model_copy(update={"augment": True}))
    draws = draw(60, seed=3, epoch=2, device=CPU)
    chosen = torch.tensor([5, 59, 0, 17])
    batch = data.train.batch(chosen, draws)
    expected = [
        by_hand(data.train.images[k], draws.rows[k], draws.columns[k], draws.mirrored[k]) for k in chosen.tolist()
    ]
    assert batch.dtype == torch.float32
    assert torch.equal(batch, torch.stack(expected).float() / 255)
    assert not torch.equal(batch, data.train.batch(chosen))
    assert torch.equal(data.train.batch(chosen), data.train.images[chosen].float() / 255)


def test_draws_depend_on_seed_and_epoch_alone():
    draws = {(s, e): draw(50, seed=s, epoch=e, device=CPU) for s in range(2) for e in range(3)}
    again = draw(50, seed=1, epoch=2, device=CPU)
    for name in ("rows", "columns", "mirrored"):
        assert torch.equal(getattr(again, name), getattr(draws[1, 2], name))
        assert len({tuple(getattr(one, name).tolist()) for one in draws.values()}) == 6
    assert set(again.rows.tolist()) | set(again.columns.tolist()) == set(range(9))
    assert 0.2 < again.mirrored.float().mean() < 0.8


@pytest.mark.parametrize(("kind", "shape", "axes"), [("pixel", (3, 32, 32), 0), ("channel", (3, 1, 1), (0, 2, 3))])
def test_normalisation_is_that_of_the_training_part(dataset, kind, shape, axes):
    data = DeviceData.put(dataset, CPU, PLAIN.model_copy(update={"normalise": kind}))
    found = data.test.normalisation
    train = dataset.train.images.astype(np.float64)
    np.testing.assert_allclose(found.mean, train.mean(axes).reshape(shape), rtol=1e-6)
    np.testing.assert_allclose(found.std, train.std(axes).reshape(shape), rtol=1e-5)
    everything = data.train.batch(torch.arange(60)).double()
    assert everything.mean().abs() < 1e-4
    assert abs(everything.square().mean() - 1) < 1e-4


def test_a_pixel_without_spread_is_left():
    images = torch.full((5, 1, 4, 4), 7, dtype=torch.uint8)
    assert not Normalisation.of(images, "pixel")(images).any()


def test_float_images_pass_as_they_are(small_data):
    assert torch.equal(small_data.train.batch(torch.tensor([3, 1])), small_data.train.images[[3, 1]])


def test_held_out_images_are_always_the_same_and_not_trained_on(dataset):
    split = hold_out(dataset, 15)
    assert (len(split.train), len(split.validation)) == (45, 15)
    both = np.concatenate([split.train.images, split.validation.images])
    assert len(np.unique(both.reshape(60, -1), axis=0)) == 60
    assert np.array_equal(hold_out(dataset, 15).validation.images, split.validation.images)
    assert hold_out(dataset, 0) is dataset
    with pytest.raises(TNLayersError, match="validation=60 leaves nothing of 60"):
        hold_out(dataset, 60)
