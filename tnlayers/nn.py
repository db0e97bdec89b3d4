"""The torch layers: drop-in replacements for those of `torch.nn`. Importing this module imports torch."""

from tnlayers.backends import backend

backend("torch")  # without torch this refuses and names the extra to install, before the import below fails

from tnlayers_backends.torch.linear import MPOLinear, TNLinear  # noqa: E402
from tnlayers_backends.torch.training import bond_dropout, checkpointed  # noqa: E402

__all__ = ["MPOLinear", "TNLinear", "bond_dropout", "checkpointed"]
