"""What the paper's CIFAR-10 networks are made of: normalisation before each convolution, and the head.

The authors' batch normalisation has eps 1e-3 and keeps 0.99 of its running statistics at a step (with a correction
for their start at zero, which torch does not need: its own start at mean 0 and variance 1).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from tnlayers.models.sites import Site

_EPS, _MOMENTUM = 1e-3, 0.01


class NormReLU(nn.Sequential):
    """Batch normalisation over the channels of (N, C, H, W), then relu."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels, eps=_EPS, momentum=_MOMENTUM), nn.ReLU(inplace=True))


class FeatureNormReLU(nn.Module):
    """Batch normalisation over every position and channel of (N, C, H, W) by itself, then relu.

    The authors' code has it after a replaced convolution, whose output is a flat vector there.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features, eps=_EPS, momentum=_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each of the C H W features over the batch."""
        y: Tensor = self.norm(x.flatten(1)).relu()
        return y.reshape(x.shape)


def norm_after(site: Site, network: str) -> nn.Module:
    """The normalisation after a replaced convolution: per feature if a network is there, per channel if it is dense."""
    assert site.map is not None
    channels, (height, width) = site.map.out_channels, site.map.size
    return NormReLU(channels) if network == "dense" else FeatureNormReLU(channels * height * width)


def head(features: int, site: Site, network: str) -> OrderedDict[str, nn.Module]:
    """Normalisation, average over the 8 x 8 map, and the classifier.

    As in the authors' code a network in the classifier's place gets one more normalisation and relu before it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(norm=NormReLU(features), pool=nn.AvgPool2d(8))
    if network != "dense":
        layers["norm_fc"] = NormReLU(features)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = site.build(network)
    return layers
