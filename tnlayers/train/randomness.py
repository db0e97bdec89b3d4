"""Randomness as a function of a few numbers and of nothing before it, so that a run can be taken up anywhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def epoch_order(images: int, *, seed: int, epoch: int) -> Tensor:
    """Return the permutation (images,) int64 of one epoch, made on the CPU so that every device sees the same one."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    return torch.randperm(images, generator=generator)


def mixed_seed(*numbers: int) -> int:
    """Hash a few numbers into one seed, so that (seed 1, epoch 2) and (seed 2, epoch 1) have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
