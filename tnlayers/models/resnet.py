"""Pre-activation wide ResNet on CIFAR-10 (arXiv 1904.06194, Sec. III.B.2, Fig. 3; layers from the authors' code).

    x (N, 3, 32, 32) -> conv1 16 -> stage1 16k, 32 x 32 -> stage2 32k, 16 x 16 -> stage3 64k, 8 x 8 -> norm, pool -> fc

Depth 6n + 2 has n blocks in each stage; the paper's width is k = 4. A block is normalise, relu, convolve, twice, and
the first block of a stage projects its shortcut from what it normalised. Fig. 3 replaces the classifier alone. The
variant "unit" also replaces both convolutions of the last block by linear maps of the flattened 8 x 8 x 256 map,
which the paper says of depth 56.

The one thing that is not as in the authors' code: at stride 2 TensorFlow pads a map of even size after its last row
and column only, torch on both sides.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers.io.model_registry import register_model
from tnlayers.models.blocks import NormReLU, head, norm_after
from tnlayers.models.sites import Map, Site, classifier

DEPTHS = (14, 20, 26, 32, 38, 44, 50, 56, 86, 104, 110, 116)  # of Fig. 3


def sites(depth: int, width: int = 4, *, unit: bool = False) -> tuple[Site, ...]:
    """The places that the paper replaces: the classifier, and in the unit variant the last block before it."""
    modes = (4, 4, 4, width) if width > 1 else (4, 4, 4)  # a core of modes 1 and 1 would hold nothing
    fc = classifier(64 * width, modes, bond_dim=3)
    if not unit:
        return (fc,)
    convolutions = tuple(
        Site(
            name=f"stage3.{(depth - 2) // 6 - 1}.conv{k}",
            replaces="convolution 3x3, 256 -> 256, on an 8x8 map",
            dense_weights=3 * 3 * 256 * 256,
            in_modes=(2, 4, 4, 4, 4, 4, 4, 2),
            out_modes=(2, 4, 4, 4, 4, 4, 4, 2),
            bond_dim=4,
            map=Map(size=(8, 8), in_channels=256, out_channels=256),
        )
        for k in (1, 2)
    )
    return (*convolutions, fc)


class Block(nn.Module):
    """Two convolutions, each after normalisation and relu, and a shortcut past them.

    Args:
        in_channels: Of the input.
        out_channels: Of the output; with a stride or another number of channels the shortcut is a 1 x 1 convolution.
        stride: Of the first convolution and of the projection.
        project: Whether the shortcut is projected.
        replaced: The two sites where networks take the place of the convolutions, if they do.
        network: As for `ResNet`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        project: bool = False,
        replaced: tuple[Site, ...] = (),
        network: str = "dense",
    ) -> None:
        super().__init__()
        self.norm1 = NormReLU(in_channels)
        self.project = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if project else None
        if replaced:
            first, second = replaced
            self.conv1: nn.Module = first.build(network)
            self.norm2: nn.Module = norm_after(first, network)
            self.conv2: nn.Module = second.build(network)
        else:
            self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
            self.norm2 = NormReLU(out_channels)
            self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        a = self.norm1(x)
        shortcut = x if self.project is None else self.project(a)
        y: Tensor = self.conv2(self.norm2(self.conv1(a))) + shortcut
        return y


@register_model
class ResNet(nn.Sequential):
    """A ResNet for 32 x 32 images.

    Args:
        depth: 6n + 2.
        network: "dense"; "mpo" for the paper's factors and bonds; or a template, whose keywords replace every site's.
        width: The paper's k: 16k, 32k and 64k channels.
        unit: Whether the last block is replaced too.

    Shape:
        Images (N, 3, 32, 32), logits (N, 10).

    Raises:
        TNLayersError: If the depth is none of 6n + 2, or the unit variant has another width than 4.

    Example:
        >>> model = ResNet(20, "mpo", width=1)
        >>> len(model.stage1), model.fc.spec.in_features
        (3, 64)
    """

    def __init__(self, depth: int = 20, network: str = "mpo", *, width: int = 4, unit: bool = False) -> None:
        check(depth, width, unit=unit)
        places = sites(depth, width, unit=unit)
        blocks, channels = (depth - 2) // 6, 16
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False))
        for stage, wide in enumerate((16 * width, 32 * width, 64 * width), start=1):
            made = [Block(channels, wide, stride=1 if stage == 1 else 2, project=True)]
            made += [Block(wide, wide) for _ in range(blocks - 1)]
            layers[f"stage{stage}"], channels = nn.Sequential(*made), wide
        if unit:
            stage3 = layers["stage3"]
            assert isinstance(stage3, nn.Sequential)
            stage3[-1] = Block(channels, channels, replaced=places[:2], network=network)
        super().__init__(layers | head(channels, places[-1], network))
        self.name = model_name(depth, width, unit=unit)


def check(depth: int, width: int, *, unit: bool) -> None:
    """Refuse what is no ResNet of the paper's family.

    Raises:
        TNLayersError: As for `ResNet`.
    """
    if depth < 8 or (depth - 2) % 6 or width < 1:
        near = max(8, 6 * round((depth - 2) / 6) + 2)
        raise TNLayersError(
            f"A ResNet of depth {depth} and width {width}: the depth must be 6n + 2 with n blocks in each of three "
            f"stages, and the width at least 1. Nearest: resnet{near}."
        )
    if unit and (width != 4 or depth < 14):
        raise TNLayersError(
            f"The unit variant of resnet{depth} with width {width}: the paper gives its factors for width 4 alone, and "
            "the replaced block must not be the first of its stage: depth 14 or more."
        )


def model_name(depth: int, width: int, *, unit: bool) -> str:
    """The name in `tnl.models`.

    Example:
        >>> model_name(56, 4, unit=True), model_name(20, 1, unit=False)
        ('resnet56-unit', 'resnet20-k1')
    """
    return f"resnet{depth}{'' if width == 4 else f'-k{width}'}{'-unit' if unit else ''}"
