"""Network types: one file each, and the registry that knows them by name."""

from tnlayers.networks import mpo as _mpo  # noqa: F401  registers "mpo"
from tnlayers.networks.registry import NetworkType, network, network_type, network_types

__all__ = ["NetworkType", "network", "network_type", "network_types"]
