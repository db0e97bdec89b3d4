"""Contraction paths for tests."""

import random


def random_path(operands, seed):
    """A contraction order with every pair equally likely at each step."""
    draw, alive, path = random.Random(seed), list(range(operands)), []
    while len(alive) > 1:
        pair = draw.sample(alive, 2)
        alive = [k for k in alive if k not in pair] + [operands + len(path)]
        path.append(tuple(pair))
    return tuple(path)
