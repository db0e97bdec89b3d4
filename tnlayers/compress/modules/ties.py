"""Ties: one weight in several modules becomes one network in several layers, all of which hold the same cores.

An embedding and a linear layer hold a shared weight the other way round: what is the input of one is the output of the
other. So are their networks: the same graph with its inputs and outputs exchanged, on the same cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from tnlayers_backends.torch.layers.module import TNModule
from torch import nn

from tnlayers.compress.modules.site import Site, blank
from tnlayers.cores.lookup import transposed

Users: TypeAlias = dict[int, list[tuple[nn.Module, str]]]


def tied_together(sites: Sequence[Site], users: Users) -> list[Site]:
    """The sites with those of one weight as one, the first in order; where it has to stay dense, with the reason.

    Args:
        sites: One for every module and part.
        users: By id of a parameter, the modules that have it, and its names there.
    """
    whole = {site.host: site for site in sites if not site.part}
    found: list[Site] = []
    taken: set[Site] = set()
    for site in sites:
        if site in taken:
            continue
        weight = site.host._parameters.get("weight")
        sharing = [site] if site.part or weight is None else _sharing(site, users[id(weight)], whole)
        taken.update(sharing)
        found.append(replace(site, tied=tuple(sharing[1:]), against=_against(sharing, whole, users)))
    return found


def _sharing(site: Site, users: Sequence[tuple[nn.Module, str]], whole: Mapping[nn.Module, Site]) -> list[Site]:
    """The sites whose module has this site's weight as its own weight, this one first."""
    hosts = [host for host, name in users if name.endswith(".weight") and host in whole and host is not site.host]
    return [site, *(whole[host] for host in hosts)]


def _against(sharing: Sequence[Site], whole: Mapping[nn.Module, Site], users: Users) -> str:
    """Why a weight has to stay dense; "" where it need not."""
    for site in sharing:
        if site.against:
            return site.against if site is sharing[0] else f"tied to {site.name}: {site.against}"
    first, hosts = sharing[0], [site.host for site in sharing]
    for site in sharing[1:]:
        if site.kind.sharing(site.dense) != first.kind.sharing(first.dense):
            return f"tied: {first.name} and {site.name} read one parameter as different weights"
    own = [pair for site in sharing for pair in site.host.named_parameters(recurse=False)]
    for name, parameter in own:
        others = [(host, other) for host, other in users[id(parameter)] if host not in hosts]
        tied_names = " and ".join(other for _, other in users[id(parameter)])
        if name != "bias" and others:
            return f"tied: {tied_names} are one parameter, which is not the weight of a single layer everywhere"
        if any(first.part or host in whole for host, _ in others):
            return f"tied: {tied_names} are one parameter, but not their weights"
    return ""


def tied_layers(site: Site, layer: TNModule) -> dict[Site, TNModule]:
    """A layer for each module of a site, all on the cores of the first.

    Args:
        site: The site.
        layer: That of its first module.
    """
    return {site: layer} | {member: _on_cores_of(layer, member, member.turned != site.turned) for member in site.tied}


def _on_cores_of(layer: TNModule, member: Site, turned: bool) -> TNModule:
    """A layer of the kind of a member whose cores are those of another layer.

    Args:
        layer: Whose cores they are.
        member: What it replaces.
        turned: Whether the inputs of the one are the outputs of the other.
    """
    spec = layer.spec
    if turned:
        network = transposed(layer._map)
        spec = replace(network.spec, lowered=network.graphs)
    bias = member.bias
    made = blank(member, replace(spec, bias=bias is not None))
    for name, core in layer.cores.items():
        made.register_parameter(name, core)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    made._set_map(made._map.on(layer._map.device))
    made.delivered = layer.delivered
    made.tied = layer.tied = True
    return made.train(member.host.training)
