"""Bonds of a live layer cut or grown in place, its optimizer's state transferred.

Cutting puts a projector P Q, Q P = 1, on every bond. With W = A B at the bond, A and B up to isometries R_a and R_b,

    R_a R_b^T = U S V^T,   P = R_b^T V S^(-1/2),   Q = S^(-1/2) U^T R_a     (the k largest singular values)

so that A P Q B is W projected orthogonally; all bonds together cost at most the root of the summed discarded weight
(Grasedyck 2010, doi 10.1137/090764189, Theorem 3.11). A core becomes C P on one side of a bond, Q C on the other. Its
gradient is then G Q^T and P^T G by the chain rule, and so are averages of gradients (momentum, Adam's first moment);
averages of squares go through the squared entries, as if the entries of a gradient were independent.

The changes of the terms of a sum add up at worst: one threshold on all their singular values keeps their sum within the
error. Growing adds values to a bond that are zero on the last of its cores and random numbers on the others, as large
as those that are there: W is unchanged, and the gradients of the zeros are as large as those of other entries, however
many cores share the bond. Averages of gradients get zeros there; with averages of squares they begin anew. A core that
the larger network does not have is multiplied into its neighbour (`absorb.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tnlayers.cores.canonical import moves_to
from tnlayers.cores.initialise import layer_norms
from tnlayers.cores.prune import alike, smallest
from tnlayers.cores.spectrum import enough
from tnlayers.declare.arguments import bonds, integer, number
from tnlayers.declare.clipping import SIZES
from tnlayers.declare.graph import Graph
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.spectra import spectra
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.absorb import absorb, replaced, without_missing

_SQUARES = ("exp_avg_sq", "max_exp_avg_sq")  # of torch's optimizers: averages of squared gradients
_T = TypeVar("_T")


def rounded(
    graph: Graph, part: Spec, cores: Sequence[Tensor], wanted: Sequence[int]
) -> tuple[Spec, list[list[tuple[int, Tensor, Tensor]]]]:
    """The smaller spec of a loop-free network, and for each core (axis, matrix on it, matrix on its gradient).

    Args:
        graph: The network.
        part: Its spec.
        cores: Its cores.
        wanted: The size for each bond, in order of declaration.
    """
    needed = list(graph.sizes)
    for bond, size in zip(graph.summed, wanted, strict=True):
        needed[bond] = min(size, needed[bond])
    smaller, sizes = smallest(replace(part, lowered=()), graph, tuple(needed))
    factors: dict[tuple[int, int], Tensor] = {}
    changes: list[list[tuple[int, Tensor, Tensor]]] = [[] for _ in cores]
    for move in moves_to(graph, 0):
        (bond,) = move.bond
        a = _factor(graph, cores, move.source, move.target, bond, factors)
        b = _factor(graph, cores, move.target, move.source, bond, factors)
        u, s, vh = torch.linalg.svd(a @ b.mT, full_matrices=False)
        k = sizes[bond]
        alive = s[:k] > torch.finfo(s.dtype).eps * s[0]
        roots = torch.where(alive, s[:k].clamp(min=torch.finfo(s.dtype).tiny).rsqrt(), torch.zeros_like(s[:k]))
        p, q = (b.mT @ vh[:k].mH) * roots, (roots[:, None] * u[:, :k].mH) @ a
        p, q = nn.functional.pad(p, (0, k - p.shape[1])), nn.functional.pad(q, (0, 0, 0, k - q.shape[0]))
        changes[move.source].append((graph.cores[move.source].indices.index(bond), p.mT, q.conj()))
        changes[move.target].append((graph.cores[move.target].indices.index(bond), q, p.mH))
    return smaller, changes


def round_layer(
    layer: Any, error: float | None, bond_dim: int | tuple[int, ...] | None, optimizer: Optimizer | None
) -> None:
    """Cut the bonds of a layer in place; see `TNModule.round_`."""
    if (error is None) == (bond_dim is None):
        raise TNLayersError(f"error={error}, bond_dim={bond_dim}: give exactly one of them.")
    if bond_dim is not None:
        bonds("bond_dim", bond_dim)
    else:
        number("error", error, 0.0, 1.0)
    if any(len(move.bond) > 1 for graph in layer._map.graphs for move in moves_to(graph, 0)):
        raise TNLayersError(f"{layer.spec} has cores that several edges join; their bonds are not rounded.")
    wanted = _for_error(layer, error) if error is not None else _per_term(layer, bond_dim or ())
    cores = [core.detach().double() if not core.is_complex() else core.detach() for core in layer.cores.values()]
    parts, changes = [], []
    terms = zip(layer.spec.parts, layer._map.graphs, layer._map.split(cores), wanted, strict=True)
    for part, graph, own, sizes in terms:
        smaller, more = rounded(graph, part, own, sizes)
        parts.append(smaller)
        changes += more
    for name, core, change in zip(layer.cores, cores, changes, strict=True):
        old = layer.cores[name]
        replaced(layer, name, _applied(core, [(axis, matrix) for axis, matrix, _ in change]), optimizer)
        _cut_state(optimizer, old, layer.cores[name], change)
    layer._renew(_spec_of(layer, parts))


def grow_layer(layer: Any, bond_dim: int | tuple[int, ...], optimizer: Optimizer | None, seed: int) -> None:
    """Grow the bonds of a layer in place; see `TNModule.grow_`."""
    bonds("bond_dim", bond_dim)
    integer("seed", seed, 0, 2**63 - 1)
    spec = _spec_of(layer, [_with_bonds(part, size) for part, size in _sizes_for(layer, bond_dim)])
    absorbed = [without_missing(graph, wider) for graph, wider in zip(layer._map.graphs, spec.graphs, strict=True)]
    pairs = [(graph, wider) for (graph, _), wider in zip(absorbed, spec.graphs, strict=True)]
    if not all(alike(wider, graph) and _contains(wider, graph) for graph, wider in pairs):
        raise TNLayersError(
            f"{spec} is not {layer.spec} with larger bonds, so it cannot grow into it. Give at least the sizes that "
            "the bonds have, or cut them with round_."
        )
    for (graph, moves), before in zip(absorbed, layer._map.graphs, strict=True):
        absorb(layer, before, graph, moves, optimizer)
    generator = torch.Generator().manual_seed(seed)
    norms = layer_norms(spec.graphs, layer._variance())
    for graph, wider in pairs:
        last = {bond: max(k for k, core in enumerate(graph.cores) if bond in core.indices) for bond in graph.summed}
        for k, core in enumerate(graph.cores):
            zeros = [axis for axis, bond in enumerate(core.indices) if last.get(bond) == k]
            drawn = norms[core.name] / prod(wider.shapes[core.name]) ** 0.5
            _grow(layer, core.name, wider.shapes[core.name], zeros, generator, optimizer, drawn)
    layer._renew(spec)


def _grow(
    layer: Any,
    name: str,
    shape: tuple[int, ...],
    zeros: Sequence[int],
    generator: torch.Generator,
    optimizer: Optimizer | None,
    drawn: float,
) -> None:
    """One core in a larger shape: the new values of some axes are zero, all others random and as large as the old ones.

    Of a core of zeros they are as large as `drawn`, the root mean square in a layer that is drawn at that size.
    """
    old = getattr(layer, name)
    if shape == tuple(old.shape):
        return
    size = float(old.detach().abs().square().mean().sqrt()) or drawn
    new = (torch.randn(shape, generator=generator, dtype=torch.float64) * size).to(old)
    for axis in zeros:
        new.narrow(axis, old.shape[axis], shape[axis] - old.shape[axis]).zero_()
    corner = tuple(slice(0, n) for n in old.shape)
    new[corner] = old.detach()
    replaced(layer, name, new, optimizer)
    _widen(optimizer, old, getattr(layer, name), corner)


def _contains(wider: Graph, graph: Graph) -> bool:
    return all(new >= old for new, old in zip(wider.sizes, graph.sizes, strict=True))


def _spec_of(layer: Any, parts: Sequence[Spec]) -> Spec:
    """The layer's spec with these networks."""
    return replace(layer.spec, terms=tuple(parts), lowered=()) if layer.spec.terms else parts[0]


def _for_error(layer: Any, error: float) -> list[tuple[int, ...]]:
    """By term the bonds that are enough for an error relative to ||W||, than which a term of a sum may be larger."""
    found = spectra(layer)
    bonds = found.advice(error)
    if layer.spec.terms:
        bonds = enough(_divided(layer, found.bonds), error * float(layer.norm2().detach()) ** 0.5)
    return _divided(layer, bonds)


def _per_term(layer: Any, bond_dim: int | tuple[int, ...]) -> list[tuple[int, ...]]:
    """By term the sizes of all bonds."""
    count = sum(len(graph.summed) for graph in layer._map.graphs)
    sizes = (bond_dim,) * count if isinstance(bond_dim, int) else tuple(bond_dim)
    if len(sizes) != count or min(sizes, default=1) < 1:
        raise TNLayersError(f"bond_dim={bond_dim!r}: one number from 1, or one for each of {count} bonds.")
    return _divided(layer, sizes)


def _divided(layer: Any, values: Sequence[_T]) -> list[tuple[_T, ...]]:
    """One value per bond as those of each term."""
    rest = iter(values)
    return [tuple(islice(rest, len(graph.summed))) for graph in layer._map.graphs]


def _sizes_for(layer: Any, bond_dim: int | tuple[int, ...]) -> Iterator[tuple[Spec, int | tuple[int, ...]]]:
    """Each term and the size it is asked to grow to."""
    if isinstance(bond_dim, int) or not layer.spec.terms:
        yield from ((part, bond_dim) for part in layer.spec.parts)
        return
    for part, sizes in zip(layer.spec.parts, _per_term(layer, bond_dim), strict=True):
        yield part, sizes[0] if len(set(sizes)) == 1 else sizes


def _with_bonds(part: Spec, size: int | tuple[int, ...]) -> Spec:
    keywords = network_type(part.network).keywords
    key = next((key for key in SIZES if key in keywords), None)
    if key is None:
        raise TNLayersError(
            f"{part} has no bonds that could grow: its network type takes none of the keywords {', '.join(SIZES)}."
        )
    return replace(make_spec(part.to_dict() | {key: size}), notes=())


def _factor(
    graph: Graph, cores: Sequence[Tensor], source: int, target: int, bond: int, known: dict[tuple[int, int], Tensor]
) -> Tensor:
    """R of the part of the network behind a bond, on the source's side: that part is an isometry times R."""
    if (source, target) not in known:
        indices, core = graph.cores[source].indices, cores[source]
        for axis, index in enumerate(indices):
            others = [k for k, one in enumerate(graph.cores) if index in one.indices and k != source]
            if index != bond and others:
                behind = _factor(graph, cores, others[0], source, index, known)
                core = _applied(core, [(axis, behind)])
        matrix = core.movedim(indices.index(bond), -1).flatten(0, -2)
        known[source, target] = torch.linalg.qr(matrix).R
    return known[source, target]


def _applied(core: Tensor, changes: Sequence[tuple[int, Tensor]]) -> Tensor:
    """A core with matrices on some of its axes."""
    for axis, matrix in changes:
        core = (core.movedim(axis, -1) @ matrix.mT.to(core)).movedim(-1, axis)
    return core


def _cut_state(
    optimizer: Optimizer | None, old: Tensor, new: Tensor, changes: Sequence[tuple[int, Tensor, Tensor]]
) -> None:
    """The optimizer's state of a core that was cut."""
    state = optimizer.state.pop(old, None) if optimizer is not None else None
    if optimizer is None or state is None:
        return
    for key, value in state.items():
        if isinstance(value, Tensor) and value.shape == old.shape:
            square = key in _SQUARES
            on_gradient = [(axis, m.abs().square() if square else m) for axis, _, m in changes]
            state[key] = _applied(value.double(), on_gradient).to(value).contiguous()
    optimizer.state[new] = state


def _widen(optimizer: Optimizer | None, old: Tensor, new: Tensor, corner: tuple[slice, ...]) -> None:
    """The optimizer's state of a core that grew; with averages of squares it begins anew.

    What the old values have settled to says nothing of the gradients of new ones: steps would be many times too long.
    """
    state = optimizer.state.pop(old, None) if optimizer is not None else None
    if optimizer is None or state is None:
        return
    anew = any(key in state for key in _SQUARES)
    for key, value in state.items():
        if isinstance(value, Tensor) and value.shape == old.shape:
            wider = torch.zeros_like(new)
            if not anew:
                wider[corner] = value
            state[key] = wider.detach()
        elif anew and key == "step":
            state[key] = torch.zeros_like(value) if isinstance(value, Tensor) else 0
    optimizer.state[new] = state
