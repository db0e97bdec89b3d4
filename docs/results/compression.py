"""FC2 and LeNet-5 trained dense on MNIST, compressed, repaired, and trained from scratch: docs/compression-mnist.md.

    python docs/results/compression.py fc2 RUN/models/fc2-dense-seed0.safetensors ... [--peer FOLDER]
    python docs/results/compression.py                    writes the page's tables again from what is stored

The weights are what `tnlayers train MODEL --network dense --data mnist --seed S` leaves, one file for each seed. Every
row of `compression-MODEL.json` that is stored is not made again, so a run that was stopped goes on. Ratios are of all
parameters, biases included. Repair and samples see the first images of the training set without the 5,000 held out;
repair chooses its epoch on 2,000 of those (the dense models were trained on all 60,000). The test set is only reported.
torch-mpo is taken where it is installed (or from --peer).
"""

from __future__ import annotations

import argparse
import copy
import fcntl
import json
import re
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from compression_page import STORES, write_page
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import tnlayers as tnl
from tnlayers.files.atomic import write_text
from tnlayers.train.data import hold_out, load
from tnlayers.train.environment import describe_environment

RATIOS = (0.5, 0.2, 0.1, 0.05)
NETWORKS = ("mpo(cores=4)", "mpo(cores=2)", "lowrank")
SCRATCHED = ("mpo(cores=4)", "lowrank")
PEERED = {"fc2": ("fc1",), "lenet5": ("conv2", "conv3", "fc1")}  # what torch-mpo makes smaller
BATCH, VALIDATION, CHOOSE = 125, 5_000, 2_000
SAMPLE, LEAST, DISTIL = 2_000, 2_000, 10_000  # images for moments and sensitivities, least squares, distillation
SWEEPS, EPOCHS, SCRATCH_EPOCHS, LR = 2, 5, 10, 1e-3


class Dense(nn.Module):
    """FC2, or LeNet-5 with its third convolution as the linear layer that it is on its 5 x 5 map."""

    def __init__(self, trained: nn.Module) -> None:
        super().__init__()
        for name, child in trained.named_children():
            if isinstance(child, nn.Conv2d) and name == "conv3":
                linear = nn.Linear(child.weight[0].numel(), len(child.weight))
                linear.weight = nn.Parameter(child.weight.detach().flatten(1))
                linear.bias = child.bias
                child = linear
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        if hasattr(self, "conv3"):
            for conv in (self.conv1, self.conv2):
                x = torch.relu(nn.functional.max_pool2d(conv(x), 2))
            x = torch.relu(self.conv3(x.flatten(1)))
        y: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return y


@dataclass
class Bench:
    """MNIST, and where the rows go."""

    name: str
    peer: str | None
    images: Tensor = field(init=False)
    labels: Tensor = field(init=False)
    held: tuple[Tensor, Tensor] = field(init=False)
    test: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        found = hold_out(load("mnist"), VALIDATION)
        assert found.validation is not None
        parts = (found.train, found.validation, found.test)
        (self.images, self.labels), self.held, self.test = (
            (torch.from_numpy(part.images), torch.from_numpy(part.labels)) for part in parts
        )

    def compressed(self, dense: Dense, network: str, ratio: float, sampled: bool) -> Dense:
        """A copy of all whose layers may be networks, at a share of all parameters."""
        sample = self.images[:SAMPLE] if sampled else None
        model: Dense = tnl.compress(dense, ratio=ratio, network=network, sample=sample, progress=False).model
        return model

    def repaired(self, model: Dense, dense: Dense, seed: int) -> Dense:
        """A copy after least squares layer by layer, then distillation from the dense model; no labels."""
        small, choose = copy.deepcopy(model), list(self.held[0][:CHOOSE].split(1000))
        least = list(self.images[:LEAST].split(BATCH))
        tnl.repair(small, dense, least, validation=choose, sweeps=SWEEPS, epochs=0, progress=False)
        batches = list(self.images[:DISTIL].split(BATCH))
        tnl.repair(small, dense, batches, validation=choose, sweeps=0, epochs=EPOCHS, lr=LR, seed=seed, progress=False)
        return small

    def scratched(self, model: nn.Module, seed: int) -> nn.Module:
        """The same architecture from random numbers, on all training images and their labels."""
        torch.manual_seed(seed)
        fresh = copy.deepcopy(model).train()
        for layer in fresh.modules():
            if layer is not fresh and hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        batches = DataLoader(TensorDataset(self.images, self.labels), batch_size=BATCH, shuffle=True)
        optimizer = torch.optim.Adam(fresh.parameters(), lr=LR)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SCRATCH_EPOCHS * len(batches))
        for _ in range(SCRATCH_EPOCHS):
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(fresh(x), y.long()).backward()
                optimizer.step()
                schedule.step()
        return fresh

    def peers(self, dense: Dense, ratio: float) -> tuple[nn.Module, str]:
        """torch-mpo's `compress_model` at the largest ranks, raised in turn, within the same budget."""
        sys.path += [self.peer] if self.peer else []
        from torch_mpo import compress_model

        def made(ranks: dict[str, int]) -> nn.Module:
            torch.manual_seed(0)
            model: nn.Module = compress_model(dense, layers_to_compress=list(ranks), tt_ranks=ranks, verbose=False)
            return model

        ranks = dict.fromkeys(PEERED[self.name], 1)
        model, growing = made(ranks), list(ranks)
        while growing:
            for name in tuple(growing):
                wider = made({**ranks, name: ranks[name] + 1})
                if parameters(model) < parameters(wider) <= ratio * parameters(dense):
                    model, ranks[name] = wider, ranks[name] + 1
                else:
                    growing.remove(name)
        return model, ", ".join(f"{name}: {rank}" for name, rank in ranks.items())

    def row(self, model: nn.Module, dense: nn.Module) -> dict[str, Any]:
        """What a model has and reaches."""
        return {
            "parameters": parameters(model),
            "ratio": parameters(model) / parameters(dense),
            "validation": accuracy(model, *self.held),
            "test": accuracy(model, *self.test),
        }


def parameters(model: nn.Module) -> int:
    """Of the whole model."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of right answers."""
    model.eval()
    right = sum(
        int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000), strict=True)
    )
    return right / len(labels)


@dataclass
class Store:
    """The rows of one model on disk."""

    path: Path
    about: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """What has been made so far."""
        return json.loads(self.path.read_text())["rows"] if self.path.exists() else []

    def known(self, **key: Any) -> bool:
        """Whether a row is stored."""
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows())

    def add(self, found: dict[str, Any], start: float, **key: Any) -> None:
        """Store a row."""
        seconds = round(time.process_time() - start, 1)
        row = {**key, **found, "seconds": seconds, "commit": str(self.about["environment"]["commit"])[:7]}
        with open(__file__) as lock:  # seeds may run side by side
            fcntl.flock(lock, fcntl.LOCK_EX)
            write_text(self.path, json.dumps({**self.about, "rows": [*self.rows(), row]}, indent=1) + "\n")
        print(row, flush=True)


def measure(bench: Bench, store: Store, dense: Dense, seed: int, part: str) -> None:
    """All that is not stored yet of one dense model: compressed and repaired, or from scratch."""
    if part == "compressed":
        if not store.known(network="dense", seed=seed, stage="none"):
            start = time.process_time()
            store.add(bench.row(dense, dense), start, network="dense", asked=1.0, seed=seed, stage="none")
        for ratio in RATIOS:
            for network in NETWORKS:
                compress_and_repair(bench, store, dense, {"network": network, "asked": ratio, "seed": seed})
            key = {"network": "torch-mpo", "asked": ratio, "seed": seed, "stage": "none"}
            if not store.known(**key):
                start = time.process_time()
                model, ranks = bench.peers(dense, ratio)
                store.add({**bench.row(model, dense), "specs": ranks}, start, **key)
        return
    for key, architecture in scratched_architectures(bench, store, dense, seed):
        start = time.process_time()
        store.add(bench.row(bench.scratched(architecture, seed), dense), start, **key)


def compress_and_repair(bench: Bench, store: Store, dense: Dense, key: dict[str, Any]) -> None:
    """By the weights alone, then with a sample, and the latter repaired."""
    ratio, network, seed = key["asked"], key["network"], key["seed"]
    for stage in ("none", "sample", "repaired"):
        start = time.process_time()
        if store.known(**key, stage=stage):
            continue
        model = bench.compressed(dense, network, ratio, stage != "none")
        specs = {name: str(layer.spec) for name, layer in model.named_children() if hasattr(layer, "spec")}
        if stage == "repaired":
            start = time.process_time()
            model = bench.repaired(model, dense, seed)
        store.add({**bench.row(model, dense), "specs": specs}, start, **key, stage=stage)


def scratched_architectures(
    bench: Bench, store: Store, dense: Dense, seed: int
) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    """The dense model and what it is compressed to by its weights, where they are still to be trained."""
    key: dict[str, Any] = {"network": "dense", "asked": 1.0, "seed": seed, "stage": "scratch"}
    if not store.known(**key):
        yield key, dense
    for ratio in RATIOS:
        for network in SCRATCHED:
            key = {"network": network, "asked": ratio, "seed": seed, "stage": "scratch"}
            if not store.known(**key):
                yield key, bench.compressed(dense, network, ratio, False)


def main() -> None:
    """Compress, repair, train, measure; write the file anew after every model, and the page at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=("fc2", "lenet5"))
    parser.add_argument("weights", type=Path, nargs="*", help="files of dense models named ...seedN...")
    parser.add_argument("--peer", help="a folder of packages that has torch_mpo")
    parser.add_argument("--part", choices=("compressed", "scratch"), nargs="*", default=["compressed", "scratch"])
    asked = parser.parse_args()
    if asked.model:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore", tnl.TNLayersWarning)  # the delivered sizes stand in the rows
        environment = describe_environment(torch.device("cpu"), processes=1)
        environment.pop("command", None)  # the folders of one machine
        about = {
            "what": f"{asked.model} trained dense on MNIST and compressed as a whole; docs/compression-mnist.md",
            "command": f"python docs/results/compression.py {asked.model} WEIGHTS --peer FOLDER",
            "environment": environment,
            "sample": {"images": SAMPLE},
            "repair": {"least_squares": LEAST, "sweeps": SWEEPS, "distil": DISTIL, "epochs": EPOCHS, "lr": LR},
            "scratch": {"epochs": SCRATCH_EPOCHS, "lr": LR, "batch": BATCH, "images": 55_000, "optimizer": "Adam"},
        }
        bench, store = Bench(name=asked.model, peer=asked.peer), Store(path=STORES[asked.model], about=about)
        for part in asked.part:
            for path in asked.weights:
                found = re.search(r"seed(\d+)", path.name)
                measure(bench, store, Dense(tnl.load(path)), int(found.group(1)) if found else 0, part)
    write_page()


if __name__ == "__main__":
    main()
