"""The fast recipe on a small network of tensor-network convolutions: bfloat16 autocast, channels last, resumed."""

import contextlib

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import tnlayers as tnl
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.data import Dataset, Part
from tnlayers.train.feed import DeviceData
from tnlayers.train.history import without_times
from tnlayers.train.loop import fit
from tnlayers.train.progress import Silent
from tnlayers.train.recipes import CIFAR_FAST

RECIPE = CIFAR_FAST.model_copy(update={"epochs": 4, "batch": 32, "validation": 40})


@pytest.fixture
def fabric():
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.launch()
    return fabric


@pytest.fixture
def data():
    """Ten colours in noise."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (10, 3, 1, 1))

    def part(count):
        labels = np.arange(count) % 10
        images = np.clip(colours[labels] + rng.normal(0, 20, (count, 3, 32, 32)), 0, 255)
        return Part(images=images.astype(np.uint8), labels=labels.astype(np.int64))

    return DeviceData.put(Dataset(name="colours", train=part(360), test=part(100)), torch.device("cpu"), RECIPE)


def make(network):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        tnl.nn.TNConv2d(16, 32, 3, stride=2, padding=1, network=network, seed=0),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        tnl.nn.TNLinear(128, 64, network=network, seed=1),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def run(fabric, data, path, network, *, epochs=4):
    # As `epochs` shapes the schedule, a run is stopped here by stopping it, not by asking for fewer.
    model = make(network)
    seen = []

    def stop(record):
        seen.append(record)
        if record.epoch == epochs < RECIPE.epochs:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(path=path, fingerprint={}, every_seconds=0)
    with contextlib.suppress(KeyboardInterrupt):
        fit(fabric, model, data, RECIPE, seed=0, label="", checkpoint=checkpoint, progress=Silent(), on_epoch=stop)
    return model, seen


@pytest.mark.parametrize("network", ["mpo(cores=3, bond=4)", "tucker(bond=8)"])
def test_learns_in_bfloat16_and_resumes_to_the_same_bits(fabric, data, tmp_path, network):
    whole, history = run(fabric, data, tmp_path / "whole.ckpt", network)
    assert history[-1].test_accuracy > 0.8
    assert history[-1].validation_accuracy is not None
    assert {weight.dtype for weight in whole.parameters()} == {torch.float32}
    _, first = run(fabric, data, tmp_path / "broken.ckpt", network, epochs=2)
    model, rest = run(fabric, data, tmp_path / "broken.ckpt", network)
    assert without_times([*first, *rest]) == without_times(history)
    for (name, ours), theirs in zip(model.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    with pytest.raises(AssertionError):
        assert without_times([*first, *first]) == without_times(history)


def test_layers_compute_in_bfloat16_on_channels_last(fabric):
    """Autocast reaches the products of the networks: the output is that of float32 up to eight bits, and not equal."""
    layer = tnl.nn.TNConv2d(16, 32, 3, padding=1, network="mpo(cores=3, bond=4)", seed=0)
    images = torch.randn(4, 16, 8, 8).to(memory_format=torch.channels_last)
    exact = layer(images)
    with torch.autocast("cpu", torch.bfloat16):
        ours = layer(images)
    assert ours.dtype == torch.bfloat16
    steps = 2 * 3 + 1  # roundings of the input and of each core and each product on the way
    error = (ours.float() - exact).norm() / exact.norm()
    assert 0 < error < steps * torch.finfo(torch.bfloat16).eps
