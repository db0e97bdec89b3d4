"""Order and shape: other factorisations of the sizes, and other orders of the features, for a lower error.

A network sees features by their digits, so which features share a digit matters, and by the sizes of its modes. Neither
costs parameters. Two searches, each for a part of the time that is allowed:

    shapes    the factors of both sizes, every split into as many modes, the most balanced first; without written
              cores 2 to 4 of them
    orders    from the order as it is, the spectral one (the Fiedler vector of the features' correlations, in W, and in
              inputs and outputs where their second moment is known) and a chain of most like features: swaps. With W'
              fixed, swapping rows a and b of W changes the error by inner products of their rows in W and W' alone, so
              all swaps are compared at once and the best disjoint ones taken; then W' is computed anew. Time that is
              left goes to the best so far with some features shuffled. What is not better when measured is not kept.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from tnlayers.cores.linear_map import rebuild
from tnlayers.declare.spec import Spec
from tnlayers.decompose.seriation import chained_order, spectral_order
from tnlayers.decompose.size_search import Found, best_within, bound_on
from tnlayers.decompose.sizes import Scale
from tnlayers.decompose.target import Target
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.program.program import Array

Order = tuple[int, ...]
_SHAPE_SHARE = 0.4  # of the time goes to shapes, the rest to orders
_CORES = (2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search bought: errors at equal parameters, of the outputs where the inputs' covariance was given.

    Attributes:
        before: The error without it.
        after: The error with it.
        shapes: How many factorisations were compared.
        orders: How many orders were.
        seconds: How long it took.
    """

    before: float
    after: float
    shapes: int
    orders: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.shapes} shapes and {self.orders} orders in {self.seconds:.1f} s: error {self.before:.4g} -> "
            f"{self.after:.4g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """A weight with its features in an order, and its network there.

    Attributes:
        target: The weight in that order.
        found: The declaration and its cores.
        in_order: Which input feature is at each place; None for the order as it is.
        out_order: Likewise for outputs.
    """

    target: Target
    found: Found
    in_order: Order | None = None
    out_order: Order | None = None

    @property
    def error(self) -> float:
        """What counts as the error of the target."""
        return self.target.measure(self.found[1])


def arranged(
    target: Target, template: Spec, found: Found, limit: int, *, seconds: float, orders: bool
) -> tuple[Arranged, Searched]:
    """The best shape and order of a network with at most so many parameters.

    Args:
        target: The weight.
        template: The network; its modes are searched where it has none.
        found: What it is without a search.
        limit: Parameters that no candidate exceeds.
        seconds: How long to search; the candidate at work is finished.
        orders: Whether features may be reordered.
    """
    start = time.perf_counter()
    best, shapes = Arranged(target=target, found=found), 0
    if not template.sized:
        best, shapes = _shaped(best, template, limit, start + (_SHAPE_SHARE if orders else 1.0) * seconds)
    tried = 0
    if orders and max(map(len, best.found[0].modes)) > 1:
        best, tried = _ordered(best, limit, start + seconds)
    spent, before = time.perf_counter() - start, target.measure(found[1])
    return best, Searched(before=before, after=best.error, shapes=shapes, orders=tried, seconds=spent)


def _shaped(current: Arranged, template: Spec, limit: int, until: float) -> tuple[Arranged, int]:
    """The shape with the lowest bound on the error, or measured error where there is no bound, if it is better."""
    target, tried = current.target, 0
    best: tuple[float, Spec] | None = None
    for ins, outs in shapes(target.in_features, target.out_features, (template.cores,) if template.cores else _CORES):
        if time.perf_counter() > until:
            break
        spec = _fitting(target, replace(template, in_modes=ins, out_modes=outs, cores=None), limit)
        if spec is None:
            continue
        tried += 1
        score = bound_on(target, spec)
        if best is None or score < best[0]:
            best = score, spec
    if best is None:
        return current, tried
    found = best[1], target.fitted(best[1])
    better = target.measure(found[1]) < target.measure(current.found[1])
    return (replace(current, found=found) if better else current), tried


def _fitting(target: Target, draft: Spec, limit: int) -> Spec | None:
    """The best use of a budget by a network of these modes; None where it has no room for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        try:
            return best_within(target, Scale.of(draft, target.in_features, target.out_features), limit)
        except TNLayersError:  # too small a budget, or modes that this type does not take
            return None


def _ordered(current: Arranged, limit: int, until: float) -> tuple[Arranged, int]:
    """Orders by swaps: from the three starts, then from the best so far with some features shuffled, as time allows."""
    best, tried = current, 0
    weight, rng = current.target.weight, np.random.default_rng(0)
    starts: list[Callable[[], Arranged]] = [
        lambda: current,
        lambda: _moved(current, *_in_order(weight, spectral_order), limit),
        lambda: _moved(current, *_in_order(weight, chained_order), limit),
    ]
    if (moment := current.target.moment) is not None:
        seen, wide = np.array(moment.real.tolist()), np.array(weight.real.tolist())
        starts.insert(1, lambda: _moved(current, spectral_order(seen), spectral_order(wide @ seen @ wide.T), limit))
    while time.perf_counter() < until:
        here = starts.pop(0)() if starts else _shaken(best, rng, limit)
        tried += 1
        while time.perf_counter() < until:
            swapped_once = _moved(here, *_swaps(here), limit)
            tried += 1
            if swapped_once.error >= here.error * (1 - 1e-4):
                break
            here = swapped_once
        best = min(best, here, key=lambda one: one.error)
    return best, tried


def _moved(current: Arranged, in_move: np.ndarray, out_move: np.ndarray, limit: int) -> Arranged:
    """The same shape with features in another order."""
    target = current.target.reordered(in_move.tolist(), out_move.tolist())
    own = current.found[0]
    spec = _fitting(target, own, limit) or own
    n, m = target.in_features, target.out_features
    in_order, out_order = np.arange(n), np.arange(m)
    in_order = np.asarray(current.in_order if current.in_order is not None else in_order)[in_move]
    out_order = np.asarray(current.out_order if current.out_order is not None else out_order)[out_move]
    return Arranged(
        target=target,
        found=(spec, target.fitted(spec)),
        in_order=tuple(in_order.tolist()),
        out_order=tuple(out_order.tolist()),
    )


def _swaps(current: Arranged) -> tuple[np.ndarray, np.ndarray]:
    """Swaps of inputs and of outputs that lower the error with the network's weight fixed."""
    target, (spec, fitted) = current.target, current.found
    near = rebuild(target.ops, spec.graph, fitted.cores)[: target.out_features, : target.in_features]
    weight, ops = target.weight, target.ops
    rows = ops.matmul(weight, ops.permute(near, (1, 0)).conj()).real
    out_move = swapped(np.array(rows.tolist()))
    moved = weight[out_move.tolist()]
    columns = ops.matmul(ops.permute(moved, (1, 0)), near.conj()).real
    return swapped(np.array(columns.tolist())), out_move


def swapped(gains: np.ndarray) -> np.ndarray:
    """The order after the best disjoint swaps.

    Args:
        gains: How well feature a suits place b, (features, places).

    Returns:
        Which feature is at each place.

    Example:
        >>> swapped(np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
        [1, 0, 2]
    """
    own = np.diag(gains)
    better = np.triu(gains + gains.T - own[:, None] - own[None, :], 1)
    order, free = np.arange(len(gains)), np.ones(len(gains), bool)
    ranked = np.argsort(better, axis=None)[::-1][: int((better > 0).sum())]
    for a, b in zip(*np.unravel_index(ranked, better.shape), strict=True):
        if free[a] and free[b]:
            order[[a, b]] = order[[b, a]]
            free[[a, b]] = False
    return order


def _shaken(current: Arranged, rng: np.random.Generator, limit: int) -> Arranged:
    """An arrangement with a tenth of the features of each side, at least two, permuted at random."""
    moves = []
    for size in (current.target.in_features, current.target.out_features):
        order, some = np.arange(size), rng.permutation(size)[: max(2, size // 10)]
        order[np.sort(some)] = some
        moves.append(order)
    return _moved(current, moves[0], moves[1], limit)


def _in_order(weight: Array, order: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The orders of a weight's inputs and outputs, from inner products of its entries' sizes with their signs."""
    sizes: np.ndarray = np.array(abs(weight).tolist())  # a numpy array wherever the weight is
    signed: np.ndarray = sizes * np.sign(np.array(weight.real.tolist()))
    return order(signed.T @ signed), order(signed @ signed.T)


def shapes(in_features: int, out_features: int, cores: Sequence[int]) -> Iterator[tuple[Order, Order]]:
    """Pairs of modes for both sizes, the most balanced first; before them low rank, where it is among them.

    Example:
        >>> list(shapes(6, 4, (2,)))[:3]
        [((6, 1), (1, 4)), ((2, 3), (2, 2)), ((3, 2), (2, 2))]
    """
    pairs = [
        (ins, outs)
        for count in cores
        for ins, outs in product(_ordered_factors(in_features, count), _ordered_factors(out_features, count))
        if all(i * o > 1 for i, o in zip(ins, outs, strict=True))
    ]
    low_rank = ((in_features, 1), (1, out_features))  # as unbalanced as can be, and often hard to beat
    return iter(sorted(pairs, key=lambda pair: (pair != low_rank, sum(pair[0]) + sum(pair[1]), pair)))


def _ordered_factors(size: int, count: int) -> list[Order]:
    """All ways to write a size as a product of that many factors, in every order."""
    found = {order for factors in _factors(size, count, 1) for order in permutations(factors)}
    return sorted(found)


def _factors(size: int, count: int, least: int) -> Iterator[Order]:
    if count == 1:
        yield (size,)
        return
    for factor in range(least, int(size ** (1 / count) + 1e-9) + 1):
        if size % factor == 0:
            yield from ((factor, *rest) for rest in _factors(size // factor, count - 1, factor))
