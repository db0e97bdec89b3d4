"""The language models that a run has trained, with the tokens that each was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from tnlayers.errors import TNLayersError, shortened
from tnlayers.io import header, load
from tnlayers.models.decoder import GPT
from tnlayers.models.generating import generate
from tnlayers.train.tokens import Tokens, tokens_from_json


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedText:
    """A trained language model.

    Attributes:
        network: What it was trained with.
        model: The model.
        code: How text becomes its tokens.
    """

    network: str
    model: GPT
    code: Tokens

    def continued(
        self, prompt: str, length: int, *, temperature: float = 1.0, top_k: int | None = None, seed: int | None = None
    ) -> str:
        """The prompt and as many tokens more as asked for; see `tnl.models.generate`.

        Raises:
            TNLayersError: The prompt is empty or has characters that the model does not know, or a number is out of
                range.
        """
        if not prompt:
            raise TNLayersError("The prompt is empty: give at least one character to continue, such as --prompt 'O '.")
        started = torch.from_numpy(self.code.encode(prompt))
        text = generate(self.model, started, length, temperature=temperature, top_k=top_k, seed=seed)
        return self.code.decode(text.numpy())


def trained_texts(place: Path, *, network: str | None = None) -> Iterator[TrainedText]:
    """The language models of a run, one for each network: that of the first seed.

    Args:
        place: The folder of the run, or one file of weights in it.
        network: Only this one.

    Raises:
        TNLayersError: There is none, or a file is damaged or holds something else.
    """
    found: dict[str, Path] = {}
    for file in _files(place):
        found.setdefault(header(file).info.get("network", file.stem), file)
    if network is not None and network not in found:
        raise TNLayersError(f"{place} has no model with network={network!r}. It has {', '.join(found)}.")
    for name in found if network is None else [network]:
        yield _read(name, found[name])


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    # By the seeds' numbers, not by their digits: seed 2 comes before seed 10.
    files = sorted((place / "models").glob("*.safetensors"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise TNLayersError(
            f"{place} is neither a file nor the folder of a run with trained models in {place / 'models'}. "
            "`tnlayers train gpt-pico --data sonnets` makes one."
        )
    return files


def _read(network: str, file: Path) -> TrainedText:
    info = header(file).info
    if "tokens" not in info:
        raise TNLayersError(
            f"{file} does not say what its tokens are: it is no language model that `tnlayers train` has written."
        )
    code, model = tokens_from_json(info["tokens"]), load(file)
    if not isinstance(model, GPT) or model.shape.vocabulary != code.vocabulary:
        raise TNLayersError(
            f"{file} holds {shortened(getattr(model, 'name', type(model).__name__), 100)} beside {code.vocabulary} "
            "tokens: the model of these tokens is a GPT of as many."
        )
    return TrainedText(network=network, model=model, code=code)
