"""Models whose parameters something else holds as well: other modules in their places would be silently wrong.

`DistributedDataParallel` adds up the gradients of the parameters that it was made with, `FullyShardedDataParallel` and
DeepSpeed's engine own the memory of theirs, and scripted code is fixed.
"""

from __future__ import annotations

import torch
from torch import nn

from tnlayers.errors import TNLayersError

_HOLDERS = {"DistributedDataParallel", "FullyShardedDataParallel", "DeepSpeedEngine"}


def refuse_wrapped(model: nn.Module, doing: str) -> None:
    """Refuse a model in which no module can be put in another's place.

    Args:
        model: The model.
        doing: What was asked, as in "compress".

    Raises:
        TNLayersError: If it, or a module of it, is one of these.
    """
    for name, module in model.named_modules():
        named = f"{name!r} in this {type(model).__name__}" if name else "This model"
        kind = next((one.__name__ for one in type(module).__mro__ if one.__name__ in _HOLDERS), None)
        if kind is not None:
            raise TNLayersError(
                f"{named} is a {kind}, which goes on to hold the parameters that it was made with: new ones would not "
                f"be trained together on all processes. First {doing} the model inside (model.module), then wrap it."
            )
    if isinstance(model, torch.jit.ScriptModule):
        raise TNLayersError(
            f"This model is a {type(model).__name__}: its code is compiled, and no module in it can be replaced. First "
            f"{doing} the model that it was made of, then torch.export or torch.compile that."
        )
