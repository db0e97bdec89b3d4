"""The version of the library, which files and caches state."""

__version__ = "0.2.0"
