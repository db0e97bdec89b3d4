"""all-MiniLM-L6-v2 as a module of torch, from the package's weights, and the sentences of docs/minilm.md."""

from __future__ import annotations

import random
import re
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

FILES = ("education", "humorists", "law", "medicine", "people", "platitudes", "politics", "science", "wisdom", "work")
LENGTHS = (30, 160)  # characters of a fortune that is taken
HEADS, EPSILON = 12, 1e-12


class Block(nn.Module):
    """One transformer layer of BERT, normed after each half."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm, self.last = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Attend to what is seen, (batch, 1, 1, tokens), and feed forward."""
        q, k, v = (
            one(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in (self.query, self.key, self.value)
        )  # (batch, heads, tokens, width of a head)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = self.norm(x + self.output(attended.transpose(1, 2).flatten(-2)))
        return self.last(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """all-MiniLM-L6-v2: BERT, the mean over tokens, norm 1."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        words = weights["embeddings.word_embeddings.weight"]
        places = weights["embeddings.position_embeddings.weight"]
        inner = weights["encoder.layer.0.intermediate.dense.weight"].shape[0]
        self.words, self.places = nn.Embedding(*words.shape), nn.Embedding(*places.shape)
        self.kinds = nn.Embedding(2, words.shape[1])
        self.norm = nn.LayerNorm(words.shape[1], EPSILON)
        count = len({name.split(".")[2] for name in weights if name.startswith("encoder")})
        self.blocks = nn.ModuleList(Block(words.shape[1], inner) for _ in range(count))
        self.load_state_dict({_ours(name): value for name, value in weights.items() if _ours(name)})

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings of norm 1, (batch, width), of tokens padded with 0, (batch, tokens)."""
        mask = ids != 0
        x = self.words(ids) + self.places(torch.arange(ids.shape[1])) + self.kinds(torch.zeros_like(ids))
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])
        weight = mask[..., None].to(x)
        return nn.functional.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)


def _ours(name: str) -> str:
    """The name of one of the file's tensors here; "" for what is not used."""
    for theirs, ours in (
        (r"embeddings\.word_embeddings", "words"),
        (r"embeddings\.position_embeddings", "places"),
        (r"embeddings\.token_type_embeddings", "kinds"),
        (r"embeddings\.LayerNorm", "norm"),
        (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)", r"blocks.\1.\2"),
        (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"blocks.\1.output"),
        (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"blocks.\1.norm"),
        (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"blocks.\1.up"),
        (r"encoder\.layer\.(\d+)\.output\.dense", r"blocks.\1.down"),
        (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"blocks.\1.last"),
    ):
        if re.match(rf"{theirs}\.(weight|bias)$", name):
            return re.sub(rf"{theirs}\.", rf"{ours}.", name)
    return ""


def sentences(folder: Path, seed: int) -> list[str]:
    """Short fortunes of prose, each once, without their sources; shuffled."""
    found = []
    for name in FILES:
        for fortune in (folder / name).read_text(encoding="utf-8").split("\n%\n"):
            text = re.sub(r"\s+", " ", re.split(r"\n\s*--", fortune)[0]).strip()
            if LENGTHS[0] <= len(text) <= LENGTHS[1] and "\b" not in text:
                found.append(text)
    unique = sorted(set(found))
    random.Random(seed).shuffle(unique)
    return unique


def tokenized(texts: list[str], folder: Path, size: int) -> list[Tensor]:
    """Batches of ids, at most (size, tokens), of sentences with equally many tokens: what layers see has no padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = sorted((tokenizer.encode(text).ids for text in texts), key=len)
    equal = [torch.tensor(list(rows)) for _, rows in groupby(ids, key=len)]
    return [batch for rows in equal for batch in rows.split(size)]
