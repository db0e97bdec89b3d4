"""Tables of tokens that are networks keep their size: `resize_token_embeddings` is refused before it changes anything.

transformers resizes the table first and refuses a head of another class than `nn.Linear` afterwards, which leaves a
model whose two ends differ.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tnlayers_backends.torch.layers.module import TNModule

from tnlayers.errors import TNLayersError


def guard_resizing(model: Any) -> None:
    """Refuse another number of tokens from now on, where the table or the head of a model is a network."""
    if hasattr(model, "resize_token_embeddings") and _networks(model):
        model.resize_token_embeddings = partial(_resized, model)


def _networks(model: Any) -> list[TNModule]:
    ends = []
    for name in ("get_input_embeddings", "get_output_embeddings"):
        try:
            ends.append(getattr(model, name, lambda: None)())
        except NotImplementedError:  # what transformers raises for a model without tokens
            continue
    return [end for end in ends if isinstance(end, TNModule)]


def _resized(model: Any, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, **rest: Any) -> Any:
    """As the model's own, which it calls where nothing would change or no network is concerned any more."""
    tokens = model.get_input_embeddings().weight.shape[0]
    wanted = tokens if new_num_tokens is None else new_num_tokens
    if pad_to_multiple_of:
        wanted = -(-wanted // pad_to_multiple_of) * pad_to_multiple_of
    networks = _networks(model)
    if networks and wanted != tokens:
        raise TNLayersError(
            f"resize_token_embeddings({wanted}) of a {type(model).__name__} whose table or head of {tokens} tokens is "
            f"a network, {str(networks[0].spec)[:120]}: its sizes are part of the network, so rows cannot be added or "
            "removed. Resize the dense model first and compress it then, or keep both ends dense by rules="
            "{'*embed*': None, 'lm_head': None} (the names are in the report) and resize afterwards."
        )
    if networks:
        return model.get_input_embeddings()
    own = type(model).resize_token_embeddings
    return own(model, new_num_tokens, pad_to_multiple_of, **rest)
