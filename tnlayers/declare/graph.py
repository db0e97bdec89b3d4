"""Lowering: a declared graph as frozen lists of integer indices, and the contractions that a layer needs.

A `Graph` is what remains of a declaration once the TensorNetwork objects are gone: cores with a name and a tuple of
indices, a size per index, and which indices are the input and output modes. An index that two cores share is a bond,
one that three or more share is a hyperedge (a CopyNode; its delta tensor is never built), one in `inputs` or `outputs`
is open. A `Contraction` is one einsum over such indices: the layer applied to a batch, or its weight rebuilt.

Invariant: neither holds an array. Both are hashable and comparable by value, so plans are cached by value.
"""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from tnlayers.errors import TNLayersError

# What is refused at once instead of being searched for minutes. The time of planning grows with the square of the
# number of cores; and arrays are indexed by 63 bits, so that no machine holds a longer vector.
MOST_CORES = 128
MOST_ENTRIES = 2**63 - 1

# Names that a core cannot have because every layer uses them for something else.
RESERVED_NAMES = frozenset({"bias", "weight", "x"})


def usable_name(name: object) -> bool:
    """Whether a core can have this name: it becomes an attribute and a key in files, so it is an identifier."""
    return (
        isinstance(name, str)
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not (name.startswith("__") and name.endswith("__"))
        and name not in RESERVED_NAMES
    )


@dataclass(frozen=True, slots=True)
class Core:
    """One parameter tensor: its name (the key in a state dict) and the index of each axis, in declared order."""

    name: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A linear layer's network: cores over integer indices.

    Attributes:
        cores: The cores in order of declaration.
        sizes: The size of index `k` at position `k`.
        inputs: The index of each input mode, slowest first: `x` is viewed as `(batch, *input sizes)`.
        outputs: The index of each output mode, slowest first.
    """

    cores: tuple[Core, ...]
    sizes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def in_modes(self) -> tuple[int, ...]:
        """Sizes of the input modes."""
        return tuple(self.sizes[i] for i in self.inputs)

    @property
    def out_modes(self) -> tuple[int, ...]:
        """Sizes of the output modes."""
        return tuple(self.sizes[i] for i in self.outputs)

    @property
    def summed(self) -> tuple[int, ...]:
        """Indices that are neither input nor output (bonds and hyperedges), in order of first appearance."""
        seen = dict.fromkeys(i for core in self.cores for i in core.indices)
        return tuple(i for i in seen if i not in self.inputs and i not in self.outputs)

    @property
    def shared(self) -> tuple[int, ...]:
        """Indices that are input and output at once (block-diagonal structure: the weight has zeros there)."""
        return tuple(i for i in self.inputs if i in self.outputs)

    def shape(self, core: Core) -> tuple[int, ...]:
        """The shape of a core's parameter."""
        return tuple(self.sizes[i] for i in core.indices)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every core by name, in order of declaration."""
        return {core.name: self.shape(core) for core in self.cores}

    @property
    def parameters(self) -> int:
        """Number of entries of all cores (biases are no part of the graph)."""
        return sum(prod(self.shape(core)) for core in self.cores)

    def legs(self, index: int) -> int:
        """How many core axes have an index."""
        return sum(core.indices.count(index) for core in self.cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contraction:
    """One einsum over integer indices.

    Attributes:
        names: The operands' names, for reading.
        operands: The indices of each operand's axes.
        output: The indices of the result's axes; each is an index of some operand.
        sizes: The size of every index; that of `batch` is the batch size planned for.
        batch: The index whose size may differ when the program runs, or None.
    """

    names: tuple[str, ...]
    operands: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    sizes: tuple[int, ...]
    batch: int | None = None

    def elements(self, indices: Sequence[int]) -> int:
        """Number of entries of an array with these axes, at the planned batch size."""
        return prod(self.sizes[i] for i in indices)

    def equation(self, *parts: Sequence[int]) -> str:
        """Operands and result in einsum notation, the batch written `b`: `equation(a, b, c)` is "a,b->c"."""
        texts = ["".join(self._letter(i) for i in part) for part in parts]
        return ",".join(texts[:-1]) + "->" + texts[-1]

    def _letter(self, index: int) -> str:
        if index == self.batch:
            return "b"
        letters = "acdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        return letters[index] if index < len(letters) else chr(0x3B1 + index - len(letters))


def renamed(graph: Graph, prefix: str) -> Graph:
    """The same network with a prefix before every core's name."""
    return replace(graph, cores=tuple(replace(core, name=prefix + core.name) for core in graph.cores))


def forward(graph: Graph, batch: int) -> Contraction:
    """The layer applied to a batch: operands `x` (batch, *in_modes) and the cores; result (batch, *out_modes)."""
    index = len(graph.sizes)
    return Contraction(
        names=("x", *(core.name for core in graph.cores)),
        operands=((index, *graph.inputs), *(core.indices for core in graph.cores)),
        output=(index, *graph.outputs),
        sizes=(*graph.sizes, batch),
        batch=index,
    )


def weight(graph: Graph) -> Contraction:
    """The weight rebuilt: operands are the cores, then one identity per shared index; result (*out_modes, *in_modes).

    An index that is input and output at once appears twice in the weight, with zeros off its diagonal: an identity
    matrix between the two puts them there. The caller passes `numpy.eye(size)` for each of `graph.shared`, in order.
    """
    fresh = {old: len(graph.sizes) + k for k, old in enumerate(graph.shared)}
    return Contraction(
        names=(*(core.name for core in graph.cores), *(f"identity_{k}" for k in range(len(fresh)))),
        operands=(*(core.indices for core in graph.cores), *((new, old) for old, new in fresh.items())),
        output=(*(fresh.get(i, i) for i in graph.outputs), *graph.inputs),
        sizes=(*graph.sizes, *(graph.sizes[old] for old in fresh)),
    )


def clip(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Reduce every summed index to the largest size that still adds to what the network can express.

    An edge between two cores has at most the rank of either core seen as a matrix with that edge on one side: the
    smaller, over its two ends, of the product of that core's other axes; a hyperedge or mode that both ends have is
    left out of the product. Applied until nothing changes. A hyperedge is at most the product of all modes over the
    largest (the bound on the rank of any tensor of that shape).

    Returns:
        The graph with reduced sizes, and one sentence per index that was reduced.
    """
    sizes = list(graph.sizes)
    opened = {*graph.inputs, *graph.outputs}
    modes = [graph.sizes[i] for i in (*graph.inputs, *graph.outputs)]
    changed = True
    while changed:
        changed = False
        for index in graph.summed:
            ends = [core for core in graph.cores if index in core.indices]
            if len(ends) < 2:  # a trace, or a leg summed on its own: nothing to compare with
                continue
            if graph.legs(index) > 2:
                bound = prod(modes) // max(modes)
            else:
                # What both ends have in common beside this edge, they have slice by slice: it adds no rank to a slice.
                common = {i for i in ends[0].indices if i in ends[1].indices and (i in opened or graph.legs(i) > 2)}
                apart = [[sizes[i] for i in core.indices if i not in (index, *common)] for core in ends]
                bound = min(map(prod, apart))
            if sizes[index] > bound:
                sizes[index] = bound
                changed = True
    notes = tuple(
        f"bond {' - '.join(core.name for core in graph.cores if i in core.indices)} clipped from {graph.sizes[i]} to "
        f"{sizes[i]}, its exact maximum"
        for i in graph.summed
        if sizes[i] != graph.sizes[i]
    )
    return replace(graph, sizes=tuple(sizes)), notes


def repeated(indices: Sequence[int]) -> tuple[int, ...]:
    """Indices that stand more than once in one list, in order."""
    return tuple(i for i, n in Counter(indices).items() if n > 1)


def check_count(cores: int) -> None:
    """Refuse more cores than are planned for.

    Raises:
        TNLayersError: If there are.
    """
    if cores > MOST_CORES:
        raise TNLayersError(
            f"A network has at most {MOST_CORES} cores, this one has at least {cores}: planning takes the square of "
            "their number. Merge neighbouring cores, or give fewer and larger modes."
        )


def check_modes(graph: Graph) -> None:
    """Refuse a layer without cores, one too large for any array, and a core whose modes are all 1.

    Raises:
        TNLayersError: If there is such a core, or none at all, or more than `MOST_CORES`, or vectors are too long.
    """
    check_count(len(graph.cores))
    for side, sizes in (("input", graph.in_modes), ("output", graph.out_modes)):
        if (features := prod(sizes)) > MOST_ENTRIES:
            raise TNLayersError(
                f"The {len(sizes)} {side} modes multiply to about 2^{features.bit_length() - 1} features, more than "
                "the 2^63 - 1 entries that an array can have: no machine can run this layer. Give fewer or smaller "
                "modes."
            )
    if not graph.cores:
        raise TNLayersError("The layer has no cores, hence no parameters: add at least one net.core(...).")
    opened = {*graph.inputs, *graph.outputs}
    for core in graph.cores:
        modes = [graph.sizes[i] for i in core.indices if i in opened]
        if modes and prod(modes) == 1 and len(graph.cores) > 1:
            raise TNLayersError(
                f"The modes of core {core.name!r} are all 1 ({' x '.join(map(str, modes))}): it carries no feature. "
                "Leave it out, or give one of its modes a size of at least 2."
            )
