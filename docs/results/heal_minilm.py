"""Blast beside low rank on a pretrained sentence encoder: the part "minilm" of heal.json, for docs/heal.md.

    python docs/results/heal_minilm.py --text FORTUNES

minilm.py says where the model and the texts are from.

Every one of the 36 linear layers gets the same share of its parameters, and sees the second moment of its inputs over
the sentences that minilm.py keeps for that. Nothing is repaired.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import torch
from heal import STORE, second_moments
from heal_page import write_page
from minilm import Bench, embedded, rank_correlation
from torch import nn

import tnlayers as tnl
from tnlayers.files.atomic import write_text
from tnlayers.files.origin import commit

SHARES = (0.3, 0.5, 0.75)
NETWORKS = ("lowrank", "blast", "blast(blocks=8)")
SWEEPS = 12  # of alternating least squares: of a start alone, the matrix of low rank


def measured(bench: Bench, moments: dict[str, torch.Tensor], network: str, share: float) -> dict[str, Any]:
    """The encoder with all its linear layers as networks of one type."""
    made, errors, size, whole = copy.deepcopy(bench.model), [], 0, 0
    for name, dense in list(made.blocks.named_modules()):
        if isinstance(dense, nn.Linear):
            layer = tnl.nn.TNLinear.from_linear(
                dense,
                network,
                max_params=int(share * dense.weight.numel()),
                covariance=moments[f"blocks.{name}"],
                **({} if network == "lowrank" else {"restarts": 1, "sweeps": SWEEPS}),
            )
            place, _, last = name.rpartition(".")
            setattr(made.blocks.get_submodule(place), last, layer)
            errors.append(layer.delivered.output_error)
            size, whole = size + layer.spec.parameters, whole + dense.weight.numel()
    found = embedded(made, bench.test)
    return {
        "network": network,
        "share": share,
        "delivered": size / whole,
        "spearman": rank_correlation(found, bench.dense),
        "cosine": float((found * bench.dense).sum(1).mean()),
        "output_error": statistics.mean(errors),
        "commit": commit(),
    }


def main() -> None:
    """Measure what is not stored, and write the page again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of the fortunes")
    given = parser.parse_args()
    warnings.simplefilter("ignore", tnl.TNLayersWarning)
    torch.set_num_threads(1)
    bench = Bench(text=given.text, cache=Path())
    moments = second_moments(bench.model, bench.moments)
    for share in SHARES:
        for network in NETWORKS:
            stored = json.loads(STORE.read_text())
            done = stored.setdefault("minilm", [])
            if not any((row["network"], row["share"]) == (network, share) for row in done):
                done.append(measured(bench, moments, network, share))
                print(done[-1], flush=True)
                write_text(STORE, json.dumps(stored, indent=1) + "\n")
    write_page(json.loads(STORE.read_text()))


if __name__ == "__main__":
    main()
