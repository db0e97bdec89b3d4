"""Cores that a larger network of the same type does not have, multiplied into their neighbours.

A `tucker` has no factor where a bond is as large as its mode: the core has the mode then. With W = core x factor
over the bond, the product is that core, and W is unchanged. A mode of size 1 is wherever the type puts it: it
changes the shape of a core and no entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from tnlayers.declare.graph import Core, Graph


class Absorption(NamedTuple):
    """One core that goes: its name, the core that takes it in, and the bond that they share."""

    gone: str
    into: str
    bond: int


def without_missing(graph: Graph, wider: Graph) -> tuple[Graph, list[Absorption]]:
    """The network as the larger one numbers it, without the cores that the larger one lacks.

    Args:
        graph: The network.
        wider: The larger network of the same type.

    Returns:
        The network with the indices of `wider` and sizes of its own, and what is multiplied into what; the network as
        it is and nothing, where they have the same cores or no such products lead to them.
    """
    missing = [core for core in graph.cores if core.name not in wider.shapes]
    if not missing:
        return graph, []
    legs = {core.name: core.indices for core in graph.cores}
    inner, moves = {*graph.summed}, []
    for core in missing:
        (*bonds,) = (i for i in legs[core.name] if i in inner)
        takers = [name for name, own in legs.items() if bonds and bonds[0] in own and name != core.name]
        if len(bonds) != 1 or len(takers) != 1:
            return graph, []
        own, at = legs[takers[0]], legs[takers[0]].index(bonds[0])
        behind = tuple(i for i in legs.pop(core.name) if i != bonds[0])
        legs[takers[0]] = (*own[:at], *behind, *own[at + 1 :])
        moves.append(Absorption(core.name, takers[0], bonds[0]))
    number = {old: new for side in ("inputs", "outputs") for old, new in zip(*_modes(graph, wider, side), strict=True)}
    for core in wider.cores:
        old, new = (_long(legs[core.name], graph), _long(core.indices, wider)) if core.name in legs else ((), (0,))
        if len(old) != len(new):
            return graph, []
        number |= dict(zip(old, new, strict=True))
    sizes = list(wider.sizes)
    for mine, its in number.items():
        sizes[its] = graph.sizes[mine]
    same = {core.name: tuple(number.get(i, -1) for i in _long(legs[core.name], graph)) for core in wider.cores}
    if any(same[core.name] != _long(core.indices, wider) for core in wider.cores):
        return graph, []
    return replace(wider, cores=tuple(Core(core.name, core.indices) for core in wider.cores), sizes=tuple(sizes)), moves


def absorb(layer: Any, before: Graph, after: Graph, moves: Sequence[Absorption], optimizer: Optimizer | None) -> None:
    """Multiply cores into their neighbours, in place; the averages of an optimizer for them begin anew."""
    indices = {core.name: core.indices for core in before.cores}
    for gone, into, bond in moves:
        own, behind = indices[into], indices.pop(gone)
        factor = getattr(layer, gone).detach().movedim(behind.index(bond), 0)
        at = own.index(bond)
        product = torch.tensordot(getattr(layer, into).detach().movedim(at, -1), factor, dims=1)
        count = factor.ndim - 1
        product = product.movedim(tuple(range(-count, 0)), tuple(range(at, at + count)))
        indices[into] = (*own[:at], *(i for i in behind if i != bond), *own[at + 1 :])
        _removed(layer, gone, optimizer)
        if optimizer is not None:
            optimizer.state.pop(getattr(layer, into), None)
        replaced(layer, into, product, optimizer)
    if moves:
        for name, shape in after.shapes.items():
            if tuple(getattr(layer, name).shape) != shape:  # modes of size 1 stand elsewhere
                if optimizer is not None:
                    optimizer.state.pop(getattr(layer, name), None)
                replaced(layer, name, getattr(layer, name).detach().reshape(shape), optimizer)


def replaced(layer: nn.Module, name: str, new: torch.Tensor, optimizer: Optimizer | None) -> None:
    """A core of another shape, also in the groups of the optimizer."""
    old = getattr(layer, name)
    parameter = nn.Parameter(new.to(old.dtype).contiguous(), old.requires_grad)
    layer.register_parameter(name, parameter)
    for group in optimizer.param_groups if optimizer is not None else ():
        group["params"] = [parameter if one is old else one for one in group["params"]]


def _removed(layer: Any, name: str, optimizer: Optimizer | None) -> None:
    old = layer._parameters.pop(name)
    layer._names = tuple(one for one in layer._names if one != name)
    for group in optimizer.param_groups if optimizer is not None else ():
        group["params"] = [one for one in group["params"] if one is not old]
    if optimizer is not None:
        optimizer.state.pop(old, None)


def _modes(graph: Graph, wider: Graph, side: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return getattr(graph, side), getattr(wider, side)


def _long(indices: Sequence[int], graph: Graph) -> tuple[int, ...]:
    """Indices that are no modes of size 1."""
    modes = {*graph.inputs, *graph.outputs}
    return tuple(i for i in indices if i not in modes or graph.sizes[i] > 1)
