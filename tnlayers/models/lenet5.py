"""LeNet-5 as in the paper (arXiv 1904.06194, Sec. III.A.2, Table I).

        x (N, 1, 28, 28) -> conv1 5x5, 6 -> pool -> conv2 5x5, 16 -> pool -> conv3 5x5, 120 -> fc1 84 -> fc2 10

The MPO network keeps conv1 and conv2. conv3 covers the whole 5 x 5 map, so it is a linear map of its 400 numbers,
flattened in the order height, width, channel as in the authors' code. The dense fully connected layers have no bias,
the MPOs have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, max_pool2d

from tnlayers.io.model_registry import register_model
from tnlayers.models.sites import Site


@register_model
class LeNet5(nn.Module):
    """Two or three convolutions and two fully connected layers on 28 x 28 images.

    Args:
        network: "dense"; "mpo" for the paper's factors and bonds; or a template, whose keywords replace every site's.

    Shape:
        Images (N, 1, 28, 28), logits (N, 10).

    Example:
        >>> model = LeNet5("mpo")
        >>> model(torch.zeros(2, 1, 28, 28)).shape, model.fc1.spec.in_modes
        (torch.Size([2, 10]), (2, 5, 6, 2))
    """

    name = "lenet5"
    sites = (
        Site(
            name="conv3",
            replaces="convolution 5x5, 16 -> 120, on a 5x5 map",
            dense_weights=5 * 5 * 16 * 120,
            in_modes=(2, 10, 10, 2),
            out_modes=(2, 5, 6, 2),
            bond_dim=4,
        ),
        Site(
            name="fc1",
            replaces="linear 120 -> 84",
            dense_weights=120 * 84,
            in_modes=(2, 5, 6, 2),
            out_modes=(2, 3, 7, 2),
            bond_dim=4,
        ),
        Site(
            name="fc2",
            replaces="linear 84 -> 10",
            dense_weights=84 * 10,
            in_modes=(2, 3, 7, 2),
            out_modes=(1, 5, 2, 1),
            bond_dim=2,
        ),
    )

    def __init__(self, network: str = "mpo") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        conv3, fc1, fc2 = self.sites
        # The dense convolution covers its whole map, without padding, unlike those of the other models.
        self.conv3 = nn.Conv2d(16, 120, 5) if network == "dense" else conv3.build(network)
        self.fc1, self.fc2 = fc1.build(network), fc2.build(network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images."""
        # relu and max-pooling commute; pooling first leaves relu a quarter of the entries.
        x = torch.relu(max_pool2d(self.conv1(images), 2))  # (N, 6, 14, 14)
        x = torch.relu(max_pool2d(self.conv2(x), 2))  # (N, 16, 5, 5)
        if isinstance(self.conv3, nn.Conv2d):
            # A 5 x 5 kernel on a 5 x 5 map is one matrix product, four times as fast as a convolution on a CPU.
            x = linear(x.flatten(1), self.conv3.weight.flatten(1), self.conv3.bias)  # (N, 120)
        else:
            x = self.conv3(x.permute(0, 2, 3, 1).flatten(1))  # (N, 400) in the order height, width, channel -> (N, 120)
        x = torch.relu(x)
        y: Tensor = self.fc2(torch.relu(self.fc1(x)))
        return y
