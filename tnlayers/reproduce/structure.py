"""The structure of the paper's models: what is replaced, rho, whole networks, and the work of one image."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tnlayers import models
from tnlayers.errors import TNLayersWarning
from tnlayers.models.sites import network_kind

BATCH = 100  # of the paper


def measure(wanted: Iterable[tuple[str, str]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Count models; nothing is allocated.

    Args:
        wanted: Pairs of a model and a network.

    Returns:
        By model and network: "replaced" weights and their "dense" count, "rho", "weights" and "trainable" of the whole
        model, "flops" of one image forward as torch counts them in a batch of 100, and the number of its "modules".
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # bonds clipped as the paper's own figure clips them
        for model, network in wanted:
            found.setdefault(model, {})[network] = _one(model, network)
    return found


def _one(model: str, network: str) -> dict[str, Any]:
    report = models.describe(model, network=network)
    kind = network_kind(network)
    entry = models.find(model)
    with torch.device("meta"):
        built = entry.make(network).eval()
        images = torch.empty(BATCH, *entry.image)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            built(images)
    return {
        "replaced": report.replaced[kind],
        "dense": report.replaced["dense"],
        "rho": report.rho,
        **report.total[kind],
        "flops": round(counter.get_total_flops() / BATCH),
        "modules": sum(1 for module in built.modules() if not any(True for _ in module.children())),
    }
