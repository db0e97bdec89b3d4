"""Numerical backends of tnlayers: how programs run and how layers live on each framework.

Nothing is imported here: each backend is a module of its own that imports its framework.
"""
