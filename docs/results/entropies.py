"""Entropies of FC2's first layer at its inner bonds over training: `entropies.json`, picture and table of mnist.md.

    python docs/results/entropies.py measure       trains a dense and three MPO forms, about ten minutes on one thread
    python docs/results/entropies.py               draws and writes again what is stored

Measuring needs MNIST (folder in TNLAYERS_DATA). A dense weight is cut where the MPO's bonds are, by the same factors.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marks import filled

import tnlayers as tnl
from tnlayers.cores.spectrum import Spectra
from tnlayers.files.atomic import replacing

HERE = Path(__file__).resolve().parent
STORE = HERE / "entropies.json"
PAGE = HERE.parent / "mnist.md"
PICTURE = HERE.parent / "img" / "fc2-entropies.svg"

CUT = "mpo(in=4x7x7x4, out=4x4x4x4)"
NETWORKS = ("dense", "mpo(bond=4)", "mpo(bond=10)", "mpo(bond=16)")
EPOCHS, DECAY, SEED = 30, 0.8458, 0  # the learning rate falls as far as in the paper's 500 epochs
COLOURS = ("#0072B2", "#D55E00", "#009E73")


def measure() -> None:
    """Train every network and store the entropies before and after each epoch."""
    import torch

    torch.set_num_threads(1)
    found = {network: record(network) for network in NETWORKS}
    data = {
        "what": "Entanglement entropies (nats) of FC2's first layer at its inner bonds, before training and after each "
        "epoch; and the test accuracy after each. Written by docs/results/entropies.py.",
        "recipe": f"paper, epochs {EPOCHS}, lr_decay_per_epoch {DECAY}, paper selection",
        "seed": SEED,
        "networks": found,
    }
    STORE.write_text(json.dumps(data, indent=1) + "\n")


def record(network: str) -> dict[str, Any]:
    """Train one network and return its entropies by epoch."""
    model = tnl.models.build("fc2", network=network, seed=SEED)
    layer = model.fc1
    looks = [look(layer, network)]

    def after(epoch: Any) -> None:
        looks.append(look(layer, network))
        print(network, epoch.epoch, f"{epoch.test_accuracy:.4f}", looks[-1].entropies, flush=True)

    history = trained(model, network, after)
    return {
        "at_most": [round(bond.bound, 4) for bond in looks[0].bonds],
        "entropies": [[round(value, 4) for value in one.entropies] for one in looks],
        "test_accuracy": [epoch.test_accuracy for epoch in history],
    }


def trained(model: Any, network: str, after: Callable[[Any], None]) -> list[Any]:
    """Train a model as the paper does, but for fewer epochs; the history, by epoch."""
    from tnlayers.train.checkpoint import Checkpoint
    from tnlayers.train.config import TrainConfig
    from tnlayers.train.data import load
    from tnlayers.train.feed import DeviceData
    from tnlayers.train.launch import launch
    from tnlayers.train.loop import fit
    from tnlayers.train.progress import Silent

    config = TrainConfig.resolve(
        None,
        model="fc2",
        data="mnist",
        epochs=EPOCHS,
        lr_decay=DECAY,
        paper_selection=True,
        accelerator="cpu",
        threads=1,
    )
    fabric = launch(config)
    with tempfile.TemporaryDirectory() as folder:
        return fit(
            fabric,
            model,
            DeviceData.put(load("mnist"), fabric.device, config.recipe),
            config.recipe,
            seed=SEED,
            label=network,
            checkpoint=Checkpoint(path=Path(folder) / "fc2.ckpt", fingerprint={}, every_seconds=math.inf),
            progress=Silent(),
            on_epoch=after,
        )


def look(layer: Any, network: str) -> Spectra:
    """The spectra of the first layer as it is now."""
    return tnl.spectra(layer.weight, CUT) if network == "dense" else tnl.spectra(layer)


def draw(data: dict[str, Any]) -> None:
    """One panel a network: a curve a bond, and the most that it can carry as a dotted line."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "tnlayers", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        panels = figure.subplots(1, len(NETWORKS), sharey=True)
        for axes, (network, found) in zip(panels, data["networks"].items(), strict=True):
            curves = list(zip(*found["entropies"], strict=True))
            for number, (curve, colour) in enumerate(zip(curves, COLOURS, strict=True), 1):
                axes.plot(curve, color=colour, label=f"bond {number}")
                axes.axhline(found["at_most"][number - 1], color=colour, linestyle=":", linewidth=0.9)
            axes.set_title(network, fontsize=10)
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.25)
        panels[0].set_ylabel("entropy, nats")
        panels[0].legend(frameon=False)
        with replacing(PICTURE) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})


def table(data: dict[str, Any]) -> str:
    """Entropies at the begin, after the first epoch and at the end, and the bounds."""
    lines = [
        "| network | at the begin | after epoch 1 | after epoch 5 | at the end | at most, ln(bond) | final % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for network, found in data["networks"].items():
        shown = [found["entropies"][epoch] for epoch in (0, 1, 5, -1)]
        cells = [", ".join(f"{value:.2f}" for value in values) for values in (*shown, found["at_most"])]
        lines.append(f"| `{network}` | {' | '.join(cells)} | {100 * found['test_accuracy'][-1]:.2f} |")
    return "\n".join(lines)


def write(data: dict[str, Any]) -> str:
    """The page with its table as it should be."""
    return filled(PAGE.read_text(encoding="utf-8"), "entropies", table(data))


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        measure()
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    draw(stored)
    PAGE.write_text(write(stored), encoding="utf-8")
