"""Models without values to decompose, or that something else holds on to: refused before anything is looked at."""

from __future__ import annotations

from tnlayers_backends.torch.modules.wrapped import refuse_lazy, refuse_wrapped
from torch import nn

from tnlayers.errors import TNLayersError


def refuse_without_values(model: nn.Module) -> None:
    """Refuse what is wrapped or scripted, or has parameters without sizes, without values, or in 8 bits.

    Raises:
        TNLayersError: If the model is one of these.
    """
    refuse_wrapped(model, "compress")
    refuse_lazy(model, "train it and compress")
    empty = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if empty:
        raise TNLayersError(
            f"{len(empty)} parameters, {empty[0]} among them, are on the meta device, without values to decompose. "
            "Load the trained weights first: model.to_empty(device='cpu').load_state_dict(...), or without "
            "torch.device('meta')."
        )
    stored = [name for name, one in model.named_parameters() if one.is_floating_point() and one.itemsize == 1]
    if stored:
        raise TNLayersError(
            f"{stored[0]} is kept in 8 bits, in which nothing can be computed: compress model.to(torch.bfloat16)."
        )
