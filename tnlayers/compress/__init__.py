"""From trained weights: dense weights as networks, and whole models, within a budget or an error.

Example:
    >>> import numpy as np
    >>> from tnlayers.compress import decompose
    >>> decompose(np.eye(16), "mpo(cores=2)", bond_dim=1).error < 1e-12
    True
"""

from tnlayers.compress.compressed import Compressed, compress
from tnlayers.decompose.decomposition import Decomposition, decompose

__all__ = ["Compressed", "Decomposition", "compress", "decompose"]
