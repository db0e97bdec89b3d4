"""DenseNet on CIFAR-10 (arXiv 1904.06194, Sec. III.B.3, Table II; layers from the authors' code, c345b9f).

    x (N, 3, 32, 32) -> conv1 n -> three blocks of m layers with growth k, transitions between -> norm, pool -> fc

A layer is normalise, relu, 3 x 3 convolution to k channels, and its output is appended to its input. A transition is
normalise, relu, a 1 x 1 convolution that keeps all channels, and a 2 x 2 average: there is no bottleneck and no
reduction. The classifier is replaced. The variant "conv" of (16, 12, 12) also replaces the last convolution by a
linear map. The paper gives it input factors of 28160 = 8 x 8 x 440, but the layer's map has 436 channels, 27904
numbers: here the last 256 inputs of its factors read as zero. The code has no such layer, so its bias is as in the
other replaced convolutions.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tnlayers.io.model_registry import register_model
from tnlayers.models.blocks import NormReLU, head
from tnlayers.models.sites import Map, Site, classifier

# Name -> (n, m, k) and the input factors of the classifier's MPO: the rows of Table II.
ROWS = {
    "densenet40-12": ((16, 12, 12), (4, 4, 7, 4)),
    "densenet40-24": ((16, 12, 24), (4, 5, 11, 4)),
    "densenet100-12": ((24, 32, 12), (4, 7, 7, 6)),
    "densenet100-24": ((96, 32, 24), (5, 8, 12, 5)),
}
WITH_CONV = "densenet40-12-conv"

_LAST_CONVOLUTION = Site(
    name="block3.11.conv",
    replaces="convolution 3x3, 436 -> 12, on an 8x8 map",
    dense_weights=3 * 3 * 436 * 12,
    in_modes=(4, 5, 8, 11, 4, 4),
    out_modes=(2, 4, 4, 3, 4, 2),
    bond_dim=20,
    map=Map(size=(8, 8), in_channels=436, out_channels=12),
    pad_in=8 * 8 * 4,
)


def sites(name: str) -> tuple[Site, ...]:
    """The places that the paper replaces in the DenseNet of that name."""
    (n, m, k), modes = ROWS[name.removesuffix("-conv")]
    fc = classifier(n + 3 * m * k, modes, bond_dim=4)
    return (_LAST_CONVOLUTION, fc) if name == WITH_CONV else (fc,)


class DenseLayer(nn.Module):
    """Normalise, relu, convolve, and append to the input: (N, C, H, W) -> (N, C + growth, H, W)."""

    def __init__(self, channels: int, convolution: nn.Module) -> None:
        super().__init__()
        self.norm = NormReLU(channels)
        self.conv = convolution

    def forward(self, x: Tensor) -> Tensor:
        """The input with new channels after its own."""
        return torch.cat([x, self.conv(self.norm(x))], 1)


@register_model
class DenseNet(nn.Sequential):
    """A DenseNet for 32 x 32 images.

    Args:
        name: A row of Table II, such as "densenet40-12", or "densenet40-12-conv".
        network: "dense"; "mpo" for the paper's factors and bonds; or a template, whose keywords replace every site's.

    Shape:
        Images (N, 3, 32, 32), logits (N, 10).

    Example:
        >>> with torch.device("meta"):  # nothing is drawn
        ...     model = DenseNet("densenet40-12", "mpo")
        >>> model.fc.spec.in_features
        448
    """

    def __init__(self, name: str = "densenet40-12", network: str = "mpo") -> None:
        replaced = {site.name: site for site in sites(name)}
        (channels, depth, growth), _ = ROWS[name.removesuffix("-conv")]
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False))
        for block in (1, 2, 3):
            made: list[nn.Module] = []
            for k in range(depth):
                site = replaced.get(f"block{block}.{k}.conv")
                dense = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
                made.append(DenseLayer(channels, dense if site is None else site.build(network)))
                channels += growth
            layers[f"block{block}"] = nn.Sequential(*made)
            if block < 3:
                keep = nn.Conv2d(channels, channels, 1, bias=False)
                layers[f"transition{block}"] = nn.Sequential(NormReLU(channels), keep, nn.AvgPool2d(2))
        super().__init__(layers | head(channels, replaced["fc"], network))
        self.name = name
