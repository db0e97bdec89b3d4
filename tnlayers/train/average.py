"""Moving averages of the trainables over the steps of training: what is tested and kept, while the steps go on without.

    average <- d * average + (1 - d) * weight,   d = min(decay, (1 + t) / (10 + t))

after step t = 1, 2, ... (the rule of TensorFlow's ExponentialMovingAverage, which the authors' code uses): the early
averages forget fast. Statistics of batch normalisation are averages already; the model's own are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


class WeightAverage:
    """The averages of a model's trainables, each where its trainable is (of a sharded one, the shard).

    Args:
        model: Ready for training, sharded if it is to be.
        decay: The largest d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._model = model
        self._weights = [local(weight) for weight in model.parameters()]
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
        if isinstance(self._model, FSDPModule):
            self._model.reshard()  # whole weights that a forward pass left behind are of before


def local(weight: Tensor) -> Tensor:
    """Return the storage of a trainable on this process, apart from its gradient."""
    return weight.to_local().detach() if isinstance(weight, DTensor) else weight.detach()
