"""One of two processes that train a model with batch normalisation: unbroken, and broken off after an epoch.

Arguments: strategy, folder. What each way leaves goes into `folder/unbroken.pt` and `folder/resumed.pt`: the history
without its times, and the buffers and weights of both processes.
"""

import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from tnlayers.train import TrainConfig
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.data import Dataset, Part
from tnlayers.train.feed import DeviceData
from tnlayers.train.history import without_times
from tnlayers.train.launch import launch
from tnlayers.train.loop import fit
from tnlayers.train.progress import Silent
from tnlayers.train.recipe import Recipe

EPOCHS = 3


def recipe(epochs):
    return Recipe(epochs=epochs, batch=21, lr=0.05, momentum=0.9, average=0.9)


def part(count):
    generator = torch.Generator().manual_seed(count)
    images = torch.rand(count, 1, 8, 8, generator=generator)
    return Part(images=images.numpy(), labels=(torch.arange(count) % 10).numpy())


def trained(fabric, folder, name, epochs, seed):
    """Train to so many epochs from the checkpoint of this name, or from weights of a seed."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    data = DeviceData.put(Dataset(name="noise", train=part(105), test=part(40)), fabric.device, recipe(epochs))
    checkpoint = Checkpoint(path=folder / f"{name}.ckpt", fingerprint={}, every_seconds=math.inf)
    history = fit(fabric, model, data, recipe(epochs), seed=0, label=name, checkpoint=checkpoint, progress=Silent())
    state = model.state_dict()
    whole = {key: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for key, tensor in state.items()}
    return {"history": without_times(history), "tensors": whole}


def main(strategy, folder):
    settings = {"model": "lenet5", "data": "digits", "accelerator": "cpu", "threads": 1}
    fabric = launch(TrainConfig.resolve(None, **settings, devices=2, strategy=strategy))
    unbroken = trained(fabric, folder, "unbroken", EPOCHS, seed=0)
    trained(fabric, folder, "resumed", 1, seed=0)
    resumed = trained(fabric, folder, "resumed", EPOCHS, seed=1)
    for name, found in (("unbroken", unbroken), ("resumed", resumed)):
        torch.save(found, folder / f"{name}-{fabric.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
