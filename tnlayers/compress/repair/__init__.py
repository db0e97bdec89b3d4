"""Repair: a compressed model brought back towards the one that it came from."""

from tnlayers.compress.repair.stages import repair

__all__ = ["repair"]
