"""A trained torch model from the words of a command: a file, or a factory in a module of the user's."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnlayers.cli import completion
from tnlayers.cli.usage import WrongCall
from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from torch import nn

TrainedArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE_OR_FACTORY",
        help="A .safetensors file (of tnl.save, or a plain state dict), or module:function that makes the model.",
        show_default=False,
        autocompletion=completion.trained,
    ),
]


def trained(what: str) -> tuple[nn.Module, bool]:
    """Read or make a model.

    Args:
        what: The path of a .safetensors file, or "module:function".

    Returns:
        The model, and whether it can run: a plain state dict cannot.

    Raises:
        WrongCall: If the text is neither.
        TNLayersError: If there is none, or torch is not installed.
    """
    if not what.endswith(".safetensors") and not all(what.partition(":")):
        raise WrongCall(
            f"{what!r} is neither a .safetensors file nor module:function, such as mine:make_model for the function "
            "make_model of mine.py."
        )
    if what.endswith(".safetensors") and not Path(what).exists():
        raise TNLayersError(f"{what}: no such file. Give the path of a .safetensors file, or module:function.")
    from tnlayers.backends import backend

    backend("torch")  # says what to install
    import torch

    import tnlayers as tnl
    from tnlayers.io.container import read

    if not what.endswith(".safetensors"):
        return _made(what), True
    metadata, arrays = read(Path(what))
    if "tnlayers" not in metadata:
        from tnlayers_backends.torch.modules.bare import bare
        from tnlayers_backends.torch.modules.storage import from_bytes

        return bare({name: from_bytes(one.data, one.dtype, one.shape) for name, one in arrays.items()}), False
    model = tnl.load(what)
    if not isinstance(model, torch.nn.Module):
        raise TNLayersError(f"{what} holds a {type(model).__name__}, not a torch model.")
    return model, True


def _made(what: str) -> nn.Module:
    from torch import nn

    name, _, attribute = what.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        made: Any = getattr(importlib.import_module(name), attribute)
        made = made if isinstance(made, nn.Module) else made()
    except Exception as error:
        raise TNLayersError(f"{what} failed: {type(error).__name__}: {error}. TNLAYERS_DEBUG=1 shows where.") from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(made, nn.Module):
        raise TNLayersError(f"{what} gives a {type(made).__name__}, not a torch module.")
    return made
