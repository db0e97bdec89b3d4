"""The networks that docs/results/heal.py compares, and how a model's layers become them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tnlayers as tnl
from tnlayers.compress.gauge import (
    covariance_order,
    fold_,
    principal_rotation,
    reorder_hidden_,
    rotate_,
    stream_of,
    turn_heads_,
)
from tnlayers.compress.shared_cores import share_cores_

# Each is a list of templates, of which a layer takes the one of least measured error.
NETWORKS: dict[str, Callable[[int, int, int], list[str]]] = {
    "lowrank": lambda i, o, p: ["lowrank"],
    "mpo": lambda i, o, p: ["mpo(cores=2)", "mpo(cores=3)"],
    "tucker": lambda i, o, p: ["tucker", "tucker(cores=2)"],
    "btt": lambda i, o, p: _btt(i, o, p),
    "blast": lambda i, o, p: ["blast"],
    "blast, 8 blocks": lambda i, o, p: ["blast(blocks=8)"] if i % 8 == o % 8 == 0 else ["blast"],
    "lowrank + mpo": lambda i, o, p: ["lowrank + mpo(cores=2)"],
    "mpo, outer cores shared": lambda i, o, p: ["mpo(cores=3)"],  # where a layer has no others of its size
    "best of each layer": lambda i, o, p: [
        "lowrank",
        "mpo(cores=2)",
        *_btt(i, o, p)[:1],
        "blast",
        *(["blast(blocks=8)"] if i % 8 == o % 8 == 0 else []),
        "lowrank + mpo(cores=2)",
    ],
}


# What is done to the dense model before: hidden features in the order of their covariance ("ordered"); heads turned to
# their principal directions too ("heads"); the residual stream too ("turned").
GAUGES = ("", "ordered", "heads", "turned")


def gauged(model: nn.Module, gauge: str, moments: Mapping[str, Tensor], batches: list[Tensor]) -> nn.Module:
    """A copy in other coordinates, which computes the same."""
    made: Any = copy.deepcopy(model)
    if not gauge:
        return made
    for k in range(made.shape.depth):
        place = f"blocks.{k}"
        reorder_hidden_(made, f"{place}.expand", f"{place}.contract", covariance_order(moments[f"{place}.contract"]))
    if gauge == "ordered":
        return made
    for k in range(made.shape.depth):
        place, heads = f"blocks.{k}.attention", made.shape.heads
        turn_heads_(made, f"{place}.value", f"{place}.out", _principal(moments[f"{place}.out"], heads))
        weight = made.get_submodule(f"{place}.query").weight.detach().double()
        queries = weight @ moments[f"{place}.query"] @ weight.T
        turn_heads_(made, f"{place}.query", f"{place}.key", _principal(queries, heads))
    if gauge == "turned":
        stream = stream_of(made)
        fold_(made, stream)
        rotate_(made, stream, principal_rotation(made, stream, batches))
    return made


def _principal(moment: Tensor, heads: int) -> list[Tensor]:
    """The eigenvectors of each head's own second moment, the largest first."""
    size = len(moment) // heads
    return [torch.linalg.eigh(moment[k : k + size, k : k + size])[1].flip(1) for k in range(0, len(moment), size)]


SHARED = "mpo, outer cores shared"


def widths(model: nn.Module, limit: int, sample: list[Tensor] | None, cache: Path) -> dict[str, int]:
    """The parameters of each layer that low rank shortens at a limit for the whole model, by name."""
    found = tnl.compress(
        model, max_params=limit, network="lowrank", sample=sample, cache=cache, dry_run=True, progress=False
    )
    return {
        row.name: row.after.parameters - _bias(model, row.name) for row in found.report.layers if row.network != "dense"
    }


def compressed(
    model: nn.Module, network: str, sizes: Mapping[str, int], moments: Mapping[str, Tensor] | None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy with networks of at most so many parameters, and the mean errors of its layers."""
    made = copy.deepcopy(model)
    if network == SHARED:
        return _shared(made, sizes, moments), {"layers": len(sizes)}
    errors, outputs = [], []
    for name, size in sizes.items():
        place, _, last = name.rpartition(".")
        host = made.get_submodule(place)
        best = nearest(getattr(host, last), network, size, None if moments is None else moments[name])
        setattr(host, last, best)
        errors.append(best.delivered.error)
        outputs.append(best.delivered.output_error)
    told = {"weight_error": sum(errors) / len(errors), "layers": len(errors)}
    return made, told | ({} if moments is None else {"output_error": sum(outputs) / len(outputs)})


def _shared(model: nn.Module, sizes: Mapping[str, int], moments: Mapping[str, Tensor] | None) -> nn.Module:
    """The same weight of all blocks by one MPO with a centre for each, where low rank shortens it in several blocks."""
    groups: dict[str, list[str]] = {}
    for name in sizes:
        groups.setdefault(re.sub(r"blocks\.\d+\.", "", name), []).append(name)
    for names in groups.values():
        total = sum(sizes[name] for name in names)
        if len(names) > 1:
            share_cores_(model, names, max_params=total, moments=moments)
        else:
            moment = None if moments is None else moments[names[0]]
            place, _, last = names[0].rpartition(".")
            host = model.get_submodule(place)
            setattr(host, last, nearest(getattr(host, last), SHARED, total, moment))
    return model


def nearest(dense: nn.Linear, network: str, size: int, moment: Tensor | None) -> Any:
    """The layer of least measured error among the templates of a network that fit."""
    built = []
    for template in NETWORKS[network](dense.in_features, dense.out_features, size):
        try:
            built.append(tnl.nn.TNLinear.from_linear(dense, template, max_params=size, covariance=moment, restarts=1))
        except tnl.TNLayersError:  # its smallest size is above this one
            continue
    if not built:
        return tnl.nn.TNLinear.from_linear(dense, "lowrank", max_params=size, covariance=moment)
    return min(built, key=lambda layer: _error(layer.delivered))


def _error(found: Any) -> float:
    return float(found.error if found.output_error is None else found.output_error)


def _bias(model: nn.Module, name: str) -> int:
    bias = model.get_submodule(name).bias
    return 0 if bias is None else bias.numel()


def _btt(in_features: int, out_features: int, size: int) -> list[str]:
    """Two cores of the shapes that leave least of a budget unused: ranks of one shape are far apart."""
    shapes = []
    for a in _divisors(in_features):
        for b in _divisors(out_features):
            i, o = (a, in_features // a), (b, out_features // b)
            each = i[0] * prod(o) + prod(i) * o[1]
            rank = min(size // each, min(i[1], o[0]))
            if rank:
                shapes.append((rank * each, f"btt(in={i[0]}x{i[1]}, out={o[0]}x{o[1]}, rank={rank})"))
    return [text for _, text in sorted(shapes, reverse=True)[:3]]


def _divisors(size: int) -> list[int]:
    return [d for d in range(2, size) if size % d == 0]
