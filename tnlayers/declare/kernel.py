"""Kernels: a convolution's weight as a network, and its indices by what they mean to the convolution.

The kernel of a convolution, seen as a matrix, is an ordinary layer: its input features are (*kernel, c_in / groups),
its output features are the c_out channels, slowest first. By default each kernel dimension is a site of its own, so is
the group, and the channels are split as a linear layer's features would be:

        kh    kw    groups   c_in modes ...         in   kh x kw x 1 x i_1 x i_2 ...
        |     |       |        |                    out   1 x  1 x g x o_1 x o_2 ...

A group reads its own channels and writes its own: the index that counts the groups is on the input, on the cores
and on the output, so it is one index of the input and of the output at once (a copy node's leg).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate, pairwise
from math import prod
from operator import add, mul
from typing import Any

from tnlayers.declare.graph import Graph
from tnlayers.declare.modes import factorise
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError, TNLayersWarning


def kernel_spec(
    network: str | Spec, kernel: Sequence[int], in_channels: int, out_channels: int, groups: int, **keywords: Any
) -> Spec:
    """The spec of a convolution's kernel, its channels split into modes where the caller wrote none.

    Args:
        network: A network type, a template, or a sized spec whose modes multiply to the kernel's sizes.
        kernel: Kernel size along each dimension.
        in_channels: Channels of the input, of all groups.
        out_channels: Channels of the output, of all groups.
        groups: How many groups the channels fall into.
        **keywords: As `tnl.spec` takes them; `cores` counts the cores of the channels.

    Raises:
        TNLayersError: If written modes do not fit, or are padded: that would cut positions, not channels.

    Example:
        >>> kernel_spec("mpo(cores=2, bond=4)", (3, 3), 64, 128, 1)
        Spec('mpo(in=3x3x8x8, out=1x1x8x16, bond=3-4-4)')
    """
    asked = make_spec(network, **keywords)
    if asked.sized:
        spec = make_spec(asked, prod(kernel) * in_channels // groups, out_channels)
    else:
        terms = [_split(term, kernel, in_channels // groups, out_channels // groups, groups) for term in asked.parts]
        spec = make_spec(reduce(add, terms), bias=asked.bias)
    if any(term.pad_in or term.pad_out for term in spec.parts):
        raise TNLayersError(
            f"{spec} has padded modes, but the last of a kernel's features are positions as well as channels. Write "
            f"modes that multiply to {prod(kernel) * in_channels // groups} (kernel {tuple(kernel)} times "
            f"{in_channels // groups} channels) and to {out_channels} without pad_in and pad_out."
        )
    return spec


def _split(term: Spec, kernel: Sequence[int], in_channels: int, out_channels: int, groups: int) -> Spec:
    """A template with modes: one site per kernel dimension, one for the groups, and `cores` for the channels."""
    kind = network_type(term.network)
    if kind.split is not None:  # modes bound to each other: the type splits the whole, and `kernel_of` sees if it fits
        return make_spec(term, prod(kernel) * in_channels, groups * out_channels)
    order = term.cores or kind.cores
    i, o = (factorise(size, order, pad=False) for size in (in_channels, out_channels))
    channels = zip(i, o, strict=True)
    sites = [*((size, 1) for size in kernel), (1, groups), *channels]
    wide = [site for site in sites if prod(site) > 1] or [(1, 1)]
    ins, outs = zip(*wide, strict=True)
    with warnings.catch_warnings():
        # The bonds next to a kernel of 3 x 3 cannot be wider than 3: one number for all bonds means "where there is
        # room". The printed spec and its notes still show it.
        warnings.simplefilter("ignore", TNLayersWarning)
        try:
            made = make_spec(replace(term, cores=None), in_modes=ins, out_modes=outs)
        except TNLayersError as error:
            raise TNLayersError(
                f"{error} These are the modes of a kernel {' x '.join(map(str, kernel))} from {in_channels} to "
                f"{out_channels} channels in each of {groups} groups, one core per site. A network of another form "
                f"takes written modes: in_modes that multiply to {prod(kernel) * in_channels}, kernel first, and "
                f"out_modes that multiply to {groups * out_channels}."
            ) from error
    notes_of_modes = [f"{side}_channels: {modes.note}" for side, modes in (("in", i), ("out", o)) if modes.note]
    return replace(made, notes=(*notes_of_modes, *made.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel's network over indices so fine that each belongs to one dimension, to channels, or to the groups.

    Indices of size 1 are left out: an array with and without such an axis has the same entries.

    Attributes:
        names: The cores' names.
        cores: The indices of each core's axes.
        sizes: The size of every index.
        channels: The indices of the input's channels, those of the groups first, slowest first.
        positions: For each dimension, the indices that make up the kernel's position along it, slowest first.
        outputs: The indices of the output's channels, slowest first.
    """

    names: tuple[str, ...]
    cores: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    channels: tuple[int, ...]
    positions: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]

    def elements(self, indices: Sequence[int]) -> int:
        """Number of entries of an array with these axes."""
        return prod(self.sizes[i] for i in indices)


def kernel_of(graph: Graph, kernel: Sequence[int], in_channels: int, out_channels: int, groups: int) -> Kernel:
    """The indices of a kernel's graph, split where a mode spans several dimensions of the convolution.

    Raises:
        TNLayersError: If a mode cannot be split there, or ties a position of the kernel to an output channel.
    """
    in_parts = (*kernel, in_channels // groups)
    out_parts = (groups, out_channels // groups)
    cuts: dict[int, set[int]] = {i: {1, size} for i, size in enumerate(graph.sizes)}
    for side, indices, modes, parts in (
        ("in", graph.inputs, graph.in_modes, in_parts),
        ("out", graph.outputs, graph.out_modes, out_parts),
    ):
        for index, inner in zip(indices, _cuts(side, modes, parts), strict=True):
            cuts[index] |= inner
    sizes: list[int] = []
    finer: dict[int, tuple[int, ...]] = {}
    for index, points in cuts.items():
        steps = [high // low for low, high in pairwise(sorted(points))]
        finer[index] = tuple(range(len(sizes), len(sizes) + len(steps)))
        sizes += steps
    ins = _grouped([i for index in graph.inputs for i in finer[index]], sizes, in_parts)
    group, own = _grouped([i for index in graph.outputs for i in finer[index]], sizes, out_parts)
    tied = {i for part in ins for i in part} & set(group) | {i for part in ins[:-1] for i in part} & {*group, *own}
    if tied:
        raise TNLayersError(
            f"In this network of modes in={graph.in_modes}, out={graph.out_modes} an index of size "
            f"{', '.join(str(sizes[i]) for i in sorted(tied))} is input and output at once, and would tie a position "
            f"of the kernel {tuple(kernel)}, or a group of {groups}, to channels. Block structure over channels is "
            "what groups=... gives to any other network type, such as network='mpo'."
        )
    return Kernel(
        names=tuple(core.name for core in graph.cores),
        cores=tuple(tuple(i for index in core.indices for i in finer[index]) for core in graph.cores),
        sizes=tuple(sizes),
        channels=(*group, *ins[-1]),
        positions=tuple(ins[:-1]),
        outputs=(*group, *own),
    )


def _cuts(side: str, modes: Sequence[int], parts: Sequence[int]) -> list[set[int]]:
    """For each mode, the products at which a part ends inside it."""
    ends = set(accumulate(parts, mul))
    found = []
    for low, high in pairwise(accumulate(modes, mul, initial=1)):
        inner = {low, high} | {end for end in ends if low < end < high}
        if any(b % a for a, b in pairwise(sorted(inner))):
            raise TNLayersError(
                f"{side}_modes {tuple(modes)} do not fit {' x '.join(map(str, parts))}, the sizes "
                f"{'of the kernel and the channels' if side == 'in' else 'of groups and channels'}: the mode of "
                f"{high // low} cannot be split between them. Let modes end where these sizes do, as in {side}_modes="
                f"{tuple(parts)}, or merge some, as in {(prod(parts[:-1]), parts[-1])}. For blocks of channels only, "
                "give groups=... and another network type."
            )
        found.append({point // low for point in inner})
    return found


def _grouped(indices: Sequence[int], sizes: Sequence[int], parts: Sequence[int]) -> list[tuple[int, ...]]:
    """The indices of each part: as many, in order, as multiply to its size."""
    rest = list(indices)
    groups = []
    for size in parts:
        group: list[int] = []
        while prod(sizes[i] for i in group) < size:
            group.append(rest.pop(0))
        groups.append(tuple(group))
    return groups


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """Refuse channels that are no sizes, or that do not fall into groups.

    Raises:
        TNLayersError: With the numbers.
    """
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise TNLayersError(f"{name} must be a positive integer, got {value!r}.")
    if in_channels % groups or out_channels % groups:
        raise TNLayersError(
            f"groups={groups} must divide in_channels ({in_channels}) and out_channels ({out_channels}): every group "
            "has equally many of both."
        )


def flat_size(dims: int, in_size: Any, groups: int, padding_mode: str) -> tuple[int, ...]:
    """The input's size along each dimension, for a convolution seen as one linear map of the flattened input.

    Raises:
        TNLayersError: If it is no size, or the convolution has what no linear map of flattened maps has.
    """
    sizes = tuple(in_size) if isinstance(in_size, (tuple, list)) else (in_size,) * dims
    if len(sizes) != dims or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise TNLayersError(
            f"view='flat' needs in_size, the input's size along {dims} dimensions, such as in_size={(28,) * dims}; got "
            f"{in_size!r}."
        )
    if groups != 1 or padding_mode != "zeros":
        raise TNLayersError(
            f"view='flat' with groups={groups}, padding_mode={padding_mode!r}: the flattened map is one linear map of "
            "all inputs to all outputs, so there are no groups and nothing is read beyond the edge; padding only sets "
            "the output's size. Leave both out, or take view='kernel'."
        )
    return sizes
