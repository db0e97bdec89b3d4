"""FC2 and LeNet-5 trained dense on MNIST, compressed, and repaired: the numbers of docs/compression-mnist.md.

    python docs/results/compression.py fc2 WEIGHTS.safetensors --out docs/results/compression-fc2.json

WEIGHTS is what `tnlayers train MODEL --network dense --data mnist` leaves in its folder `models/`. The large layers are
replaced, each at the same ratio; convolutions of LeNet-5 and both heads stay. Repair sees the first images of the
training set without the 5,000 held out, and chooses its epoch on 2,000 of those (the dense model was trained on all
60,000); the test set is only reported. torch-mpo is taken where it is installed (or from --peer FOLDER).
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tnlayers as tnl
from tnlayers.train.data import hold_out, load
from tnlayers.train.environment import command, describe_environment

RATIOS = (0.5, 0.2, 0.1, 0.05)
NETWORKS = ("mpo(cores=4)", "mpo(cores=2)", "lowrank")
REPAIR_IMAGES, VALIDATION, CHOOSE, BATCH, EPOCHS = 5_000, 5_000, 2_000, 125, 3


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


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of right answers."""
    model.eval()
    right = sum(
        int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000), strict=True)
    )
    return right / len(labels)


def compressed(dense: nn.Module, names: tuple[str, ...], network: str, ratio: float) -> nn.Module:
    """A copy with the named layers as networks, each at the ratio."""
    model = copy.deepcopy(dense)
    for name in names:
        setattr(model, name, tnl.nn.TNLinear.from_linear(getattr(dense, name), network, ratio=ratio))
    return model


def row(model: nn.Module, dense: nn.Module, names: tuple[str, ...], data: dict[str, Tensor]) -> dict[str, Any]:
    """What a model has and reaches."""

    def count(one: nn.Module) -> int:
        return sum(p.numel() for name in names for key, p in getattr(one, name).named_parameters() if key != "bias")

    return {
        "parameters": count(model),
        "ratio": count(model) / count(dense),
        "whole_ratio": sum(p.numel() for p in model.parameters()) / sum(p.numel() for p in dense.parameters()),
        "validation": accuracy(model, data["validation"], data["validation_labels"]),
        "test": accuracy(model, data["test"], data["test_labels"]),
    }


def main() -> None:
    """Compress, repair, measure, and write the file anew after every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("fc2", "lenet5"))
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", default=";".join(NETWORKS), help="templates, separated by ;")
    parser.add_argument("--peer", help="a folder of packages that has torch_mpo")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", tnl.TNLayersWarning)  # the delivered sizes stand in the rows
    names = ("fc1",) if asked.model == "fc2" else ("conv3", "fc1")
    dense = Dense(tnl.load(asked.weights))
    held = hold_out(load("mnist"), VALIDATION)
    assert held.validation is not None
    data = {
        "validation": torch.from_numpy(held.validation.images),
        "validation_labels": torch.from_numpy(held.validation.labels),
        "test": torch.from_numpy(held.test.images),
        "test_labels": torch.from_numpy(held.test.labels),
    }
    batches = list(torch.from_numpy(held.train.images[:REPAIR_IMAGES]).split(BATCH))
    choose = list(data["validation"][:CHOOSE].split(1000))
    result: dict[str, Any] = {
        "what": f"{asked.model} trained dense on MNIST, its {', '.join(names)} compressed; docs/compression-mnist.md",
        "command": command(),
        "environment": describe_environment(torch.device("cpu"), processes=1),
        "seed": 0,
        "repair": {
            "images": REPAIR_IMAGES,
            "epochs": EPOCHS,
            "batch": BATCH,
            "sweeps": 2,
            "lr": 1e-3,
            "trainable": "cores",
        },
        "dense": row(dense, dense, names, data),
        "rows": [],
    }
    for ratio in RATIOS:
        for network in asked.networks.split(";"):
            model = compressed(dense, names, network, ratio)
            bare = row(model, dense, names, data)
            start = time.perf_counter()
            report = tnl.repair(
                model, dense, batches, validation=choose, epochs=EPOCHS, sweeps=2, trainable="cores", progress=False
            )
            mended = row(model, dense, names, data)
            specs = [str(getattr(model, name).spec) for name in names]
            entry = {"network": network, "asked": ratio, "specs": specs, "no_repair": bare, "repaired": mended}
            seconds = round(time.perf_counter() - start, 1)
            save(asked.out, result, entry | {"kept": report.kept, "repair_seconds": seconds})
        for ranks in (False, True):
            save(asked.out, result, peer(dense, names, ratio, ranks, data, asked.peer))


def peer(
    dense: nn.Module, names: tuple[str, ...], ratio: float, ranks: bool, data: dict[str, Tensor], folder: str | None
) -> dict[str, Any]:
    """What torch-mpo's `compress_model` makes of it: by its own ratio, or by the largest rank within ours per layer."""
    sys.path += [folder] if folder else []
    from torch_mpo import compress_model

    def made(chosen: dict[str, int] | None) -> nn.Module:
        torch.manual_seed(0)
        model: nn.Module = compress_model(
            dense, layers_to_compress=list(names), compression_ratio=ratio, tt_ranks=chosen, verbose=False
        )
        return model

    def size(model: nn.Module, name: str) -> int:
        return sum(p.numel() for key, p in getattr(model, name).named_parameters() if key != "bias")

    chosen: dict[str, int] | None = None
    if ranks:
        allowed = {name: ratio * getattr(dense, name).weight.numel() for name in names}
        chosen = dict.fromkeys(names, 1)
        for name in names:
            last = 0
            while last < size(made({**chosen, name: chosen[name] + 1}), name) <= allowed[name]:
                chosen[name] += 1
                last = size(made(chosen), name)
    told = "by its ratio" if chosen is None else f"at ranks {', '.join(map(str, chosen.values()))}"
    bare = row(made(chosen), dense, names, data)
    return {"network": f"torch-mpo compress_model, {told}", "asked": ratio, "no_repair": bare}


def save(path: Path, result: dict[str, Any], entry: dict[str, Any]) -> None:
    """Add a row and write the file."""
    result["rows"].append(entry)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    short = {key: entry[key]["test"] for key in ("no_repair", "repaired") if key in entry}
    print(entry["network"], entry["asked"], entry["no_repair"]["parameters"], short, flush=True)


if __name__ == "__main__":
    main()
