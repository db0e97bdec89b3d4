"""What the second moments of all inputs take, before any is gathered; the largest may have to be left out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from tnlayers.compress.modules.site import Site
from tnlayers.errors import TNLayersWarning

_BYTES = 8  # of an entry: moments are sums in double precision
_COPIES = 8  # of one moment that gathering it and whitening by it hold at once
_LEAST = 2**31  # bytes that may always be taken


def affordable(sites: Sequence[Site], limit: int | None = None) -> frozenset[Site]:
    """The weights whose inputs' second moments are stored, the smallest first; a warning names the others.

    A weight of n inputs has a moment of n^2 entries, for as long as the model is compressed, and needs some more of
    that size while it is fitted. The error of a weight without a moment is that of the weight itself.

    Args:
        sites: The weights.
        limit: Bytes that all may take together; None for 2 GiB, or half of the machine's memory where that is more.
    """
    room = max(_LEAST, _memory() // 2) if limit is None else limit
    wanted = sorted((site for site in sites if not site.against), key=_inputs)
    measured_sites: list[Site] = []
    taken = 0
    for site in wanted:
        own = _BYTES * _inputs(site) ** 2
        if taken + _COPIES * own > room:
            break
        taken += own * len(site.members)
        measured_sites.append(site)
    if len(measured_sites) < len(wanted):
        left = wanted[len(measured_sites) :]
        whole = sum(_BYTES * _inputs(site) ** 2 * len(site.members) for site in left)
        share, largest = f"{len(left)} of {len(wanted)}", left[-1]
        warnings.warn(
            f"The second moments of the inputs of {share} weights would take {_gib(whole)} beside {_gib(taken)}, and "
            f"fits {_COPIES} times that of the largest, where {_gib(room)} are for them: the errors of these weights "
            f"themselves count ({largest.name[:100]}, with {_inputs(largest)} inputs, is the largest). "
            "data_aware=False leaves out all.",
            TNLayersWarning,
            stacklevel=2,
        )
    return frozenset(member for site in measured_sites for member in site.members)


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


def _inputs(site: Site) -> int:
    return int(site.matrix().shape[1])


def _memory() -> int:
    """The machine's memory in bytes; 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
