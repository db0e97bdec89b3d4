"""Layers as cores, on any backend: maps, initialisation, canonical form, norms, overlaps, spectra."""
