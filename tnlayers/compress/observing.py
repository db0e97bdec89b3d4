"""Watching a model at work on a sample: the inputs of each weight, and how much its error matters to the outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from tnlayers_backends.torch.layers.expert_stack import StackedLinear
from tnlayers_backends.torch.modules.hosts import host_of
from torch import Tensor, nn

from tnlayers.compress.cache import Memory, digest
from tnlayers.compress.modules.site import Site
from tnlayers.compress.moment_memory import affordable
from tnlayers.compress.running import is_ours, refuse_if_alone, run, tensors_in
from tnlayers.errors import TNLayersError

ModelSample: TypeAlias = "Tensor | tuple[Any, ...] | Mapping[str, Any] | Iterable[Any]"
_NOISE = 0.1  # relative size of the error that is tried: small enough to add up, far above rounding


@dataclass(slots=True)
class Seen:
    """What one weight was given.

    Attributes:
        vectors: Rows of input, of images their number.
        spatial: Size of the images; of sequences in a recurrent layer, their steps.
        moment: Sum over batches of their second moment times their vectors; None of what is not seen from outside.
    """

    vectors: int = 0
    spatial: tuple[int, ...] = ()
    moment: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a sample showed.

    Attributes:
        examples: How many examples the sample has.
        seen: By weight, every one that is tied to another too.
        sensitivity: Per site, the relative squared change of the model's outputs over that of the weight, or over that
            of the layer's own outputs where the second moment of its inputs is known.
    """

    examples: int
    seen: Mapping[Site, Seen]
    sensitivity: tuple[float, ...]

    def covariance(self, site: Site) -> Tensor | None:
        """The second moment of a site's inputs; none where it is read both ways round, which has no single input."""
        return _covariance(site, self.seen)


@torch.no_grad()
def watch(model: nn.Module, sites: Sequence[Site], sample: ModelSample, *, data_aware: bool, memory: Memory) -> Watched:
    """Run a model on a sample, in evaluation mode; the model is afterwards as it was, to the bit.

    Args:
        model: Any module.
        sites: Its weights.
        sample: One batch (a tensor, a tuple of arguments, a mapping of keywords), or an iterable of batches.
        data_aware: Whether to gather the second moments of the inputs.
        memory: Keeps the sensitivities, each of which is a run of the whole sample.

    Raises:
        TNLayersError: If there are no batches, the model does not run on them, or its outputs are no finite numbers.
    """
    batches = list(_batches(sample))
    if not batches:
        raise TNLayersError("The sample has no batches: give a tensor, or a list of batches that is not used up.")
    seen = {member: Seen() for site in sites for member in site.members}
    aware = affordable(sites) if data_aware else frozenset()
    with _evaluating(model):
        reference = _observed(model, batches, seen, aware)
        bad = sum(int((~outputs.isfinite()).sum()) for outputs in reference)
        if bad:
            raise TNLayersError(
                f"{bad} of the {sum(map(len, reference))} outputs of the model on the sample are NaN or infinite: no "
                "error of them has a size. Look at the sample and at the model's weights."
            )
        covariances = [_covariance(site, seen) for site in sites]
        sensitivity = _sensitivities(model, sites, covariances, batches, reference, memory)
    return Watched(examples=sum(_examples(batch) for batch in batches), seen=seen, sensitivity=sensitivity)


def _observed(
    model: nn.Module, batches: Sequence[Any], seen: Mapping[Site, Seen], aware: Collection[Site]
) -> list[Tensor]:
    """The model's outputs, while the inputs of its weights are gathered.

    An error is the sample's where the model alone, unobserved, does not run on it either; else it is ours.
    """
    handles = [
        site.host.register_forward_pre_hook(_observer(site, entry, site in aware), with_kwargs=True)
        for site, entry in seen.items()
    ]
    place = 0
    try:
        found = []
        for place, batch in enumerate(batches):  # noqa: B007  asked for after an error
            found.append(run(model, batch))
        return found
    except Exception as error:
        for handle in handles:
            handle.remove()
        if not is_ours(error):
            refuse_if_alone(model, batches[place])
        raise
    finally:
        for handle in handles:
            handle.remove()


def _covariance(site: Site, seen: Mapping[Site, Seen]) -> Tensor | None:
    if any(member.turned != site.turned for member in site.tied):
        return None
    known = [one for one in (seen[member] for member in site.members) if one.moment is not None]
    if not known:
        return None
    moments = [one.moment for one in known if one.moment is not None]
    total = moments[0] if len(moments) == 1 else torch.stack(moments).sum(0)
    if not total.any():  # inputs that are always zero say nothing: the weight's own error counts
        return None
    return total / sum(one.vectors for one in known)


def _sensitivities(
    model: nn.Module,
    sites: Sequence[Site],
    covariances: Sequence[Tensor | None],
    batches: Sequence[Any],
    reference: Sequence[Tensor],
    memory: Memory,
) -> tuple[float, ...]:
    """Of every weight; kept under what decides them: the model's class and tensors, the sample, the outputs."""
    parts = [*model.state_dict().values(), *(value for batch in batches for value in tensors_in(batch)), *reference]
    of_outputs = str([covariance is not None for covariance in covariances])
    name = digest(type(model).__qualname__, of_outputs, *(one for one in parts if isinstance(one, Tensor)))
    cached = memory.numbers(f"sensitivity-{name}")
    if cached is None:
        pairs = zip(sites, covariances, strict=True)
        cached = [_sensitivity(model, site, covariance, batches, reference) for site, covariance in pairs]
        memory.store_numbers(f"sensitivity-{name}", cached)
    return tuple(cached)


def _sensitivity(
    model: nn.Module, site: Site, covariance: Tensor | None, batches: Sequence[Any], reference: Sequence[Tensor]
) -> float:
    """How a small random error of one weight shows in the model's outputs, over how it shows in the layer's own.

    A data-aware curve counts errors of a layer's outputs. Over the error of the weight instead, layers whose inputs lie
    in few directions that the weight has learnt would be up to twenty times too cheap to shorten.
    """
    if site.against or isinstance(site.dense, StackedLinear):  # of which the experts' own say it
        return 1.0
    weight, before = site.weight.detach(), site.matrix().clone()
    original = weight.clone()
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(weight)
    try:
        weight.add_(noise * (_NOISE * original.norm() / noise.norm()))
        tried = _square(site.matrix() - before, covariance)
        changed = [run(model, batch) for batch in batches]
    except Exception as error:
        raise TNLayersError(
            f"The model runs on the sample, but not with {site.name} changed by a tenth: {type(error).__name__}: "
            f"{str(error)[:1000]}. Without sample= errors count by the weights alone."
        ) from error
    finally:
        weight.copy_(original)
    wrong = sum(float((a - b).square().sum()) for a, b in zip(changed, reference, strict=True))
    total, own = sum(float(b.square().sum()) for b in reference), _square(before, covariance)
    return wrong / total * own / tried if total and tried else 1.0


def _square(weight: Tensor, covariance: Tensor | None) -> float:
    """The mean of ||W x||^2 over inputs of a second moment; of none that is known, ||W||^2."""
    if covariance is None:
        return float(weight.abs().double().square().sum())
    wide = weight.to(covariance.dtype)
    return max(float((wide @ covariance * wide.conj()).real.sum()), 0.0)


def _batches(sample: ModelSample) -> Iterator[Any]:
    if isinstance(sample, (Tensor, tuple, Mapping)):  # a PackedSequence is a tuple too
        yield sample
    else:
        yield from sample


def _examples(batch: Any) -> int:
    return next((len(value) if value.ndim else 1 for value in tensors_in(batch)), 1)


def _observer(site: Site, entry: Seen, data_aware: bool) -> Callable[..., None]:
    host, kind, dense = host_of(site.host), site.kind, site.dense

    def observe(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = host.given(module, site.part, args, kwargs)
        if given is None:
            return
        work = kind.work(dense, given)
        entry.spatial = host.steps(module, args, kwargs) or work.spatial
        entry.vectors += work.count
        if data_aware and not site.against and host.shows(site.part):
            moment = kind.moment(dense, given)
            if moment is not None:
                moment = moment.mul_(work.count)
                entry.moment = moment if entry.moment is None else entry.moment.add_(moment)

    return observe


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout, and no statistics that move."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
