"""Data sets as plain arrays: images (N, C, H, W) and labels (N,) int64, for training, for test, and held out.

Every set is real; none is shuffled here, so that the order of training is the loop's alone to decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.train import cifar, mnist

CLASSES = 10
DIGITS_TEST_EVERY = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Images with their labels.

    Attributes:
        images: (N, C, H, W): float32 in [0, 1], or uint8 where a byte a pixel is kept until a batch is used.
        labels: (N,) int64, 0..9.
    """

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        expected = (len(self.labels), *self.images.shape[1:])
        if self.images.shape != expected or self.images.ndim != 4:
            raise TNLayersError(f"Images have shape {self.images.shape}, expected {expected} for as many labels.")
        if len(self.labels) == 0 or not 0 <= self.labels.min() <= self.labels.max() < CLASSES:
            raise TNLayersError(f"Labels must be a non-empty list of 0..{CLASSES - 1}; got {len(self.labels)} of them.")

    def __repr__(self) -> str:
        return f"Part({len(self)} images)"

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A named set with its training and test parts, and the images held out of training if there are any."""

    name: str
    train: Part
    test: Part
    validation: Part | None = None


def load(name: str, *, root: Path | None = None) -> Dataset:
    """Load a data set by name.

    Args:
        name: "digits" (comes with scikit-learn, no network), "mnist" or "fashion-mnist" (60,000 + 10,000 grey images),
            or "cifar10" (50,000 + 10,000 coloured ones).
        root: Folder with the files; None means the environment variable TNLAYERS_DATA, and if that is unset a download
            into the per-user cache.

    Returns:
        The data set as arrays.

    Raises:
        TNLayersError: The name is unknown, or a file is missing or damaged.
    """
    if name not in LOADERS:
        raise TNLayersError(f"data={name!r} is unknown. Known: {', '.join(LOADERS)}.{did_you_mean(name, LOADERS)}")
    return LOADERS[name](root)


def load_digits(root: Path | None = None) -> Dataset:
    """Load scikit-learn's handwritten digits (UCI optdigits, test part), brought from 8 x 8 to 28 x 28.

    The 8 x 8 counts 0..16 are divided by 16, enlarged to 24 x 24 by bilinear interpolation (pixel centres aligned, edge
    values repeated) and framed by 2 pixels of background. Of each digit, in the order of the set, every fourth image
    is for test: 1,352 for training and 445 for test. No random numbers are involved, so the split is the same
    everywhere.

    Args:
        root: Not used; the data come with scikit-learn.

    Returns:
        The data set.
    """
    from sklearn import datasets

    raw = datasets.load_digits()
    small = np.asarray(raw.images, np.float32) / 16
    labels = np.asarray(raw.target, np.int64)
    grow = bilinear(8, 24)
    large = grow @ small @ grow.T  # (N, 24, 24)
    images = np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, None].astype(np.float32)  # (N, 1, 28, 28)
    is_test = np.zeros(len(labels), bool)
    for digit in range(CLASSES):
        is_test[np.flatnonzero(labels == digit)[DIGITS_TEST_EVERY - 1 :: DIGITS_TEST_EVERY]] = True
    return Dataset(
        name="digits",
        train=Part(images=images[~is_test], labels=labels[~is_test]),
        test=Part(images=images[is_test], labels=labels[is_test]),
    )


def load_mnist(root: Path | None = None, *, collection: mnist.Collection = mnist.MNIST) -> Dataset:
    """Load MNIST or Fashion-MNIST, bytes 0..255 divided by 255."""
    train_images, train_labels, test_images, test_labels = mnist.read(root, collection=collection)
    return Dataset(
        name=collection.name.lower(),
        train=from_bytes(train_images, train_labels),
        test=from_bytes(test_images, test_labels),
    )


def load_fashion_mnist(root: Path | None = None) -> Dataset:
    """Load Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): clothes, in MNIST's files and sizes."""
    return load_mnist(root, collection=mnist.FASHION_MNIST)


def load_cifar10(root: Path | None = None) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009), pixels as bytes."""
    train_images, train_labels, test_images, test_labels = cifar.read(root)
    return Dataset(
        name="cifar10",
        train=Part(images=train_images, labels=train_labels.astype(np.int64)),
        test=Part(images=test_images, labels=test_labels.astype(np.int64)),
    )


def hold_out(dataset: Dataset, count: int) -> Dataset:
    """Return the set with images held out of training to choose by; always the same ones, whatever the seed of a run.

    Raises:
        TNLayersError: Not even one image would be left to train on.
    """
    if count == 0:
        return dataset
    part = dataset.train
    if count >= len(part):
        raise TNLayersError(f"validation={count} leaves nothing of {len(part)} training images. Use --validation 0.")
    order = np.random.default_rng(0).permutation(len(part))
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    return replace(
        dataset,
        train=Part(images=part.images[rest], labels=part.labels[rest]),
        validation=Part(images=part.images[held], labels=part.labels[held]),
    )


def from_bytes(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> Part:
    """Scale byte images (N, 28, 28) to [0, 1] and give them their one channel."""
    return Part(images=images[:, None].astype(np.float32) / np.float32(255), labels=labels.astype(np.int64))


def bilinear(size: int, larger: int) -> npt.NDArray[np.float32]:
    """Return the (larger, size) matrix that enlarges a row of pixels by linear interpolation between pixel centres.

    Example:
        >>> bilinear(2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = np.clip((np.arange(larger) + 0.5) * size / larger - 0.5, 0, size - 1)
    left = np.minimum(centres.astype(int), size - 2)
    share = centres - left
    matrix = np.zeros((larger, size), np.float32)
    matrix[np.arange(larger), left] = 1 - share
    matrix[np.arange(larger), left + 1] = share
    return matrix


LOADERS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
}
