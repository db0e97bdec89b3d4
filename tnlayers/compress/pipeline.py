"""The way of one compression: watch, price, allocate, build. Nothing of the model is changed here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from tnlayers_backends.torch.layers.kind import Work
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import itemsize, occupied, parameters_of, replaceable
from torch import nn

from tnlayers.compress import layouts
from tnlayers.compress.allocation import Option, allocate, exchanged
from tnlayers.compress.budgets import NEAR, Budget
from tnlayers.compress.cache import Memory
from tnlayers.compress.candidates import Candidate
from tnlayers.compress.contest import contested
from tnlayers.compress.layer_report import LayerReport, Size
from tnlayers.compress.modules.baked import baked
from tnlayers.compress.modules.site import Site, entries
from tnlayers.compress.modules.sites import sites_of
from tnlayers.compress.modules.ties import tied_layers
from tnlayers.compress.observing import Watched, watch
from tnlayers.compress.refusals import refuse_without_values
from tnlayers.compress.report import CompressReport
from tnlayers.compress.rest import Rest, largest_first, named
from tnlayers.compress.rules import Given, Rule, rules_for
from tnlayers.compress.search import Search
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files.progress import progress as showing

Made: TypeAlias = dict[nn.Module, dict[str, nn.Module]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compression:
    """One compression of one model; the attributes are the arguments of `tnl.compress`."""

    model: nn.Module
    budget: Budget
    networks: Sequence[str | Spec]
    rules: Mapping[str, Given] | None
    sample: Any
    data_aware: bool
    batch: int
    avoid_slower: bool
    cache: Path | None
    progress: bool | None
    search: float
    compared: bool = False
    extra: dict[nn.Module, int] = field(default_factory=dict, init=False)

    def run(self, *, dry_run: bool) -> tuple[CompressReport, Made | None]:
        """The report, and the new parts by the module that they go into; None for them in a dry run.

        Raises:
            TNLayersError: As `tnl.compress`.
        """
        self._check()
        with baked(self.model) as extra:
            self.extra.update(extra)
            return self._run(dry_run=dry_run)

    def _run(self, *, dry_run: bool) -> tuple[CompressReport, Made | None]:
        candidates = self._candidates()
        chosen = self._grown(candidates, self._allocated(candidates))
        search = Search.of(candidates, chosen, self.search) if self.search and not dry_run else None
        made: Made = {}
        layers = []
        with self._showing("building", len(candidates)) as step:
            for candidate, option in zip(candidates, chosen, strict=True):
                layer: TNModule | None
                measured = ""
                if self._open(candidate, option):
                    option, layer, measured = contested(candidate, option)
                else:
                    layer = None if dry_run and not candidate.rule.fixed else candidate.built(option)
                if search is not None and layer is not None:
                    layer = search.improved(candidate, option, layer)
                    option = replace(option, spec=replace(layer.spec, bias=False), parameters=layer.spec.parameters)
                if layer is not None and not dry_run:
                    for site, own in tied_layers(candidate.site, layer).items():
                        made.setdefault(site.host, {})[site.part] = own
                row = candidate.report(option, layer)
                layers.append(replace(row, note="; ".join(filter(None, (row.note, measured)))))
                step()
        report = self._report(candidates, layers, dry_run)
        self._check_gap(candidates, chosen)
        return report, None if dry_run else made

    def _open(self, candidate: Candidate, option: Option) -> bool:
        """Whether the type is still to be chosen, by measured errors at equal parameters."""
        counted = self.compared and self.budget.key in ("ratio", "max_params") and not self.avoid_slower
        return counted and option.spec is not None and not candidate.rule.fixed and not candidate.rule.pattern

    def _check(self) -> None:
        refuse_without_values(self.model)
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
            raise TNLayersError(f"batch={self.batch!r} must be an integer of at least 1.")

        if isinstance(self.search, bool) or not isinstance(self.search, (int, float)) or not 0 <= self.search < inf:
            raise TNLayersError(f"search={self.search!r} must be seconds, a number of at least 0.")
        if self.search and (self.budget.key == "max_flops" or self.avoid_slower):
            raise TNLayersError(
                f"search={self.search} looks for less error at no more parameters, and other shapes have other flops: "
                "it goes with ratio=, max_params= or error=, not with max_flops= or avoid_slower=True."
            )

    def _candidates(self) -> list[Candidate]:
        """Every weight with its rule, its work and its options."""
        sites = sites_of(self.model, self.extra)
        single = layouts.without_stacks(sites)
        if self.budget.key == "max_flops" or self.avoid_slower:
            sites = single  # what one network for all experts costs depends on which experts are asked
        free = [site for site in sites if not site.against]
        if not free:
            raise TNLayersError(
                f"This {type(self.model).__name__} has no layer that a network could replace; those are "
                f"{replaceable()} and Conv1D of transformers.{named(_stuck(sites) or self._rest([]))}"
            )
        rules = dict(zip(free, rules_for([site.all_names for site in free], self.networks, self.rules), strict=True))
        dense = Rule(networks=())
        watched, memory = None, Memory(folder=self.cache)
        if self.sample is not None:
            watched = watch(self.model, sites, self.sample, data_aware=self.data_aware, memory=memory)
        priced = self.avoid_slower or self.budget.key == "max_flops"
        found = []
        with self._showing("looking at weights", len(sites)) as step:
            for k, site in enumerate(sites):
                candidate = Candidate.of(
                    site,
                    rules.get(site, dense),
                    works=tuple(self._work(watched, member) for member in site.members),
                    covariance=None if watched is None else watched.covariance(site),
                    sensitivity=1.0 if watched is None else watched.sensitivity[k],
                    memory=memory,
                    flops=self.budget.key == "max_flops",
                    bounds=self.budget.key == "error",
                    avoid_slower=self.avoid_slower,
                    thin=priced,
                )
                found.append(candidate)
                step()
        weighed = layouts.weighed(found)
        if self.budget.key == "error":
            return layouts.chosen(weighed, None, self.budget.value)
        apart = [one for one in weighed if one.site in single]
        share = self._limit(apart) / max(sum(one.dense for one in apart), 1)
        return layouts.chosen(weighed, share, None)

    def _work(self, watched: Watched | None, site: Site) -> Work:
        if watched is None or not watched.seen[site].vectors:
            return Work(count=self.batch)
        seen = watched.seen[site]
        return Work(count=max(round(seen.vectors * self.batch / watched.examples), 1), spatial=seen.spatial)

    def _allocated(self, candidates: Sequence[Candidate]) -> list[Option]:
        if self.budget.key == "error":
            return [candidate.within_error(self.budget.value) for candidate in candidates]
        weighted = [
            [replace(option, loss=option.loss * candidate.sensitivity) for option in candidate.options]
            for candidate in candidates
        ]
        limit = self._limit(candidates)
        chosen = allocate(weighted, limit)
        if chosen is None:
            least = sum(min(option.cost for option in options) for options in weighted)
            unit = "flops" if self.budget.key == "max_flops" else "parameters"
            raise TNLayersError(
                f"{self.budget} leaves {max(limit, 0):,} {unit} for the weights of the layers, and their smallest "
                f"networks have {least:,}: ask for {least - limit:,} {unit} more, leave fewer layers dense by rules, "
                "or offer other network types. Layers that are networks already stay as they are; their round_ makes "
                f"them smaller.{named(self._fixed(candidates))}"
            )
        return [
            next(one for one in candidate.options if (one.spec, one.cost) == (option.spec, option.cost))
            for candidate, option in zip(candidates, chosen, strict=True)
        ]

    def _limit(self, candidates: Sequence[Candidate]) -> int:
        """What the options of all candidates together may cost."""
        if self.budget.key == "max_flops":
            return int(self.budget.value)
        replaceable = [candidate for candidate in candidates if candidate.rule.networks]
        biases = sum(candidate.site.bias_size for candidate in replaceable)
        inside = sum(candidate.dense for candidate in replaceable)
        left = self.budget.parameters(self._total(), inside + biases) - biases
        return left + sum(candidate.dense for candidate in candidates if not candidate.rule.networks)

    def _grown(self, candidates: Sequence[Candidate], chosen: list[Option]) -> list[Option]:
        """The options with what is left of a budget of parameters spent on larger bonds."""
        if self.budget.key == "error":
            return chosen
        room = self._limit(candidates) - sum(option.cost for option in chosen)
        grown = list(chosen)
        places = [k for k, option in enumerate(chosen) if option.spec is not None and not candidates[k].rule.fixed]
        if self.budget.key == "max_flops" or self.avoid_slower:
            places = []  # larger bonds would have to be planned anew
        for k in sorted(places, key=lambda k: candidates[k].sensitivity * chosen[k].loss, reverse=True):
            wider = candidates[k].grown(chosen[k], room)
            room -= wider.cost - grown[k].cost
            grown[k] = wider
        near = int((1 - NEAR) * self._whole(candidates))
        if room <= near:
            return grown
        pools = [[*candidate.options, option] for candidate, option in zip(candidates, grown, strict=True)]
        return exchanged(pools, grown, room, near)

    def _total(self) -> int:
        """Parameters of the model, those that weights are computed of included."""
        return parameters_of(self.model) + sum(self.extra.values())

    def _whole(self, candidates: Sequence[Candidate]) -> int:
        """The budget itself, of which 2 % may be left over: that of the weights and of all that stays as it is."""
        limit = self._limit(candidates)
        if self.budget.key == "max_flops":
            return limit
        return limit + self._total() - sum(candidate.dense for candidate in candidates)

    def _report(self, candidates: Sequence[Candidate], layers: list[LayerReport], dry_run: bool) -> CompressReport:
        parameters = self._total() - sum(layer.before.parameters for layer in layers)
        extra = sum(self.extra.values()) * itemsize(next(self.model.parameters()))
        whole = sum(map(occupied, self.model.parameters())) + extra
        others = Size(parameters=parameters, bytes=whole - sum(layer.before.bytes for layer in layers), flops=0)
        return CompressReport(
            model=type(self.model).__name__,
            asked=str(self.budget),
            batch=self.batch,
            layers=tuple(layers),
            others=others,
            dry_run=dry_run,
            rest=self._rest(candidates),
        )

    def _rest(self, candidates: Sequence[Candidate]) -> tuple[Rest, ...]:
        """The parameters of modules that are no layers of the report, nor networks already."""
        hosts = {site.host for candidate in candidates for site in candidate.site.members}
        listed = {id(parameter) for host in hosts for parameter in host.parameters()}
        networks = [module for module in self.model.modules() if isinstance(module, TNModule)]
        listed |= {id(parameter) for module in networks for parameter in module.parameters()}
        return largest_first(
            Rest(name=name, kind=_kind(self.model, name), shape=tuple(one.shape), parameters=one.numel())
            for name, one in self.model.named_parameters()
            if id(one) not in listed
        )

    def _fixed(self, candidates: Sequence[Candidate]) -> tuple[Rest, ...]:
        """What stays as it is whatever is asked: other modules, and layers that have to stay dense."""
        return largest_first([*_stuck([one.site for one in candidates]), *self._rest(candidates)])

    def _check_gap(self, candidates: Sequence[Candidate], chosen: Sequence[Option]) -> None:
        """Warn, or refuse, where a budget of parameters or flops is met only from far below."""
        small = all(option.spec is None for option in chosen)
        if self.budget.key == "error" or small:
            return
        limit = self._limit(candidates)
        delivered = sum(option.cost for option in chosen)
        dense = sum(max(option.cost for option in candidate.options) for candidate in candidates)
        if delivered >= limit - (1 - NEAR) * self._whole(candidates) or delivered >= NEAR * dense:
            return
        above = [
            option.cost - now.cost
            for candidate, now in zip(candidates, chosen, strict=True)
            for option in candidate.options
            if option.cost - now.cost > limit - delivered
        ]
        unit = "flops" if self.budget.key == "max_flops" else "parameters"
        message = (
            f"{self.budget} allows {limit:,} {unit} in the weights of the layers; the nearest below is {delivered:,}"
        )
        message += f", the next above {delivered + min(above):,}." if above else "."
        if self.budget.strict:
            raise TNLayersError(f"{message} Ask for one of these, or leave strict=True out.")
        warnings.warn(message, TNLayersWarning, stacklevel=4)

    def _showing(self, words: str, steps: int) -> AbstractContextManager[Callable[..., None]]:
        return showing(words, steps, wanted=self.progress is not False)


def _kind(model: nn.Module, name: str) -> str:
    """The class of the module that has a parameter."""
    return type(model.get_submodule(name.rpartition(".")[0])).__name__


def _stuck(sites: Sequence[Site]) -> tuple[Rest, ...]:
    """Layers that have to stay dense, with the reason."""
    return largest_first(
        Rest(name=site.name, kind=site.against, shape=tuple(site.weight.shape), parameters=entries(site))
        for site in sites
        if site.against
    )
