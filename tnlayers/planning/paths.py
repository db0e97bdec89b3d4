"""Search: which contraction path. opt_einsum proposes, the cost of the lowered program decides.

"Carry the input through the cores", "merge some cores first" and "rebuild the weight, then multiply" are contraction
trees of one graph, since the batch is an index like any other. opt_einsum's optimizers minimise flops or sizes of the
forward pass; beside them stand the tree that rebuilds the weight and sweeps over groups of cores (`grouping.py`). The
best few sweeps by a rough estimate are lowered too, and the least estimated time for the asked objective decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from math import inf
from typing import Any, NamedTuple, TypeAlias

from opt_einsum import paths

from tnlayers.declare.graph import MOST_ENTRIES, Contraction
from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.machine.rates import Machine
from tnlayers.planning.grouping import Groups, Rough, orders
from tnlayers.program.axes import Path

# A name known to opt_einsum, one of its optimizer objects (any callable of the same signature), or a path by hand.
Optimizer: TypeAlias = "str | Callable[..., Sequence[tuple[int, ...]]] | Sequence[tuple[int, int]]"

# `optimal` tries every tree: a millisecond at 5 operands, a second at 8. `dp` is as good on trees without outer
# products.
_OPTIMAL_UP_TO = 5
_DP_UP_TO = 12
# Optimizers whose time grows at least exponentially, and the operands that they are offered for. "optimal" took 3 s for
# a chain of 8 and 47 s for 9; "branch-all" 10 s for a ring of 11, 170 s for a chain of 13; "branch-2" 0.7 s for 17.
_EXHAUSTIVE = {"optimal": 9, "branch-all": 11, "branch-2": 20}
# How many paths are lowered, by the number of operands: that takes a few milliseconds, of many operands a tenth of a
# second and more. Of few a sweep and its mirror image, which are alike roughly, both have a place. One less for
# "inference", beside which the path of "forward" is lowered too.
_LOWERED = ((_OPTIMAL_UP_TO, 8), (64, 5), (inf, 3))


class Candidate(NamedTuple):
    """A path worth lowering.

    Attributes:
        label: What found it.
        path: The path.
        least: Seconds that no program of it can stay below.
    """

    label: str
    path: Path
    least: float


def candidates(
    contraction: Contraction, optimize: Optimizer, *, objective: str, itemsize: int, machine: Machine
) -> list[Candidate]:
    """Contraction paths worth lowering, by a rough estimate of their time; no tree twice.

    Args:
        contraction: What to compute.
        optimize: "auto" for opt_einsum's paths, the rebuilt weight, and cores in groups; else the one optimizer or
            path asked for.
        objective: What is to be fast.
        itemsize: Bytes per entry.
        machine: The rates that rank paths before they are lowered.

    Raises:
        TNLayersError: If opt_einsum does not know the name, it would try too many orders, or a path leaves more than
            two operands to one step.
    """
    operands = len(contraction.operands)
    rough = Rough(contraction, objective, itemsize, machine)
    if optimize != "auto":
        return _possible(rough, [Candidate(_label(optimize), _ask(contraction, optimize), 0.0)])
    found = {_tree(operands, path): (label, path) for label, path in reversed(_proposed(contraction))}
    if contraction.batch is not None:
        known = [path for _, path in reversed(found.values())]
        most = next(count for largest, count in _LOWERED if operands <= largest) - (objective == "inference")
        swept = [path for order in orders(operands, known) for path in Groups(rough, order).sweeps()]
        for path in sorted(swept, key=rough.path):
            if len(found) < most:
                found.setdefault(_tree(operands, path), ("groups", path))
    least = Rough(contraction, objective, itemsize, machine.at_hand())
    ranked = sorted(found.values(), key=lambda one: rough.path(one[1]))
    return _possible(rough, [Candidate(label, path, least.path(path)) for label, path in ranked])


def _possible(rough: Rough, found: Sequence[Candidate]) -> list[Candidate]:
    """Those without a result that no array can hold.

    Raises:
        TNLayersError: If there are none.
    """
    sizes = [rough.largest(candidate.path) for candidate in found]
    if min(sizes) > MOST_ENTRIES:
        raise TNLayersError(
            f"Every order found for this contraction of {len(rough.masks)} operands has a result of more than 2^63 "
            "entries, which no array can hold. Take a smaller batch, smaller bonds, or a network with fewer loops."
        )
    return [candidate for candidate, size in zip(found, sizes, strict=True) if size <= MOST_ENTRIES]


@lru_cache(maxsize=256)
def _proposed(contraction: Contraction) -> tuple[tuple[str, Path], ...]:
    """What opt_einsum proposes, and the rebuilt weight; the same for every objective."""
    found = ((label, finder(contraction)) for label, finder in _auto(len(contraction.operands)))
    return tuple((label, path) for label, path in found if path is not None)


def _auto(operands: int) -> Iterator[tuple[str, Callable[[Contraction], Path | None]]]:
    if operands <= _OPTIMAL_UP_TO:
        yield "optimal", partial(_ask, optimize="optimal")
    if operands <= _DP_UP_TO:
        yield "dp", _dynamic
    yield "greedy", _greedy
    yield "rebuild", _rebuild


def _rebuild(contraction: Contraction) -> Path | None:
    """The path that contracts everything but the batch's operand first: the weight is rebuilt, then applied."""
    n = len(contraction.operands)
    carrying = [k for k, indices in enumerate(contraction.operands) if contraction.batch in indices]
    if len(carrying) != 1 or n < 3:
        return None
    (x,) = carrying
    kept = {*contraction.output, *contraction.operands[x]}
    rest = Contraction(
        names=(),
        operands=tuple(op for k, op in enumerate(contraction.operands) if k != x),
        output=tuple(sorted({i for op in contraction.operands for i in op if i in kept and i != contraction.batch})),
        sizes=tuple(1 if i == contraction.batch else size for i, size in enumerate(contraction.sizes)),
    )
    # Registers of the smaller problem, in those of the whole: operands skip `x`, results follow all operands.
    path = [tuple(k if k < x else k + 1 for k in pair) for pair in _weight_path(rest)]
    last = n + len(path) - 1 if path else (1 if x == 0 else 0)
    return (*((a, b) for a, b in path), (x, last))


@lru_cache(maxsize=256)
def _weight_path(rest: Contraction) -> Path:
    """The path of the weight alone, which is the same for every batch size."""
    return _dynamic(rest) if len(rest.operands) < _DP_UP_TO else _ask(rest, "greedy")


def _dynamic(contraction: Contraction) -> Path:
    """The path of fewest flops without outer products.

    The search raises the most that a path may take until one is found; what a greedy one takes is enough at once.
    """
    return _ask(contraction, paths.DynamicProgramming(cost_cap=_multiplications(contraction, _greedy(contraction))))


@lru_cache(maxsize=256)
def _greedy(contraction: Contraction) -> Path:
    return _ask(contraction, "greedy")


def _multiplications(contraction: Contraction, path: Path) -> int:
    """What opt_einsum counts for a path: the sizes of all indices of a pair, summed over pairs."""
    alive = dict(enumerate(map(set, contraction.operands)))
    total = 0
    for number, (a, b) in enumerate(path):
        both = alive.pop(a) | alive.pop(b)
        total += contraction.elements(tuple(both))
        kept = set(contraction.output).union(*alive.values())
        alive[len(contraction.operands) + number] = both & kept
    return total


def _ask(contraction: Contraction, optimize: Optimizer) -> Path:
    """One path from one optimizer, as pairs of registers."""
    inputs = [frozenset(indices) for indices in contraction.operands]
    if len(inputs) == 1:
        return ()
    if isinstance(optimize, str):
        most = _EXHAUSTIVE.get(optimize, len(inputs))
        if len(inputs) > most:
            raise TNLayersError(
                f"optimize={optimize!r} tries more orders than can be tried for {len(inputs)} operands; it is offered "
                f"for at most {most}. Ask for 'dp', 'greedy', 'random-greedy' or 'auto', which compares several."
            )
        try:
            optimize = paths.get_path_fn(optimize)
        except KeyError as error:
            known = sorted(re.findall(r"'([\w-]+)'", str(error).partition("valid options")[2]))
            raise TNLayersError(
                f"optimize={optimize!r}: opt_einsum has no optimizer of this name.{did_you_mean(optimize, known)} It "
                f"has {', '.join(known)}; 'auto' compares several."
            ) from error
    found: Sequence[tuple[int, ...]]
    if callable(optimize):
        # Sorted, not as they come: sets of int iterate by value, and a path must not depend on anything but its input.
        sizes = dict(enumerate(contraction.sizes))
        found = optimize(list(inputs), frozenset(contraction.output), sizes, None)
    elif not isinstance(optimize, str):
        found = optimize
    return _pairs(len(inputs), found)


def _pairs(operands: int, path: Sequence[tuple[int, ...]]) -> Path:
    """opt_einsum's path (positions in a shrinking list) as pairs of registers (numbers that stay)."""
    alive = list(range(operands))
    pairs = []
    try:
        listed = [tuple(int(k) for k in step) for step in path]
    except (TypeError, ValueError) as error:
        raise TNLayersError(
            f"{path!r} is no contraction path: pairs of positions such as [(0, 1), (0, 1)] are needed."
        ) from error
    for number, step in enumerate(listed):
        if len(step) == 1 and step[0] in range(len(alive)):
            alive.append(alive.pop(step[0]))  # "reduce this operand alone": programs do that first, in one step each
            continue
        if len(step) != 2 or len(set(step)) != 2 or not all(0 <= k < len(alive) for k in step):
            raise TNLayersError(
                f"Step {number} of the contraction path, {step}, does not name two of the {len(alive)} operands "
                "left. Every step must contract two; optimizers given a memory limit may return larger ones."
            )
        first, second = sorted(step)
        b, a = alive.pop(second), alive.pop(first)
        pairs.append((a, b))
        alive.append(operands + len(pairs) - 1)
    if len(alive) != 1:
        raise TNLayersError(f"The contraction path {listed} leaves {len(alive)} operands uncontracted.")
    return tuple(pairs)


def check_path(contraction: Contraction, path: Path) -> None:
    """Refuse a path from a file that does not merge all operands two by two."""
    known = range(len(contraction.sizes))
    used = {i for indices in contraction.operands for i in indices}
    if min(contraction.sizes, default=1) < 0 or not used.issuperset(contraction.output) or used.difference(known):
        raise TNLayersError(f"This plan's indices do not fit its {len(known)} sizes {contraction.sizes}.")
    if contraction.batch is not None and contraction.batch not in known:
        raise TNLayersError(f"This plan's batch index is {contraction.batch!r}, but it has {len(known)} sizes.")
    alive = set(range(len(contraction.operands)))
    for number, pair in enumerate(path):
        if len(set(pair)) != 2 or not alive.issuperset(pair):
            raise TNLayersError(f"Step {number} of this plan contracts {pair}; the registers left are {sorted(alive)}.")
        alive -= set(pair)
        alive.add(len(contraction.operands) + number)
    if len(alive) != 1:
        raise TNLayersError(f"The path of this plan leaves {len(alive)} operands uncontracted.")


def linear_path(operands: int, path: Path) -> tuple[tuple[int, int], ...]:
    """Pairs of registers as opt_einsum's own path (positions in a shrinking list): the inverse of the above."""
    alive = list(range(operands))
    steps = []
    for number, (a, b) in enumerate(path):
        i, j = sorted((alive.index(a), alive.index(b)))
        steps.append((i, j))
        del alive[j], alive[i]
        alive.append(operands + number)
    return tuple(steps)


def _tree(operands: int, path: Path) -> frozenset[frozenset[int]]:
    """What identifies a contraction tree, whatever the order of its steps: the sets of operands merged."""
    below = [frozenset((k,)) for k in range(operands)]
    for a, b in path:
        below.append(below[a] | below[b])
    return frozenset(below[operands:])


def _label(optimize: Any) -> str:
    if isinstance(optimize, str):
        return optimize
    return type(optimize).__name__ if callable(optimize) else "given"
