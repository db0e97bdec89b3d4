"""Layouts of stacks of experts: a network for each expert, or one network for all of them, as the budget prefers.

Both are candidates, which count the same parameters. At the share of its parameters that the budget leaves the model,
each stack takes the one of less error; under an error budget, the one of fewer parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tnlayers_backends.torch.layers.expert_stack import StackedLinear

from tnlayers.compress.allocation import Option, allocate
from tnlayers.compress.candidates import Candidate
from tnlayers.compress.modules.site import Site


def without_stacks(sites: Sequence[Site]) -> list[Site]:
    """The sites but those that are one weight for all experts."""
    return [site for site in sites if not _is_stack(site)]


def weighed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates; an error of a weight for all experts counts as the same error in each of them."""
    groups = _groups(candidates)
    return [
        replace(one, sensitivity=sum(other.sensitivity for other in groups[_stack(one.site)]))
        if _is_stack(one.site)
        else one
        for one in candidates
    ]


def chosen(candidates: Sequence[Candidate], share: float | None, error: float | None) -> list[Candidate]:
    """The candidates with one layout for each stack.

    Args:
        candidates: Weighed.
        share: What part of the parameters the budget leaves; None for a budget of errors.
        error: The relative error that is allowed; None for a budget of parameters.
    """
    groups = _groups(candidates)
    together = {_stack(one.site): one for one in candidates if _is_stack(one.site)}
    as_one = {stack for stack, one in together.items() if _prefers_one(one, groups[stack], share, error)}
    return [one for one in candidates if _is_stack(one.site) == (_stack(one.site) in as_one)]


def _prefers_one(one: Candidate, each: Sequence[Candidate], share: float | None, error: float | None) -> bool:
    """Whether one network for all experts serves better than one for each."""
    if any(candidate.rule.fixed for candidate in (one, *each)):
        return one.rule.fixed and not any(candidate.rule.fixed for candidate in each)
    if error is not None:
        return one.within_error(error).parameters < sum(other.within_error(error).parameters for other in each)
    assert share is not None
    limit = int(share * one.dense)
    own = allocate([_weighted(one)], limit)
    apart = allocate([_weighted(other) for other in each], limit)
    if own is None or apart is None:
        return own is not None
    return own[0].loss < sum(option.loss for option in apart)


def _weighted(candidate: Candidate) -> list[Option]:
    return [replace(option, loss=option.loss * candidate.sensitivity) for option in candidate.options]


def _is_stack(site: Site) -> bool:
    return isinstance(site.dense, StackedLinear)


def _stack(site: Site) -> tuple[int, str]:
    """The stack that a site is of; of other sites something that no stack is."""
    return id(site.host), site.part.rpartition(".")[0]


def _groups(candidates: Sequence[Candidate]) -> dict[tuple[int, str], list[Candidate]]:
    """The candidates of single experts by their stack."""
    stacks = {_stack(one.site) for one in candidates if _is_stack(one.site)}
    found: dict[tuple[int, str], list[Candidate]] = {stack: [] for stack in stacks}
    for one in candidates:
        if not _is_stack(one.site) and _stack(one.site) in stacks:
            found[_stack(one.site)].append(one)
    return found
