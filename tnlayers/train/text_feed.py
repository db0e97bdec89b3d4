"""A text on the device: whole, as tokens, giving batches of stretches of it.

Training reads stretches from random places: an epoch has as many as cover the text once, or as many as the recipe says,
and their places are a function of (seed, epoch). Test reads all of a part, cut into stretches end to end; what its last
one lacks is filled up with tokens that count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from tnlayers.errors import TNLayersError
from tnlayers.train.augment import Draws
from tnlayers.train.feed import DeviceData
from tnlayers.train.randomness import mixed_seed
from tnlayers.train.recipe import Recipe
from tnlayers.train.text import Text, TextDataset

IGNORED = -100  # torch's cross-entropy passes over answers of this value
OF_IMAGES = {"augment": False, "normalise": "none", "flip_test": False}  # settings without a meaning for texts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DeviceText:
    """A stretch of a text on the device, as examples of `context` tokens.

    Attributes:
        tokens: (M,) int64, all but the last; filled up with zeros where it is read end to end.
        following: (M,) int64: the token after each, IGNORED where there is none.
        context: Tokens of an example.
        stride: From the first token of an example to that of the next: 1 for training, else the context.
    """

    tokens: Tensor
    following: Tensor
    context: int
    stride: int

    @classmethod
    def to_train(cls, text: Text, context: int, device: torch.device) -> DeviceText:
        """A part that is read from any place.

        Raises:
            TNLayersError: It is shorter than one example.
        """
        if len(text) <= context:
            raise TNLayersError(
                f"The training part has {len(text)} tokens, and the model reads {context} and predicts one more. Give "
                "a longer text or a model of a shorter context, such as gpt-w128-d4-h4-c64-v65."
            )
        tokens = torch.from_numpy(text.tokens).to(device)
        return cls(tokens=tokens[:-1], following=tokens[1:], context=context, stride=1)

    @classmethod
    def to_test(cls, text: Text, context: int, device: torch.device) -> DeviceText:
        """A part that is read once, end to end.

        Raises:
            TNLayersError: It has nothing to predict.
        """
        if len(text) < 2:
            raise TNLayersError(
                f"A part held out has {len(text)} token(s), too few to predict one. Give a longer text."
            )
        tokens = torch.from_numpy(text.tokens).to(device)
        missing = -(len(tokens) - 1) % context
        following = pad(tokens[1:], (0, missing), value=IGNORED)
        return cls(tokens=pad(tokens[:-1], (0, missing)), following=following, context=context, stride=context)

    def __len__(self) -> int:
        return (len(self.tokens) - self.context) // self.stride + 1

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.tokens.device

    @property
    def per_example(self) -> int:
        """Answers of an example."""
        return self.context

    @property
    def one_pass(self) -> int:
        """How many examples cover the text once."""
        return len(self.tokens) // self.context

    @property
    def count(self) -> int:
        """How many tokens are predicted when each example is read once, end to end."""
        return int((self.following != IGNORED).sum())

    def order(self, count: int, *, seed: int, epoch: int) -> Tensor:
        """The examples (count,) of an epoch, from random places; made on the CPU, so every device sees the same."""
        generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
        return torch.randint(len(self), (count,), generator=generator).to(self.device)

    def draws(self, *, seed: int, epoch: int) -> Draws | None:
        """Nothing else is drawn."""
        return None

    def batch(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        """The tokens (B, context) of the chosen examples (B,)."""
        return self.tokens[self._places(chosen)]

    def answers(self, chosen: Tensor) -> Tensor:
        """The token after each of those (B, context)."""
        return self.following[self._places(chosen)]

    def _places(self, chosen: Tensor) -> Tensor:
        return chosen[:, None] * self.stride + torch.arange(self.context, device=self.device)


def put_text(dataset: TextDataset, device: torch.device, recipe: Recipe, *, context: int) -> DeviceData:
    """Copy a text to the device, cut as the recipe says, for a model that reads so many tokens.

    Raises:
        TNLayersError: The recipe has settings that are for images, or a part is too short.
    """
    for key, value in OF_IMAGES.items():
        if getattr(recipe, key) != value:
            raise TNLayersError(
                f"{key}={getattr(recipe, key)!r} is for images; {dataset.name!r} is a text. Leave it out."
            )
    dataset = dataset.hold_out(recipe.validation)
    val_data = dataset.validation
    return DeviceData(
        train=DeviceText.to_train(dataset.train, context, device),
        test=DeviceText.to_test(dataset.test, context, device),
        validation=None if val_data is None else DeviceText.to_test(val_data, context, device),
    )
