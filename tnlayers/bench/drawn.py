"""Cells drawn at random: shapes that nobody tuned for, by a seed that a reader can change.

Sizes, bonds and batches are drawn so that each octave is as likely as another. A size is rounded up to one that splits
into as many factors as there are cores, as the other libraries pad nothing. Cells whose dense layer would take too
long for a round are drawn again.
"""

from __future__ import annotations

import random
from itertools import count as numbers
from math import exp, log

from tnlayers.bench.cells import MODES, Cell
from tnlayers.declare.modes import factorise

CORES = (2, 6)
BONDS = (4, 64)
FEATURES = (256, 16384)
BATCHES = (1, 4096)
LARGEST = 2e11  # flops of the dense layer in training: about two seconds of one core
_SPREAD = 4  # the largest factor of a size is at most as many times the smallest


def drawn(count: int, seed: int) -> tuple[Cell, ...]:
    """So many layers with a batch each, every one forward and in training.

    Args:
        count: Number of layers.
        seed: Of the draw; a longer draw by the same seed begins with the shorter one.

    Example:
        >>> [cell.name for cell in drawn(1, seed=0)]
        ['432-448-c6-r9-b192-s0n0-forward', '432-448-c6-r9-b192-s0n0-training']
    """
    chance = random.Random(f"tnlayers bench --random --seed {seed}")
    cells: list[Cell] = []
    while len(cells) < count * len(MODES):
        cores = chance.randint(*CORES)
        sizes = [_split(_between(chance, *FEATURES), cores) for _ in range(2)]
        bond, batch = _between(chance, *BONDS), _between(chance, *BATCHES)
        pair = [
            Cell(
                in_features=sizes[0],
                out_features=sizes[1],
                cores=cores,
                bond=bond,
                batch=batch,
                mode=mode,
                drawn=f"s{seed}n{len(cells) // len(MODES)}",
            )
            for mode in MODES
        ]
        if max(cell.dense_flops for cell in pair) <= LARGEST:
            cells += pair
    return tuple(cells)


def _between(chance: random.Random, least: int, most: int) -> int:
    return round(exp(chance.uniform(log(least), log(most))))


def _split(size: int, cores: int) -> int:
    """The next size that splits into as many factors of about the same size."""
    for larger in numbers(size):
        factors = factorise(larger, cores, pad=False)
        if min(factors) > 1 and max(factors) <= _SPREAD * min(factors):
            return larger
    raise AssertionError("sizes do not end")
