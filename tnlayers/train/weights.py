"""Trained weights as safetensors: the state dict, and in the header what is needed to build the model again."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from tnlayers.atomic import replacing
from tnlayers.errors import TNLayersError
from tnlayers.train.environment import version

FORMAT = "tnlayers-state-dict-1"


def save_weights(path: Path, model: nn.Module, *, name: str, network: str, seed: int, epochs: int) -> None:
    """Write the state dict of a model.

    Args:
        path: The file to write or replace.
        model: Not wrapped by anything, so that its keys are those of a fresh model.
        name: Of the model, as for `tnlayers.models.build`.
        network: As for `tnlayers.models.build`.
        seed: Of the training.
        epochs: Trained for.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    header = {
        "format": FORMAT,
        "model": name,
        "network": network,
        "seed": str(seed),
        "epochs": str(epochs),
        "tnlayers": version("tnlayers"),
    }
    with replacing(path) as file:
        file.write(safetensors.torch.save(state, metadata=header))


def read_header(path: Path) -> dict[str, str]:
    """Return what a file of weights says about itself.

    Raises:
        TNLayersError: It is not a safetensors file, or not one of this library.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise TNLayersError(
            f"Cannot read the weights {path}: {error}. Delete the file and train with --resume."
        ) from error
    if header.get("format") != FORMAT:
        raise TNLayersError(
            f"{path} has format {header.get('format')!r}, expected {FORMAT!r}: not weights of tnlayers."
        )
    return dict(header)
