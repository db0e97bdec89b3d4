"""Network types: one file each, of the type's own name; the registry loads it when the type is first asked for."""

from tnlayers.declare.registry import NetworkType, network, network_type, network_types

__all__ = ["NetworkType", "network", "network_type", "network_types"]
