"""GPT: a transformer that predicts the next token (pre-norm, relu, fixed sinusoidal positions).

    tokens (N, T) -> embedding + positions -> depth x [norm, causal attention; norm, feed-forward] -> norm -> head

The sizes of the default, the biases (none on query, key, value and head) and the order of the parts are those of
PicoGPT-MPO (arXiv 2603.28534); positions are those of Vaswani et al. (arXiv 1706.03762, Sec. 3.5). The network takes
the place of every linear layer, as there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from tnlayers_backends.torch.modules.causal import add_positions, attend_causally, read_tokens
from torch import Tensor, fx, nn

from tnlayers.errors import TNLayersError
from tnlayers.io.model_registry import register_model
from tnlayers.models.gpt_shape import Shape

for _step in ("read_tokens", "add_positions", "attend_causally"):
    fx.wrap(_step)  # a trace has each as one step, whatever it does inside

Seen = list[tuple[Tensor, Tensor]]  # keys and values of each block, (N, heads, tokens, width / heads)
Network = str | Mapping[str, str]


@register_model
class GPT(nn.Module):
    """A language model: logits of the next token after every token.

    Args:
        network: "dense"; "mpo" with bonds of 16; a template such as "mpo(bond=8)"; or one for each place, a mapping
            from patterns of names to these, of which the first that fits counts: {"*.attention.*": "mpo(bond=8)"}
            leaves all else dense.
        shape: Its sizes; None takes those of `gpt-pico`.

    Shape:
        Tokens (N, T) int64 with T up to `shape.context`; logits (N, T, vocabulary).

    Raises:
        TNLayersError: A pattern fits no place, or a network is unknown.

    Example:
        >>> model = GPT("mpo(bond=4)")
        >>> sum(weight.numel() for weight in model.parameters())
        42336
        >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape
        torch.Size([2, 7, 65])
    """

    def __init__(self, network: Network = "mpo", shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or Shape()
        self.name = shape.name
        layers = {site.name: site.build(by_place(network, site.name)) for site in shape.sites}
        check_patterns(network, layers)
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.entry: nn.Module | None = None  # a matrix after the positions, where `compress.gauge` rotates the stream
        self.blocks = nn.ModuleList(Block(shape, f"blocks.{k}", layers) for k in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.head = layers["head"] if not shape.tied else nn.Linear(shape.width, shape.vocabulary, bias=False)
        if shape.tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, seen: Seen | None = None) -> Tensor:
        """Logits of the next token after every token.

        Args:
            tokens: (N, T) int64.
            seen: Keys and values of the tokens before these, as `nothing_seen` and earlier calls left it; those of
                these tokens are added to it. None reads the tokens as the first ones.

        Returns:
            (N, T, vocabulary).

        Raises:
            TNLayersError: The tokens have another shape or kind, or are more than the context with those before.
        """
        before = seen[0][0].shape[2] if seen else 0
        tokens = read_tokens(tokens, before, self.shape.context, self.name)
        x = self.embedding(tokens)  # (N, T, width)
        if self.shape.tied:  # its table is drawn for the head, whose logits are of order one
            x = x * math.sqrt(self.shape.width)
        x = add_positions(x, before)
        if self.entry is not None:
            x = self.entry(x)
        for k, block in enumerate(self.blocks):
            x = block(x, seen, k)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def nothing_seen(self, rows: int = 1) -> Seen:
        """An empty cache for so many texts side by side."""
        shape, weight = self.shape, self.embedding.weight
        empty = weight.new_zeros(rows, shape.heads, 0, shape.width // shape.heads)
        return [(empty, empty) for _ in self.blocks]


class Block(nn.Module):
    """Attention and a feed-forward part, each after normalisation and added to its input.

    Args:
        shape: Of the model.
        place: Its path in the model.
        layers: The linear layers of the model by place.
    """

    def __init__(self, shape: Shape, place: str, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attention = Attention(shape.heads, f"{place}.attention", layers)
        self.expand, self.contract = layers[f"{place}.expand"], layers[f"{place}.contract"]

    def forward(self, x: Tensor, seen: Seen | None, number: int) -> Tensor:
        """(N, T, width) -> (N, T, width)."""
        x = x + self.attention(self.norm1(x), seen, number)
        y: Tensor = x + self.contract(torch.relu(self.expand(self.norm2(x))))
        return y


class Attention(nn.Module):
    """Causal attention: every token reads itself and those before it."""

    def __init__(self, heads: int, place: str, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = layers[f"{place}.query"], layers[f"{place}.key"]
        self.value, self.out = layers[f"{place}.value"], layers[f"{place}.out"]

    def forward(self, x: Tensor, seen: Seen | None, number: int) -> Tensor:
        """(N, T, width) -> (N, T, width); with `seen`, entry `number` of it is read and extended."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # (N, heads, T, width / heads)
        if seen is not None:
            key, value = (torch.cat(pair, 2) for pair in zip(seen[number], (key, value), strict=True))
            seen[number] = key, value
        mixed = attend_causally(query, key, value)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


def by_place(network: Network, place: str) -> str:
    """The network of one place.

    Example:
        >>> by_place({"*.attention.*": "mpo"}, "blocks.0.attention.key"), by_place({"*.attention.*": "mpo"}, "head")
        ('mpo', 'dense')
    """
    if isinstance(network, str):
        return network
    return next((value for pattern, value in network.items() if fnmatchcase(place, pattern)), "dense")


def check_patterns(network: Network, places: Iterable[str]) -> None:
    """Refuse a pattern that fits no place.

    Raises:
        TNLayersError: There is one.
    """
    known = list(places)
    if isinstance(network, str):
        return
    for pattern in network:
        if not any(fnmatchcase(place, pattern) for place in known):
            raise TNLayersError(
                f"network={dict(network)!r}: {pattern!r} fits none of the places. They are {', '.join(known[:6])}, and "
                "alike for every block; and head, if it is not tied."
            )
