"""Moving averages of the trainables over the steps of training: what is tested and kept, while the steps go on without.

    average <- d * average + (1 - d) * weight,   d = min(decay, (1 + t) / (10 + t))

after step t = 1, 2, ... (the rule of TensorFlow's ExponentialMovingAverage, which the authors' code uses): the early
averages forget fast. Statistics of batch normalisation are averages already; the model's own are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The averages of a model's trainables, each where its trainable is (of a sharded one, the shard).

    Args:
        model: Ready for training, shared out over processes if it is to be.
        decay: The largest d.
        is_sharded: Whether it is.
    """

    def __init__(self, model: nn.Module, decay: float, *, is_sharded: bool = False) -> None:
        self.decay = decay
        self._after_change: Callable[[], None] = lambda: None
        self._weights = [weight.detach() for weight in model.parameters()]
        if is_sharded:
            from tnlayers.train import sharded

            self._after_change = lambda: sharded.reshard(model)
            self._weights = [sharded.local(weight) for weight in model.parameters()]
        self._averages = [weight.clone() for weight in self._weights]

    def update(self, steps: int) -> None:
        """Take the weights in after a step.

        Args:
            steps: Steps done, this one included.
        """
        kept = min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(self._averages, self._weights, 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the model for the length of a block, then the weights back."""
        weights = [weight.clone() for weight in self._weights]
        self.put_in()
        try:
            yield
        finally:
            self._fill(weights)

    def put_in(self) -> None:
        """Put the averages into the model."""
        self._fill(self._averages)

    def take_over(self) -> None:
        """Take the model's weights as the averages, as when they come from a checkpoint."""
        with torch.no_grad():
            torch._foreach_copy_(self._averages, self._weights)

    def _fill(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self._weights, values)
        self._after_change()
