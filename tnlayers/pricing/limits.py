"""Limits of what is cached in memory between calls, and what counts towards them."""

from __future__ import annotations

from tnlayers.program.chain import Chain

# A larger workspace is let go of after use: it would not stay in any cache, and nobody expects a layer to keep it.
KEPT_BYTES = 2**26

# What inference keeps prepared from the cores, in bytes: a float32 weight of 4096 x 4096. More is made at every call.
PREPARED_LIMIT = 2**26

# How many calls are taken to share what was prepared: an evaluation has about as many batches between two changes of
# the cores. Preparing counts by this share in the estimate of a call, so it has to be worth its time.
CALLS = 100


def prepared_bytes(chain: Chain, operands: int, itemsize: int) -> int:
    """Bytes of a chain's matrices that are no views of the program's operands."""
    made = (link for link in chain.links if link.core[1].copies or link.core[0] >= operands)
    return itemsize * sum(link.matrix for link in made)
