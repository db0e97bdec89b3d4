"""`load_dense`: a dense model's checkpoint into a model in which some layers are tensor networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers.decompose.decomposition import Decomposition
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.from_dense import decomposed, filled
from tnlayers_backends.torch.layers.kinds import find, kind_of
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.wrapped import refuse_lazy

M = TypeVar("M", bound=nn.Module)


@torch.inference_mode(False)
@torch.no_grad()
@checks_arguments()
def load_dense(model: M, state: Mapping[str, Tensor]) -> M:
    """Load a dense checkpoint: the weight of each replaced layer is decomposed into the network that is there.

    Either all of it is loaded or nothing. `layer.delivered.error` of each layer is what its bonds cost.

    Args:
        model: With linear layers, convolutions or embeddings of tnlayers; set in place. Layers that share their cores
            take one weight.
        state: The state dict of the same model with dense layers.

    Returns:
        The model.

    Raises:
        TNLayersError: If names or shapes do not fit, or a layer is of a kind that has no dense weight to load.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> dense = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> model = torch.nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> x = torch.randn(3, 16)
        >>> torch.allclose(load_dense(model, dense.state_dict())(x), dense(x), atol=1e-5)  # the bond is full
        True
    """
    refuse_lazy(model, "load a checkpoint into")
    _check_tensors(state)
    empty = [name for name, value in model.state_dict().items() if value.is_meta]
    if empty:
        raise TNLayersError(
            f"{len(empty)} tensors of this {type(model).__name__}, {empty[0]} among them, are on the meta device: what "
            "is written there is lost. Give them memory first: model.to_empty(device='cpu')."
        )
    layers = {f"{name}." if name else "": one for name, one in model.named_modules() if isinstance(one, TNModule)}
    own = {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(layers))}
    wanted = {key: tuple(value.shape) for key, value in own.items()}
    for prefix, layer in layers.items():
        layer._refuse_computed("load_dense")
        kind = find(layer)
        if kind is None or not kind.loads(layer):
            raise TNLayersError(
                f"The {type(layer).__name__} at {prefix[:-1]!r} has no dense weight for load_dense to take. Load the "
                "dense model first, and make this layer of it (from_conv)."
            )
        shape = tuple(layer.to_dense().shape)
        wanted[f"{prefix}weight"] = shape[::-1] if _is_conv1d(layer) else shape
        if layer.bias is not None:
            wanted[f"{prefix}bias"] = tuple(layer.bias.shape)
    given = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted({key for key, shape in [*wanted.items(), *given.items()] if wanted.get(key) != given.get(key)})
    if wrong:
        listed = ", ".join(
            f"{key}: {given.get(key, 'nothing')} given, {wanted.get(key, 'nothing')} wanted" for key in wrong[:5]
        )
        raise TNLayersError(f"The checkpoint does not fit this {type(model).__name__} at {len(wrong)} names: {listed}.")
    found: dict[int, Decomposition] = {}  # by the id of a core: layers that share theirs are decomposed once
    sources: dict[int, str] = {}
    for prefix, layer in layers.items():
        core, name = _core(layer), f"{prefix}weight"
        first = sources.setdefault(core, name)
        if first == name:
            found[core] = decomposed(_matrix(layer, state[name]), replace(layer.spec, bias=False))
        elif not torch.equal(state[first], state[name]):
            raise TNLayersError(f"{first!r} and {name!r} differ in the checkpoint, but their layers share their cores.")
    for prefix, layer in layers.items():
        filled(layer, found[_core(layer)], state.get(f"{prefix}bias"))
    for key, value in own.items():
        value.copy_(state[key])
    return model


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    """Refuse what is no ordinary tensor: what a decomposition would make of its entries is not known."""
    for key, value in state.items():
        kind = type(value).__name__
        if not isinstance(value, Tensor):
            raise TNLayersError(f"{key!r} of the checkpoint is a {kind}: give tensors of torch (torch.from_numpy).")
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
            raise TNLayersError(
                f"{key!r} of the checkpoint is a {kind} (layout {value.layout}), whose entries are not all there: make "
                "an ordinary tensor of it first, with dequantize(), to_dense() or full_tensor()."
            )
        if value.is_floating_point() and value.itemsize == 1:
            raise TNLayersError(
                f"{key!r} of the checkpoint is kept in 8 bits ({value.dtype}), in which nothing can be computed: turn "
                "it into torch.bfloat16 first, times its scale where it has one."
            )


def _core(layer: TNModule) -> int:
    return id(next(iter(layer.cores.values())))


def _is_conv1d(layer: TNModule) -> bool:
    """Whether this replaces a Conv1D of transformers, which stores its weight as (in_features, out_features)."""
    return hasattr(layer, "nf")


def _matrix(layer: TNModule, weight: Tensor) -> Tensor:
    """A dense weight in the network's own order of features."""
    weight = weight.mT if _is_conv1d(layer) else kind_of(layer).matrix(weight)
    if layer.in_order is not None:
        weight = weight.index_select(1, layer.in_order)
    return weight if layer.out_place is None else weight.index_select(0, layer.out_place.argsort())
