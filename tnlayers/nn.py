"""The torch layers: drop-in replacements for those of `torch.nn`. Importing this module imports torch."""

from tnlayers_backends.torch.linear import MPOLinear, TNLinear

__all__ = ["MPOLinear", "TNLinear"]
