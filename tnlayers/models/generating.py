"""Text from a language model, token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError
from tnlayers.models.decoder import GPT, Seen

_MOST = 2**20  # tokens of one call, which holds them all until its end


@torch.inference_mode()
def generate(
    model: GPT,
    tokens: Tensor,
    count: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
    cache: bool = True,
) -> Tensor:
    """Continue a text: each token is drawn from what the model predicts after the last `context` tokens.

    Args:
        model: The model; it is left in the mode, training or evaluation, that it was in.
        tokens: The beginning, (T,) int64 with T at least 1.
        count: How many tokens to add.
        temperature: Divides the logits before drawing; 0 takes the most probable token, the first of equals.
        top_k: Draws from so many of the most probable tokens only; None draws from all.
        seed: Decides the draws; None takes torch's global generator.
        cache: Whether keys and values of earlier tokens are cached (the same tokens, up to rounding). Once the text is
            longer than the context every token has another place, so that each step reads the whole context anew.

    Returns:
        The beginning and the added tokens, (T + count,) int64.

    Raises:
        TNLayersError: The beginning is empty or has a token that the model does not know, or a number is out of range.

    Example:
        >>> import tnlayers as tnl
        >>> model = tnl.models.gpt(width=16, depth=1, heads=2, context=8, vocabulary=5, seed=0)
        >>> generate(model, torch.tensor([3, 1]), 4, seed=0).shape
        torch.Size([6])
    """
    _check(model, tokens, count, temperature, top_k)
    device = model.embedding.weight.device
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    context, text = model.shape.context, tokens.to(device, torch.int64)
    was_training = model.training
    model.eval()
    try:
        seen: Seen | None = None
        for _ in range(count):
            if not cache or len(text) > context:
                logits = model(text[-context:][None])
            elif seen is None:
                seen = model.nothing_seen()
                logits = model(text[None], seen)
            else:
                logits = model(text[-1:][None], seen)
            drawn = _draw(logits[0, -1].float().cpu(), temperature, top_k, generator)
            text = torch.cat((text, drawn.to(device)))
    finally:
        model.train(was_training)
    return text


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """One token (1,) by its logits (vocabulary,)."""
    if temperature == 0:
        return logits.argmax()[None]
    scaled = (logits - logits.max()) / temperature  # at most 0, so that a small temperature cannot overflow
    if top_k is not None and top_k < len(scaled):
        order = torch.argsort(scaled, descending=True, stable=True)
        scaled[order[top_k:]] = -torch.inf
    return torch.multinomial(scaled.softmax(0), 1, generator=generator)


def _check(model: GPT, tokens: Tensor, count: int, temperature: float, top_k: int | None) -> None:
    if not isinstance(tokens, Tensor):
        raise TNLayersError(
            f"generate continues a tensor of tokens (T,) int64, got a {type(tokens).__name__}. torch.as_tensor makes "
            "one."
        )
    if tokens.ndim != 1 or len(tokens) == 0 or tokens.dtype not in (torch.int64, torch.int32):
        raise TNLayersError(
            f"generate continues tokens (T,) of int64 with T at least 1, got {tuple(tokens.shape)} of "
            f"{str(tokens.dtype).removeprefix('torch.')}. An empty text has nothing to continue."
        )
    most = model.shape.vocabulary
    if int(tokens.min()) < 0 or int(tokens.max()) >= most:
        raise TNLayersError(
            f"{model.name} knows the tokens 0 to {most - 1}; the text to continue has "
            f"{int(tokens.min())} to {int(tokens.max())}."
        )
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST:
        raise TNLayersError(f"count={count!r}: the number of tokens to add is an integer from 0 to {_MOST:,}.")
    if not 0 <= temperature < float("inf"):
        raise TNLayersError(
            f"temperature={temperature!r} must be finite and 0 or more; 0 takes the most probable token."
        )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise TNLayersError(f"top_k={top_k!r} must be an integer of at least 1, or None for all tokens.")
