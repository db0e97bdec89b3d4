"""Candidates: a weight with the options that its rule leaves it, and the layer of the one that is taken."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tnlayers_backends.torch.layers.kind import Work
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import copy_modes, itemsize, occupied
from torch import Tensor

from tnlayers.backends import backend
from tnlayers.compress.allocation import Option
from tnlayers.compress.cache import Memory, digest
from tnlayers.compress.curves import Curve, curve
from tnlayers.compress.layer_report import LayerReport, Size
from tnlayers.compress.modules.site import Site, blank, entries
from tnlayers.compress.modules.ties import tied_layers
from tnlayers.compress.prices import flops, time_ratio
from tnlayers.compress.rules import Rule
from tnlayers.declare.spec import Spec
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.target import Method, Target
from tnlayers.errors import TNLayersError, TNLayersWarning

_THIN = 12  # options of one type that are worth planning for their flops


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One weight.

    Attributes:
        site: Where it is.
        rule: What was asked of it.
        works: How much it is given at once, in each module that has it.
        covariance: The second moment of its inputs, or None.
        sensitivity: What its squared relative error counts.
        options: Dense, and all networks with fewer parameters.
        curves: Of the types that have them, for growing.
        fixed: The layer of a rule that says its size.
        note: Why there are no networks among the options.
        memory: What is cached between runs.
        bounds: Whether losses must not be below those of fits.
    """

    site: Site
    rule: Rule
    works: tuple[Work, ...]
    covariance: Tensor | None
    sensitivity: float
    options: tuple[Option, ...]
    curves: tuple[Curve, ...]
    fixed: TNModule | None
    note: str
    memory: Memory
    bounds: bool

    @classmethod
    def of(
        cls,
        site: Site,
        rule: Rule,
        *,
        works: tuple[Work, ...],
        covariance: Tensor | None,
        sensitivity: float,
        memory: Memory,
        flops: bool,
        bounds: bool,
        avoid_slower: bool,
        thin: bool,
    ) -> Candidate:
        """A weight with its options.

        Args:
            site: Where it is.
            rule: What was asked of it.
            works: How much it is given at once, in each module that has it.
            covariance: The second moment of its inputs, or None.
            sensitivity: What its squared relative error counts.
            memory: What is cached between runs.
            flops: Whether the budget counts flops.
            bounds: Whether what is asked bounds each error, so that losses must not be below those of fits.
            avoid_slower: Whether options that are predicted to be slower than dense fall out.
            thin: Whether options have to be few, because each one is planned.

        Raises:
            TNLayersError: If a rule's network does not fit the weight, or flops are counted of unknown sizes.
        """
        found = cls(
            site=site,
            rule=rule,
            works=works,
            covariance=covariance,
            sensitivity=sensitivity,
            options=(Option(spec=None, parameters=entries(site), cost=entries(site), loss=0.0),),
            curves=(),
            fixed=None,
            note=site.against or (f"rule {rule.pattern!r}" if rule.pattern and not rule.networks else ""),
            memory=memory,
            bounds=bounds,
        )
        if rule.networks:
            _check_finite(site)
            found = found._with_fixed() if rule.fixed else found._with_curves(thin)
        if flops:
            found = replace(found, options=tuple(found._in_flops(option) for option in found.options))
        if avoid_slower:
            fast = tuple(option for option in found.options if not found._slower(option))
            note = found.note or ("all its networks are predicted to be slower" if len(fast) == 1 else "")
            found = replace(found, options=fast, note=note)
        return found

    @property
    def dense(self) -> int:
        """Entries of the dense weight."""
        return entries(self.site)

    def within_error(self, error: float) -> Option:
        """The option of the fewest parameters within a relative error; dense counts as without any."""
        fitting = [option for option in self.options if option.loss <= error**2]
        return min(fitting or self.options, key=lambda option: option.parameters)

    def grown(self, option: Option, room: int) -> Option:
        """An option with bonds as wide as so many more parameters allow, and still fewer than the dense weight's."""
        assert option.spec is not None
        limit = min(option.parameters + room, self.dense - 1)
        for one in self.curves:
            if one.scale.spec.network == option.spec.network and option in one.options:
                spec = one.within(option.spec, limit)
                return replace(option, spec=spec, parameters=spec.parameters, cost=spec.parameters)
        return option

    def key(self, *more: str) -> str:
        """A name for what is made of the weight at its place: settings such as a stride are part of a layer."""
        dense = self.site.dense
        return digest(self.site.weight, getattr(dense, "bias", None), self.covariance, repr(dense), *more)

    def built(self, option: Option) -> TNModule | None:
        """The layer of an option; None for dense."""
        if option.spec is None:
            return None
        if self.fixed is not None:
            return self.fixed
        key = f"layer-{self.key(str(option.spec))}"
        cached = self.memory.layer(key)
        layer = self.layer(option.spec) if cached is None else cached.to(self.site.weight.device)
        if cached is None:
            self.memory.store_layer(key, layer)
        copy_modes(self.site.dense, layer)
        return layer

    def report(self, option: Option, layer: TNModule | None) -> LayerReport:
        """What was asked and delivered; a layer that was not built is priced without numbers."""
        site, spec = self.site, option.spec
        priced = None if spec is None else blank(site, spec) if layer is None else layer
        found = None if layer is None else layer.delivered
        time = None if priced is None else self._time(priced)
        note = self.note if spec is None else "slower than dense" if time is not None and time > 1 else ""
        if spec is None and not note:
            smaller = len(self.options) > 1
            note = "the budget allows it" if smaller else "no network of fewer parameters"
        return LayerReport(
            name=site.name,
            kind=type(site.host).__name__,
            asked=str(self.rule),
            network="dense" if spec is None else str(spec),
            bond=() if spec is None or spec.terms else tuple(spec.graph.sizes[i] for i in spec.graph.summed),
            before=self._size(None, self.dense),
            after=self._size(priced, option.parameters),
            error=0.0 if spec is None else option.loss**0.5 if found is None else found.error,
            output_error=None if found is None else found.output_error,
            sensitivity=self.sensitivity,
            searched=None if found is None or found.searched is None else str(found.searched),
            time=time,
            note=note,
        )

    def _size(self, layer: TNModule | None, parameters: int) -> Size:
        site = self.site
        orders = [] if layer is None else [layer.in_order, layer.out_place]
        others = sum(occupied(one) for one in [*site.biases, *orders] if one is not None)
        if layer is None:
            weight = occupied(site.weight) + site.extra * itemsize(site.weight)
        else:
            weight = parameters * itemsize(site.weight)
        return Size(parameters=parameters + site.bias_size, bytes=weight + others, flops=self._flops(layer))

    def _flops(self, layer: TNModule | None) -> int | None:
        """In all modules that have the weight; None where one has images of unknown size."""
        members = {} if layer is None else tied_layers(self.site, layer)
        works = zip(self.site.members, self.works, strict=True)
        counted = [flops(site, members.get(site), work) for site, work in works]
        known = [count for count in counted if count is not None]
        return sum(known) if len(known) == len(counted) else None

    def _time(self, layer: TNModule) -> float | None:
        """Predicted time over that of the dense weight, in the module where that is largest; None without any."""
        members = zip(tied_layers(self.site, layer).items(), self.works, strict=True)
        ratios = [time_ratio(site, own, work) for (site, own), work in members]
        return max((ratio for ratio in ratios if ratio is not None), default=None)

    def _with_fixed(self) -> Candidate:
        layer = self.layer(self.rule.networks[0], **self.rule.size)
        copy_modes(self.site.dense, layer)
        if layer.spec.parameters >= self.dense:
            return replace(self, note=f"{layer.spec} would have {layer.spec.parameters:,} parameters")
        loss = 0.0 if layer.delivered is None else layer.delivered.error**2
        size = layer.spec.parameters
        option = Option(spec=layer.spec, parameters=size, cost=size, loss=loss)
        return replace(self, options=(option,), fixed=layer)

    def _with_curves(self, thin: bool) -> Candidate:
        curves, notes = [], []
        for template in self.rule.networks:
            try:
                curves.append(self._curve(template))
            except TNLayersError as error:
                if self.rule.pattern:
                    raise TNLayersError(f"{self.site.name}: {error}") from error
                notes.append(f"no {template.network} fits: {error}")
        options = [option for one in curves for option in (_thinned(one.options) if thin else one.options)]
        note = "; ".join(notes) if not options else ""
        return replace(self, options=(*self.options, *options), curves=tuple(curves), note=note)

    def _curve(self, template: Spec) -> Curve:
        scale = self.site.scale(template)
        key = f"curve-{self.key(str(scale.spec), str(self.bounds))}"
        cached = self.memory.curve(key, scale)
        if cached is not None:
            return cached
        ops = backend("torch").ops
        assert isinstance(ops, Splitting)
        with _quiet():
            made = curve(Target(ops, self.site.matrix(), self.covariance, Method()), scale, bounds=self.bounds)
        self.memory.store_curve(key, made)
        return made

    def _in_flops(self, option: Option) -> Option:
        layer = None if option.spec is None else blank(self.site, option.spec)
        cost = self._flops(layer)
        if cost is None:
            raise TNLayersError(
                f"max_flops: the flops of the convolution {self.site.name} depend on the size of its images, which is "
                "not known. Pass a sample= of the model's inputs."
            )
        return replace(option, cost=cost)

    def _slower(self, option: Option) -> bool:
        if option.spec is None:
            return False
        time = self._time(blank(self.site, option.spec))
        return time is not None and time > 1

    def layer(self, spec: Spec, **size: Any) -> TNModule:
        """The weight as a network.

        Args:
            spec: Its declaration, or a template.
            **size: The size of a template, and how it is found, as `from_linear` and its kin take them.
        """
        with _quiet():
            return self.site.kind.from_dense(self.site.dense, spec, covariance=self.covariance, **size)


def _thinned(options: tuple[Option, ...]) -> tuple[Option, ...]:
    step = max(-(-len(options) // _THIN), 1)
    return options[::step]


def _check_finite(site: Site) -> None:
    bad = int((~site.weight.isfinite()).sum())
    if bad:
        raise TNLayersError(
            f"{bad} of the {entries(site)} entries of {site.name} are NaN or infinite: it has no decomposition. Leave "
            "it dense by a rule, or look for the step of its training that made them."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Options are clipped and padded without a word; what is delivered is in the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        yield
