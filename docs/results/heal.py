"""Compress a trained gpt-pico by low rank, MPOs and their kin, heal it, and count bits: `heal.json`, docs/heal.md.

    tnlayers train gpt-pico --network dense --data shakespeare --recipe short --epochs 7 --steps 400 --batch 4
    python docs/results/heal.py RUN --cache FOLDER [--networks blast ...] [--budgets 0.5 ...] [--gauges ...] ...
    python docs/results/heal.py                 writes the page and its picture again from what is stored

RUN is the folder of the training. A row that is stored is not measured again, so a run that was stopped goes on. How a
budget is divided over the layers is the choice of `tnl.compress` for low rank; every other network gets, in each layer,
at most as many parameters as low rank has there, and layers that low rank leaves dense stay dense. Bits are those of
all arrays of the model's state, as they are stored.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from heal_networks import GAUGES, NETWORKS, compressed, gauged, widths
from heal_page import write_page
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import tnlayers as tnl
from tnlayers.files.atomic import write_text
from tnlayers.files.origin import commit, cpu_name
from tnlayers.train.text import load_text
from tnlayers.train.trained_texts import trained_texts

HERE = Path(__file__).resolve().parent
STORE = HERE / "heal.json"
BUDGETS = (0.75, 0.5, 0.3, 0.15)  # of the parameters, and so of the bits, of the dense model in 32-bit numbers
CONTEXT, BATCH = 256, 16
SAMPLE, CHOOSE, LEAST = (
    64,
    32,
    32,
)  # stretches of the training part: for second moments, to choose by, for least squares
SEED = 0
HEALING = 0.05  # of the steps of the training
HEAL_BATCH, RATE = 4, 1e-3  # stretches a step, as in the training; the first learning rate of Adam, the same for all
WAYS = ("weights", "sample", "least squares", "distilled", "continued")


@dataclass
class Bench:
    """The dense model and the stretches of text of each use."""

    run: Path
    cache: Path
    model: nn.Module = field(init=False)
    sample: list[Tensor] = field(init=False)
    moments: dict[str, Tensor] = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        found = next(trained_texts(self.run, network="dense"))
        recipe = json.loads((self.run / "results.json").read_text())["recipe"]
        self.steps = round(HEALING * recipe["epochs"] * recipe["steps"])
        self.model = found.model.eval()
        text = load_text("shakespeare")
        self.train, self.test = (torch.from_numpy(part.tokens) for part in (text.train, text.test))
        self.sample = list(self.stretches(SAMPLE, 1)[0].split(BATCH))
        self.moments = second_moments(self.model, self.sample)

    def stretches(self, count: int, use: int) -> tuple[Tensor, Tensor]:
        """Stretches of the training part from random places, and the characters after theirs."""
        generator = torch.Generator().manual_seed(1000 * SEED + use)
        places = torch.randint(len(self.train) - CONTEXT, (count,), generator=generator)
        spots = places[:, None] + torch.arange(CONTEXT)
        return self.train[spots], self.train[spots + 1]

    def measured(self, model: nn.Module) -> dict[str, float]:
        """Nats, bits per character and accuracy over the whole test part, cut into stretches end to end."""
        total, right, count = 0.0, 0, len(self.test) - 1
        model.eval()
        with torch.inference_mode():
            for begin in range(0, count, CONTEXT * BATCH):
                tokens, after = self.test[begin : begin + CONTEXT * BATCH], self.test[begin + 1 :][: CONTEXT * BATCH]
                whole = len(after) // CONTEXT * CONTEXT
                for rows, answers in (
                    (tokens[:whole].view(-1, CONTEXT), after[:whole].view(-1, CONTEXT)),
                    (tokens[whole : len(after)].view(1, -1), after[whole:].view(1, -1)),
                ):
                    if answers.numel():
                        logits = model(rows).flatten(0, 1)
                        total += float(cross_entropy(logits, answers.flatten(), reduction="sum"))
                        right += int((logits.argmax(1) == answers.flatten()).sum())
        return {"nats": total / count, "bits_per_character": total / count / math.log(2), "accuracy": right / count}

    def healed(self, model: nn.Module, way: str) -> nn.Module:
        """A copy, repaired or trained on; what is learnt from is the training part alone."""
        model = copy.deepcopy(model)
        if way == "continued":
            return self._continued(model)
        validation = list(self.stretches(CHOOSE, 2)[0].split(BATCH))
        common: dict[str, Any] = {"validation": validation, "loss": "kl", "temperature": 1.0, "progress": False}
        if way == "least squares":
            learnt = list(self.stretches(LEAST, 3)[0].split(BATCH))
            tnl.repair(model, self.model, learnt, sweeps=1, epochs=0, **common)
        else:
            epochs = 4  # the rate falls once an epoch
            learnt = list(self.stretches(self.steps // epochs * HEAL_BATCH, 4)[0].split(HEAL_BATCH))
            tnl.repair(model, self.model, learnt, sweeps=0, epochs=epochs, lr=RATE, **common)
        return model

    def _continued(self, model: nn.Module) -> nn.Module:
        """A twentieth of the training's steps more, by Adam and a rate that falls to 0 as a cosine."""
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        tokens, after = self.stretches(self.steps * HEAL_BATCH, 5)
        for rows, answers in zip(tokens.split(HEAL_BATCH), after.split(HEAL_BATCH), strict=True):
            optimizer.zero_grad()
            cross_entropy(model(rows).flatten(0, 1), answers.flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return model


def second_moments(model: nn.Module, sample: list[Tensor]) -> dict[str, Tensor]:
    """E[x x^T] of the inputs of every linear layer by name, in double precision."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):

            def seen(module: nn.Module, args: tuple[Tensor, ...], name: str = name) -> None:
                x = args[0].flatten(0, -2).double()
                found[name] = found.get(name, 0) + x.T @ x / (len(x) * len(sample))

            handles.append(layer.register_forward_pre_hook(seen))
    with torch.inference_mode():
        for batch in sample:
            model(batch)
    for handle in handles:
        handle.remove()
    return {name: moment.clone() for name, moment in found.items()}


def bits_of(model: nn.Module) -> int:
    """Of all arrays of the model's state, each once."""
    arrays = {value.data_ptr(): value for value in model.state_dict().values()}
    return sum(8 * value.nbytes for value in arrays.values())


class Store:
    """The rows that are measured, on disk after each."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.data: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {"rows": []}
        self.done = {key_of(row) for row in self.data["rows"]}

    def row(self, key: dict[str, Any], model: Callable[[], nn.Module], **more: Any) -> None:
        """Measure a model, unless that is stored already."""
        if key_of(key) in self.done:
            return
        made = model()
        row = key | {"bits": bits_of(made), **self.bench.measured(made), **more, "seed": SEED, "commit": commit()}
        print({name: row[name] for name in ("network", "gauge", "budget", "way", "codes", "bits", "nats")}, flush=True)
        self.data["rows"].append(row)
        self.done.add(key_of(row))
        self.data |= {"machine": cpu_name(), "torch": torch.__version__, "threads": torch.get_num_threads()}
        self.data["command"] = "python docs/results/heal.py RUN --cache FOLDER"
        self.data["run"] = self.data.get("run") or run_of(self.bench.run)
        write_text(STORE, json.dumps(self.data, indent=1) + "\n")


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells rows apart."""
    return row["network"], row.get("gauge", ""), row["budget"], row["way"], row["codes"]


def run_of(place: Path) -> dict[str, Any]:
    """What is to be said of the training."""
    results = json.loads((place / "results.json").read_text())
    (network,) = results["networks"]
    return {
        "command": re.sub(r" --(out|name) \S+", "", results["environment"]["command"]),
        "commit": results["environment"]["commit"],
        "recipe": results["recipe"],
        "parameters": network["parameters"]["total"]["trainable"],
        "final": network["seeds"][0]["final"],
        "text": results["text"],
    }


def rows(bench: Bench, store: Store, given: argparse.Namespace) -> None:
    """Everything that is asked for, the model of a network and a budget made once."""
    dense = {"network": "dense", "gauge": "", "budget": 1.0}
    store.row(dense | {"way": "weights", "codes": 32}, lambda: bench.model)
    store.row(dense | {"way": "continued", "codes": 32}, lambda: bench.healed(bench.model, "continued"))
    for codes in (8, 4):
        store.row(
            dense | {"way": "weights", "codes": codes}, lambda codes=codes: tnl.quantise(bench.model, codes).model
        )
    for gauge in given.gauges:
        model = gauged(bench.model, gauge, bench.moments, bench.sample)
        moments = second_moments(model, bench.sample)
        for budget in given.budgets:
            for network in given.networks:
                key = {"network": network, "gauge": gauge, "budget": budget}
                _rows_of(bench, store, key, given.ways, (model, moments))


def _rows_of(
    bench: Bench, store: Store, key: dict[str, Any], ways: list[str], dense: tuple[nn.Module, dict[str, Tensor]]
) -> None:
    limit = int(key["budget"] * sum(one.numel() for one in bench.model.parameters()))
    made: dict[bool, tuple[nn.Module, dict[str, Any]]] = {}

    def plain(seen: bool) -> tuple[nn.Module, dict[str, Any]]:
        if seen not in made:
            sizes = widths(dense[0], limit, bench.sample if seen else None, bench.cache)
            made[seen] = compressed(dense[0], key["network"], sizes, dense[1] if seen else None)
        return made[seen]

    for way in ways:
        missing = [codes for codes in (32, 8) if key_of(key | {"way": way, "codes": codes}) not in store.done]
        if not missing:
            continue
        model, told = plain(way != "weights")
        healed = model if way in ("weights", "sample") else bench.healed(model, way)
        for codes in missing:
            store.row(
                key | {"way": way, "codes": codes},
                lambda healed=healed, codes=codes: healed if codes == 32 else tnl.quantise(healed, codes).model,
                **(told if way in ("weights", "sample") else {}),
            )


def wanted() -> Iterator[argparse.Namespace]:
    """The words of the call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--cache", type=Path, default=Path("heal-cache"))
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--budgets", nargs="*", type=float, default=list(BUDGETS))
    parser.add_argument("--gauges", nargs="*", default=[""], choices=GAUGES)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    yield parser.parse_args()


if __name__ == "__main__":
    (given,) = wanted()
    if given.run is not None:
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        torch.set_num_threads(1)
        bench = Bench(run=given.run, cache=given.cache)
        rows(bench, Store(bench), given)
    write_page(json.loads(STORE.read_text()))
