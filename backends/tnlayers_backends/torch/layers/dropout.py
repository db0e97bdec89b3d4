"""Dropout on bonds: in training, values of the summed indices are left out at random (tensor dropout).

    W = sum over bond values i of W_i        becomes        sum over i of m_i / (1 - p) W_i,   m_i ~ Bernoulli(1 - p)

Each mask enters W linearly and once per index, however many cores share it, so E[W] is W itself: nothing changes in
evaluation. One draw serves a whole forward pass: every vector of the batch sees the same W. For bonds this is the
tensor dropout of Kolbeinsson et al. 2019 (arXiv 1902.10758, Sec. 3), where it regularises tensor regression layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError


class BondDropout(nn.Module):
    """What multiplies a layer's cores by random masks in training; it holds no parameters and no state.

    Args:
        graphs: The layer's networks.
        p: The probability that a value of a bond is left out.
    """

    def __init__(self, graphs: Sequence[Graph], p: float) -> None:
        super().__init__()
        self.p = p
        # Where each mask goes: the first core that has the index. A bond of size 1 is all or nothing of W: it stays.
        cores = [(graph, core) for graph in graphs for core in graph.cores]
        self._places = tuple(
            next((k, core.indices.index(i)) for k, (g, core) in enumerate(cores) if g is graph and i in core.indices)
            for graph in graphs
            for i in graph.summed
            if graph.sizes[i] > 1
        )

    def forward(self, cores: Sequence[Tensor]) -> list[Tensor]:
        """The cores, masked in training and as they are in evaluation."""
        masked = list(cores)
        if self.training:
            for k, axis in self._places:
                mask = masked[k].detach().new_empty(masked[k].shape[axis]).bernoulli_(1 - self.p) / (1 - self.p)
                masked[k] = apply_mask(masked[k], axis, mask)
        return masked

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"p={self.p}"


def apply_mask(core: Tensor, axis: int, mask: Tensor) -> Tensor:
    """A core with each slice along one axis multiplied by its entry of a mask."""
    return core * mask.reshape(-1, *[1] * (core.ndim - axis - 1))


def check_probability(p: float) -> None:
    """Refuse what is no probability, and 1, which would leave nothing.

    Raises:
        TNLayersError: If `p` is not in [0, 1).
    """
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise TNLayersError(f"p={p!r}: a bond value is left out with a probability from 0 to below 1, such as p=0.1.")
