"""Repair: a compressed model brought back towards the one that it came from."""
