"""What several tests of training share: a quiet Fabric, a small data set, a small model, and exact comparison."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("lightning_fabric")  # and so torch
import torch
from forked import Forked
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import nn

from tnlayers.train.data import Dataset, Part
from tnlayers.train.feed import DeviceData
from tnlayers.train.recipe import Recipe

SCRIPT = """
import sys, yaml
from tnlayers.train import TrainConfig, train
if __name__ == "__main__":
    train(TrainConfig.resolve(None, **yaml.safe_load(sys.argv[1])), progress=False)
"""


@pytest.fixture
def fabric():
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    return fabric


@pytest.fixture
def small_data():
    """Ten patterns in noise, 203 for training and 57 for test: learnt in a few steps."""
    rng = np.random.default_rng(0)
    patterns = rng.random((10, 1, 28, 28))

    def part(count):
        labels = np.arange(count) % 10
        images = np.clip(patterns[labels] + 0.4 * rng.standard_normal((count, 1, 28, 28)), 0, 1)
        return Part(images=images.astype(np.float32), labels=labels.astype(np.int64))

    dataset = Dataset(name="patterns", train=part(203), test=part(57))
    return DeviceData.put(dataset, torch.device("cpu"), Recipe(epochs=1, batch=1, lr=1.0, augment=True))


@pytest.fixture
def small_model():
    """A maker of models with a convolution and with randomness of their own."""

    def make(seed=0):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10))

    return make


@pytest.fixture
def start_training(tmp_path):
    """A starter of training in processes of their own, which can be killed: forked, or real ones by a launcher."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUDA_VISIBLE_DEVICES": ""}
    started = []

    def start(launcher=None, **settings):
        """By a launcher such as `("-m", "torch.distributed.run")`, by Fabric itself for `()`, forked for None."""
        text = "{" + ", ".join(f"{key}: {str(value)!r}" for key, value in settings.items()) + "}"
        if launcher is None:
            process = Forked(script, text, processes=settings.get("devices", 1), environment=environment)
        else:
            command = [sys.executable, "-W", "error", *launcher, str(script), text]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if isinstance(process, subprocess.Popen):
            process.stdout.close()


@pytest.fixture
def assert_same_run():
    """Exact comparison of two folders of runs: every number but the times, and every bit of the weights."""

    def rows(folder):
        with (folder / "metrics.csv").open(newline="") as file:
            return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]

    def check(one, other):
        assert rows(one) == rows(other)
        names = sorted(path.name for path in (one / "models").iterdir())
        assert names == sorted(path.name for path in (other / "models").iterdir())
        assert names
        for name in names:
            left, right = load_file(one / "models" / name), load_file(other / "models" / name)
            assert left.keys() == right.keys()
            assert left
            for key, tensor in left.items():
                assert tensor.dtype == right[key].dtype, key
                assert torch.equal(tensor, right[key]), key

    return check
