"""Declaring a layer: modes, specs and their grammar, graphs, the registry of network types, windows and kernels."""
