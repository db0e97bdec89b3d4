"""Kinds of adapters beside "W + one network": each from its paper, by `tnl.adapt(model, targets, kind)`.

    "mpo(bond=4)"      W + network: LoRA (arXiv 2106.09685) is "lowrank", LoRETTA's tensor trains (2402.11417) are "mpo"
    Factors            LoRA whose two factors are tensor trains (LoRETTA_rep, 2402.11417, section 3.3)
    MetaTT             one tensor train over inputs, layers, matrices and outputs, for all targets (2506.09105)
    FrozenCentre       W itself as an MPO whose largest core is frozen and whose other cores learn (MPOP, 2106.02205)

The first three are one network per layer that is added to the weight; in MetaTT these networks share their cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from tnlayers.declare.arguments import integer, network
from tnlayers.declare.graph import Core, Graph
from tnlayers.declare.modes import factorise
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.kind import LayerKind
from tnlayers_backends.torch.layers.kinds import find
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.adapter import TNAdapter
from tnlayers_backends.torch.modules.hosts import is_transposed, parts_of, reason_against

_MOST = 2**20


class AdapterKind:
    """How a layer is adapted; abstract in `made`."""

    def made(self, layer: nn.Module, seed: int | None) -> nn.Module:
        """What takes a layer's place.

        Raises:
            TNLayersError: If the kind does not fit the layer.
        """
        raise NotImplementedError

    def join(self, made: Mapping[str, nn.Module]) -> None:
        """What all of them together need, by the path of each."""


@dataclass(frozen=True, slots=True)
class Added(AdapterKind):
    """W + a network: what `tnl.adapt` does with a string or a spec.

    Attributes:
        network: A type, a template, or a sized spec.
    """

    network: str | Spec

    def made(self, layer: nn.Module, seed: int | None) -> TNAdapter:
        """As `AdapterKind`."""
        return TNAdapter(layer, self.network, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors(AdapterKind):
    """LoRA's change B A, each factor as a tensor train (LoRETTA_rep, Yang et al. 2024, arXiv 2402.11417).

    The two trains and the rank between them are one chain: an MPO whose first cores take the inputs and whose last give
    the outputs, with bonds `bond`, ..., `bond`, `rank`, `bond`, ..., `bond`.

    Attributes:
        rank: The rank of the change.
        bond: The bond dimension within each factor.
        cores: How many cores each factor has.

    Raises:
        TNLayersError: If one is no integer of at least 1.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64))
        >>> print(tnl.adapt(model, "0", tnl.nn.Factors(rank=8, bond=4, cores=2))[0].delta.spec)
        mpo(in=8x8x1x1, out=1x1x8x8, bond=4-8-4)
    """

    rank: int = 8
    bond: int = 4
    cores: int = 3

    def __post_init__(self) -> None:
        for name in ("rank", "bond", "cores"):
            integer(name, getattr(self, name), 1, _MOST)

    def made(self, layer: nn.Module, seed: int | None) -> TNAdapter:
        """As `AdapterKind`."""
        inputs, outputs = _linear_sizes(layer)
        ins, outs = (factorise(size, self.cores) for size in (inputs, outputs))
        ones = (1,) * self.cores
        within = (self.bond,) * (self.cores - 1)
        bonds = (*within, self.rank, *within)
        spec = make_spec("mpo", inputs, outputs, in_modes=(*ins, *ones), out_modes=(*ones, *outs), bond_dim=bonds)
        return TNAdapter(layer, spec, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaTT(AdapterKind):
    """One tensor train over inputs, layers, matrices and outputs (MetaTT, 2025, arXiv 2506.09105).

    The change of matrix m in layer l is G1 G2[l] G3[m] G4: all targets share G1 and G4, those of one layer share G2[l],
    and those of one name in all layers G3[m]. The layer is the first number in a target's name, the matrix the rest.
    Targets of other sizes have ends of their own. G4 begins as zero, G2 and G3 as identities.

    Attributes:
        rank: The bond dimension.

    Raises:
        TNLayersError: If it is no integer of at least 1.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
        >>> model = tnl.adapt(model, "*", tnl.nn.MetaTT(rank=4), seed=0)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad)  # two ends, a matrix per layer, one for all
        560
    """

    rank: int = 8

    def __post_init__(self) -> None:
        integer("rank", self.rank, 1, _MOST)

    def made(self, layer: nn.Module, seed: int | None) -> TNAdapter:
        """As `AdapterKind`."""
        inputs, outputs = _linear_sizes(layer)
        rank = min(self.rank, inputs, outputs)
        graph = Graph(
            cores=(Core("down", (0, 1)), Core("layer", (1, 2)), Core("matrix", (2, 3)), Core("up", (3, 4))),
            sizes=(inputs, rank, rank, rank, outputs),
            inputs=(0,),
            outputs=(4,),
        )
        spec = Spec(
            network="metatt", in_modes=(inputs,), out_modes=(outputs,), options=(("rank", rank),), lowered=(graph,)
        )
        adapter = TNAdapter(layer, spec, seed=seed)
        with torch.no_grad():
            for name in ("layer", "matrix"):
                torch.nn.init.eye_(adapter.delta.cores[name])
        return adapter

    def join(self, made: Mapping[str, nn.Module]) -> None:
        """Let the targets share their cores."""
        first: dict[tuple[Any, ...], nn.Parameter] = {}
        for path, adapter in made.items():
            assert isinstance(adapter, TNAdapter)
            words = path.split(".")
            place = next((k for k, word in enumerate(words) if word.isdigit()), None)
            layer = "" if place is None else words[place]
            matrix = ".".join(word for k, word in enumerate(words) if k != place)
            groups = {"down": "", "layer": layer, "matrix": matrix, "up": ""}
            for name, group in groups.items():
                core = adapter.delta.cores[name]
                key = (name, group, core.shape, core.dtype, core.device)
                adapter.delta.register_parameter(name, first.setdefault(key, core))
            adapter.delta.tied = len(made) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenCentre(AdapterKind):
    """W itself as a network whose largest core is frozen and whose other cores learn (MPOP, arXiv 2106.02205).

    The weight is decomposed exactly, up to rounding; a layer that is a network already keeps it. What is learned is
    part of the weight: `tnl.save(model, file)` keeps it, and there is no file of adapters alone.

    Attributes:
        network: The network of W, "mpo(cores=5)" in the paper.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64))
        >>> model = tnl.adapt(model, "0", tnl.nn.FrozenCentre(network="mpo(cores=3)"))
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['0.core_0', '0.core_2']
    """

    network: str | Spec = "mpo(cores=5)"

    def made(self, layer: nn.Module, seed: int | None) -> TNModule:
        """As `AdapterKind`."""
        if isinstance(layer, TNModule):
            return frozen_centre(layer)
        kind, dense = _dense(layer)
        network = kind.from_dense(dense, self.network, error=0)
        return frozen_centre(network).train(layer.training)


def frozen_centre(layer: TNModule) -> TNModule:
    """A network of which all but the largest core learn, in place; the first of several that are as large."""
    cores = layer.cores
    centre = max(cores, key=lambda name: cores[name].numel())
    if len(cores) < 2:
        raise TNLayersError(f"{layer.spec} has one core, and freezing it leaves nothing to learn: take more cores.")
    layer.requires_grad_(False)
    for name, core in cores.items():
        core.requires_grad_(name != centre)
    layer.centre = centre  # by which `merge_adapters` knows it
    return layer


def learned(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that adapters of a model learn."""
    for module in model.modules():
        if isinstance(module, TNAdapter):
            yield from module.delta.parameters()
        elif isinstance(module, TNModule) and has_centre(module):
            yield from (core for name, core in module.cores.items() if name != vars(module)["centre"])


def has_centre(module: nn.Module) -> bool:
    """Whether a layer is a network with a frozen core."""
    return isinstance(module, TNModule) and "centre" in vars(module)


Given: TypeAlias = str | Spec | AdapterKind


def kind_of_adapter(given: Given) -> AdapterKind:
    """The kind that was asked for: a network alone is added to the weight."""
    if isinstance(given, AdapterKind):
        return given
    network("network", given)
    return Added(given)


def _dense(layer: nn.Module) -> tuple[LayerKind, nn.Module]:
    """A dense layer's kind, and it as a module of torch.

    Raises:
        TNLayersError: If a network cannot take its place.
    """
    if reason := reason_against(layer):
        raise TNLayersError(f"This {type(layer).__name__} has to stay as it is: {reason}.")
    dense = parts_of(layer).get("", layer)
    kind = find(dense)
    if kind is None or isinstance(layer, TNModule):
        raise TNLayersError(f"A {type(layer).__name__} has no weight of its own that a network could be.")
    return kind, dense


def _linear_sizes(layer: nn.Module) -> tuple[int, int]:
    """The sizes (in, out) of a linear layer.

    Raises:
        TNLayersError: If it is none.
    """
    if not (isinstance(layer, nn.Linear) or is_transposed(layer)):
        raise TNLayersError(
            f"This kind of adapter is for linear layers, and this is a {type(layer).__name__}. Name linear layers in "
            "targets=, or give a network, which goes with every kind of layer."
        )
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    first, second = weight.shape
    return (first, second) if is_transposed(layer) else (second, first)
