"""Rotations of a transformer's residual stream, which the layers that write it and read it absorb.

    x  ->  x Q        writers W -> Q' W, b -> Q' b;    readers W -> W Q;    x over its root mean square commutes with Q

A layer normalisation does not commute with Q; but its gain and shift go into the readers, its subtraction of the mean
into the writers, and what is left of it is x over its root mean square (Ashkboos et al., SliceGPT, arXiv 2401.15024).
What is written by no layer, such as fixed positions, needs a matrix at the entry of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.compress.gauge.dense import check_orthogonal, dense_layer, multiply_
from tnlayers.errors import TNLayersError
from tnlayers.models.decoder import GPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Where a residual stream is written and read, by names of modules.

    Attributes:
        entry: The `nn.Linear` without bias that all of the stream goes through first.
        writers: The layers whose outputs are added to it.
        readers: The layers that read each normalisation of it, by the normalisation's name; nothing else reads it.
    """

    entry: str
    writers: tuple[str, ...]
    readers: Mapping[str, tuple[str, ...]]


def stream_of(model: GPT) -> Stream:
    """The stream of a GPT, which gets an entry: a matrix of width x width that changes nothing so far.

    Raises:
        TNLayersError: If the model is no GPT.
    """
    if not isinstance(model, GPT):
        raise TNLayersError(f"stream_of knows GPT of tnl.models; write a Stream for {type(model).__name__}.")
    if model.entry is None:
        like = model.embedding.weight
        model.entry = nn.Linear(model.shape.width, model.shape.width, bias=False).to(like)
        with torch.no_grad():
            model.entry.weight.copy_(torch.eye(model.shape.width))
    readers: dict[str, tuple[str, ...]] = {}
    for k in range(model.shape.depth):
        readers[f"blocks.{k}.norm1"] = tuple(f"blocks.{k}.attention.{name}" for name in ("query", "key", "value"))
        readers[f"blocks.{k}.norm2"] = (f"blocks.{k}.expand",)
    writers = tuple(f"blocks.{k}.{name}" for k in range(model.shape.depth) for name in ("attention.out", "contract"))
    return Stream(entry="entry", writers=writers, readers=readers | {"norm": ("head",)})


def fold_(model: nn.Module, stream: Stream) -> None:
    """Layer normalisations become root-mean-square ones without parameters, in place; the outputs stay.

    Args:
        model: A dense model.
        stream: Its residual stream; readers without a bias get one where a normalisation has a shift.

    Raises:
        TNLayersError: If a name is none, a layer is no `nn.Linear`, or a weight is shared with another module.
    """
    if not _open(model, stream):
        return
    for name, readers in stream.readers.items():
        norm = model.get_submodule(name)
        assert isinstance(norm, nn.LayerNorm)
        for reader in readers:
            layer = dense_layer(model, reader)
            if norm.bias is not None:
                shift = layer.weight.detach().double() @ norm.bias.detach().double()
                own = 0.0 if layer.bias is None else layer.bias.detach().double()
                layer.bias = nn.Parameter((own + shift).to(layer.weight.dtype))
            if norm.weight is not None:
                multiply_(layer.weight, right=norm.weight.detach().double().diag())
        place, _, last = name.rpartition(".")
        (width,) = norm.normalized_shape
        setattr(model.get_submodule(place), last, nn.RMSNorm(width, eps=norm.eps, elementwise_affine=False))
    width = dense_layer(model, stream.entry).out_features
    like = dense_layer(model, stream.entry).weight
    centre = torch.eye(width, dtype=torch.float64, device=like.device) - 1 / width
    _write(model, stream, centre)


def rotate_(model: nn.Module, stream: Stream, rotation: Tensor) -> None:
    """Rotate the residual stream, in place; the outputs stay.

    Args:
        model: A dense model; its normalisations are folded first (`fold_`).
        stream: Its residual stream.
        rotation: Q, orthogonal, (width, width): a vector x of the stream becomes x Q.

    Raises:
        TNLayersError: As `fold_`; or Q is not orthogonal.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = tnl.models.gpt("dense", width=16, depth=1, heads=2, context=8, vocabulary=20, seed=0).double()
        >>> tokens = torch.arange(8)[None]
        >>> before = model(tokens)
        >>> rotate_(model, stream_of(model), torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0])
        >>> bool(torch.allclose(model(tokens), before, rtol=1e-9, atol=1e-9))
        True
    """
    check_orthogonal(rotation, dense_layer(model, stream.entry).out_features, "rotate_")
    fold_(model, stream)
    _write(model, stream, rotation.double().T)
    for readers in stream.readers.values():
        for reader in readers:
            multiply_(dense_layer(model, reader).weight, right=rotation)


def principal_rotation(model: nn.Module, stream: Stream, batches: Iterable[Any]) -> Tensor:
    """The directions in which the normalised stream varies most, first: its eigenvectors, (width, width).

    Args:
        model: A model whose normalisations are folded.
        stream: Its residual stream.
        batches: Inputs of the model.

    Raises:
        TNLayersError: If a normalisation is not folded, or there are no batches.
    """
    seen: list[Tensor] = []
    handles = []
    for name in stream.readers:
        norm = model.get_submodule(name)
        if not isinstance(norm, nn.RMSNorm):
            raise TNLayersError(f"{name!r} is a {type(norm).__name__}: fold_ the normalisations first.")

        def observe(module: nn.Module, args: Any, output: Tensor) -> None:
            x = output.detach().flatten(0, -2).double()
            seen.append(x.T @ x / len(x))

        handles.append(norm.register_forward_hook(observe))
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise TNLayersError("There are no batches to see the stream on: give at least one.")
    vectors: Tensor = torch.linalg.eigh(torch.stack(seen).mean(0))[1]
    return vectors.flip(1)


def _write(model: nn.Module, stream: Stream, left: Tensor) -> None:
    for name in (stream.entry, *stream.writers):
        layer = dense_layer(model, name)
        multiply_(layer.weight, left=left)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.copy_(left @ layer.bias.double())


def _open(model: nn.Module, stream: Stream) -> bool:
    """Whether there is something to fold; refuses a stream whose layers cannot absorb it, before any of them has."""
    names = [stream.entry, *stream.writers, *(reader for readers in stream.readers.values() for reader in readers)]
    weights = [dense_layer(model, name).weight for name in names]
    owners = [id(own) for module in model.modules() for own in module._parameters.values() if own is not None]
    for name, weight in zip(names, weights, strict=True):
        if owners.count(id(weight)) > 1:
            raise TNLayersError(
                f"The weight of {name!r} is another module's too (a tied head?), which would not absorb the rotation. "
                "Untie it first."
            )
    if dense_layer(model, stream.entry).bias is not None:
        raise TNLayersError(f"The entry {stream.entry!r} has a bias; take a matrix alone.")
    kinds = set()
    for name in stream.readers:
        norm = model.get_submodule(name)
        kinds.add(type(norm))
        if not isinstance(norm, (nn.LayerNorm, nn.RMSNorm)):
            raise TNLayersError(f"{name!r} is a {type(norm).__name__}; the stream is read through nn.LayerNorm.")
        if isinstance(norm, nn.RMSNorm) and norm.weight is not None:
            raise TNLayersError(f"{name!r} is an RMSNorm with a gain, which does not commute with a rotation.")
    if len(kinds) > 1:
        raise TNLayersError(
            "Some normalisations of the stream take the mean away and others do not: fold all, or none."
        )
    return nn.LayerNorm in kinds
