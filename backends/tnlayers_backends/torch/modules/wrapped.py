"""Models that are not ready: lazy ones, and those whose parameters something else holds as well.

`DistributedDataParallel` adds up the gradients of the parameters that it was made with, `FullyShardedDataParallel` and
DeepSpeed's engine own the memory of theirs, and scripted code is fixed: other modules in their places would be silently
wrong.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

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


def refuse_lazy(model: nn.Module, doing: str) -> None:
    """Refuse a model some of whose parameters or buffers have no sizes yet.

    Args:
        model: The model.
        doing: What was asked, as in "compress".

    Raises:
        TNLayersError: If it has lazy modules that never ran.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    lazy = [name for name, one in named if is_lazy(one)]
    if lazy:
        raise TNLayersError(
            f"{len(lazy)} parameters or buffers, {lazy[0]} among them, have no sizes yet (lazy modules): run the model "
            f"once on an example, then {doing} it."
        )
