"""A search in a whole model: for each layer that became a network, other shapes and orders at no more parameters.

The time that is allowed is divided by the sizes of the weights; what one layer leaves goes to those after it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import copy_modes

from tnlayers.compress.allocation import Option
from tnlayers.compress.candidates import Candidate
from tnlayers.compress.modules.site import Site
from tnlayers.decompose.decomposition import Decomposition


@dataclass(slots=True, kw_only=True)
class Search:
    """The time for one model.

    Attributes:
        seconds: What is allowed.
        left: What is left of it.
        entries: Entries of the weights that are still to come.
    """

    seconds: float
    left: float
    entries: int

    @classmethod
    def of(cls, candidates: Sequence[Candidate], chosen: Sequence[Option], seconds: float) -> Search:
        """The search for all layers that become networks."""
        pairs = zip(candidates, chosen, strict=True)
        entries = sum(candidate.dense for candidate, option in pairs if _searchable(candidate, option))
        return cls(seconds=seconds, left=seconds, entries=entries)

    def improved(self, candidate: Candidate, option: Option, layer: TNModule) -> TNModule:
        """The layer, or one of less error and no more parameters; `layer.delivered` reports what the search did."""
        if not _searchable(candidate, option) or layer.delivered is None:
            return layer
        begin = time.perf_counter()
        share = self.left * candidate.dense / self.entries
        self.entries -= candidate.dense
        if share > 0:
            layer = self._remembered(candidate, option, layer, layer.delivered, share)
        self.left = max(self.left - (time.perf_counter() - begin), 0.0)
        return layer

    def _remembered(
        self, candidate: Candidate, option: Option, layer: TNModule, plain: Decomposition, share: float
    ) -> TNModule:
        site, memory = candidate.site, candidate.memory
        asked = str(option.spec), str(candidate.rule), str(self.seconds), str(_orders(site))
        key = f"searched-{candidate.key(*asked)}"
        cached = memory.layer(key)
        if cached is not None:
            copy_modes(site.dense, cached.to(site.weight.device))
            return cached
        found = _searched(candidate, option, layer, plain, share)
        memory.store_layer(key, found)
        return found


def _searchable(candidate: Candidate, option: Option) -> bool:
    """Whether there is a network whose shape or order is not settled: convolutions have their kernel's own shape."""
    return (
        option.spec is not None and not option.spec.terms and candidate.fixed is None and candidate.site.kind.searched
    )


def _orders(site: Site) -> bool:
    """Whether orders of features are searched: they are buffers of one layer, which tied ones do not share."""
    return site.kind.ordered and not site.tied


def _searched(candidate: Candidate, option: Option, layer: TNModule, plain: Decomposition, seconds: float) -> TNModule:
    """The better one of a layer and of what a search finds in that time."""
    assert option.spec is not None
    site, cores = candidate.site, len(option.spec.modes[0])
    template = next(
        one
        for one in candidate.rule.networks
        if one.network == option.spec.network and (one.sized or one.cores in (None, cores))
    )
    found = candidate.layer(template, max_params=option.parameters, search=seconds, orders=_orders(site))
    assert found.delivered is not None
    assert found.delivered.searched is not None
    before, after = _error(plain), _error(found.delivered)
    summary = replace(found.delivered.searched, before=before, after=min(before, after))
    best = found if after < before else layer
    assert best.delivered is not None
    best.delivered = replace(best.delivered, searched=summary)
    copy_modes(site.dense, best)
    return best


def _error(found: Decomposition) -> float:
    return found.error if found.output_error is None else found.output_error
