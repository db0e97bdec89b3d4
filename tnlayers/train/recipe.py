"""A recipe: how a model is trained, as numbers, and the learning rate that follows from them."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Recipe(BaseModel):
    """Stochastic gradient descent, or AdamW, written out. An example is an image, or a stretch of a text.

    Attributes:
        epochs: Passes over the training part, after each of which the model is tested.
        batch: Examples per step, over all processes together. Images left over at the end of an epoch sit it out: each
            step is an average over equally many, and another permutation leaves out others.
        steps: Of an epoch; 0 takes as many as make one pass over the training part.
        lr: Learning rate of the first step, or, with `warmup`, the highest.
        lr_decay_per_epoch: Factor per epoch; see `lr_at`.
        staircase: Epochs for which that factor stays before it falls by as many at once; 0 lets it fall continuously.
        warmup: Share of all steps in which the learning rate rises in a line from nearly 0.
        cooldown: Share of all steps, the last ones, in which it falls to nearly 0. The two add up to 1 in a one-cycle
            schedule, to less in a trapezoid.
        cooldown_shape: "line", or "cosine": half a wave from its highest to its lowest point.
        optimizer: "sgd" or "adamw" (Loshchilov and Hutter, arXiv 1711.05101).
        momentum: Of SGD; 0 is plain SGD. Of AdamW its beta1.
        beta2: Of AdamW: the decay of its averages of squared gradients.
        weight_decay: Of AdamW: at each step trainables lose the learning rate times this share. `l2_on` says which.
        nesterov: Whether the momentum is Nesterov's.
        l2: Weight of 0.5 * sum(v**2) over trainables v, added to the loss.
        l2_on: What `l2` or `weight_decay` is on: "all" trainables, biases and normalisation too, or "matrices": those
            with two axes or more.
        clip_norm: Largest norm of the gradient of all trainables together; a longer one is scaled down to it. 0 leaves
            gradients as they are.
        label_smoothing: Share of each label that is spread evenly over all classes, in the training loss.
        average: Decay of the moving averages of the trainables that are tested and kept; 0 tests and keeps the last
            weights. See `WeightAverage`.
        augment: Whether training images are shifted by up to 4 pixels and mirrored at random.
        normalise: What is taken off images, and by what they are divided: the mean and standard deviation of the
            training part of each "pixel" or "channel", or "none".
        flip_test: Whether a test image and its mirror image are classified together.
        validation: Images of the training part, or tokens at its end, that are held out to choose the best epoch; 0
            leaves the choice to the test part, as in the paper.
        precision: Fabric's, where none is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1, le=50_000)  # `archive.py` reads a history of so many
    batch: int = Field(ge=1)
    steps: int = Field(default=0, ge=0, le=10**9)
    lr: float = Field(gt=0, allow_inf_nan=False)
    lr_decay_per_epoch: float = Field(default=1.0, gt=0, le=1)
    staircase: int = Field(default=0, ge=0)
    warmup: float = Field(default=0.0, ge=0, le=1)
    cooldown: float = Field(default=0.0, ge=0, le=1)
    cooldown_shape: Literal["line", "cosine"] = "line"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    nesterov: bool = False
    l2: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    l2_on: Literal["all", "matrices"] = "all"
    clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    augment: bool = False
    normalise: Literal["none", "pixel", "channel"] = "none"
    flip_test: bool = False
    validation: int = Field(default=0, ge=0)
    precision: str = "32-true"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0: set --momentum 0.9, or leave nesterov out")
        if self.optimizer == "adamw" and (self.nesterov or self.l2):
            raise ValueError("nesterov and l2 are for optimizer sgd; adamw has weight_decay: set --l2 0 --no-nesterov")
        if self.optimizer == "sgd" and self.weight_decay:
            raise ValueError("weight_decay is for optimizer adamw; sgd has l2: set weight_decay 0")
        if self.warmup + self.cooldown > 1:
            raise ValueError(
                f"warmup {self.warmup} and cooldown {self.cooldown} are shares of all steps and add up to more than 1"
            )
        return self

    @property
    def depends_on_length(self) -> bool:
        """Whether another number of epochs would change the learning rate of the first ones."""
        return self.warmup > 0 or self.cooldown > 0

    def lr_at(self, step: int, *, steps_per_epoch: int) -> float:
        """Return the learning rate of a step: lr * decay ** epochs * min(1, rise, fall).

        `epochs` is step / steps_per_epoch, rounded down to a multiple of `staircase` where that is set. Rise and fall
        are the lines of `warmup` and `cooldown`, taken in the middle of the step: neither is ever 0. A fall in the
        shape of a cosine is (1 - cos(pi * f)) / 2 of the line's f.

        Args:
            step: Steps done before this one, from the start of training.
            steps_per_epoch: Steps in one pass.

        Example:
            >>> recipe = Recipe(epochs=10, batch=100, lr=0.8, lr_decay_per_epoch=0.99)
            >>> recipe.lr_at(600, steps_per_epoch=600)
            0.792
            >>> one_cycle = Recipe(epochs=1, batch=1, lr=1.0, warmup=0.5, cooldown=0.5)
            >>> [one_cycle.lr_at(step, steps_per_epoch=4) for step in range(4)]
            [0.25, 0.75, 0.75, 0.25]
        """
        epochs = step / steps_per_epoch
        if self.staircase:
            epochs = math.floor(epochs / self.staircase) * self.staircase
        factor: float = self.lr_decay_per_epoch**epochs
        done = (step + 0.5) / (self.epochs * steps_per_epoch)
        if self.warmup:
            factor *= min(1.0, done / self.warmup)
        if self.cooldown:
            fall = min(1.0, (1 - done) / self.cooldown)
            factor *= fall if self.cooldown_shape == "line" else (1 - math.cos(math.pi * fall)) / 2
        return self.lr * factor
