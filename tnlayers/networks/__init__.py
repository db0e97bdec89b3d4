"""Network types: one file each, and the registry that knows them by name."""

from tnlayers.declare.registry import NetworkType, network, network_type, network_types
from tnlayers.networks import (  # noqa: F401  each registers its type
    block_term,
    blockdiag,
    btt,
    cp,
    kronecker,
    lowrank,
    mera,
    monarch,
    mpo,
    peps,
    ring,
    tree,
    tucker,
)

__all__ = ["NetworkType", "network", "network_type", "network_types"]
