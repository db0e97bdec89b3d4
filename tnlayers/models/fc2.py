"""FC2: 784 -> 256 -> 10, the paper's first network (arXiv 1904.06194, Sec. III.A.1, Fig. 2).

        x (N, 1, 28, 28) -> 784 -> fc1 -> relu -> fc2 -> 10

The bond of the first layer is what Fig. 2 scans; the second stays at 4. As in the authors' code the dense network has
no biases and the MPO network has both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tnlayers.io.model_registry import register_model
from tnlayers.models.sites import Site


@register_model
class FC2(nn.Module):
    """Two fully connected layers on 28 x 28 images.

    Args:
        network: "dense"; "mpo" for the paper's factors and bonds; or a template such as "mpo(bond=8)", whose keywords
            replace the first layer's.

    Shape:
        Images (N, 1, 28, 28), or any (N, ...) of 784 numbers each; logits (N, 10).

    Example:
        >>> model = FC2("mpo(bond=8)")
        >>> model(torch.zeros(2, 1, 28, 28)).shape, model.fc1.spec.bond_dim
        (torch.Size([2, 10]), 8)
    """

    name = "fc2"
    sites = (
        Site(
            name="fc1",
            replaces="linear 784 -> 256",
            dense_weights=784 * 256,
            in_modes=(4, 7, 7, 4),
            out_modes=(4, 4, 4, 4),
            bond_dim=16,
        ),
        Site(
            name="fc2",
            replaces="linear 256 -> 10",
            dense_weights=256 * 10,
            in_modes=(4, 4, 4, 4),
            out_modes=(1, 1, 10, 1),
            bond_dim=4,
            scanned=False,
        ),
    )

    def __init__(self, network: str = "mpo") -> None:
        super().__init__()
        self.fc1, self.fc2 = (site.build(network) for site in self.sites)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = images.flatten(1)  # (N, 784), row by row
        y: Tensor = self.fc2(torch.relu(self.fc1(x)))
        return y
