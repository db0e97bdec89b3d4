"""VGG-16 and VGG-19 on CIFAR-10 (arXiv 1904.06194, Sec. III.B.1, Table I; layers from the authors' code, c345b9f).

    x (N, 3, 32, 32) -> five stages of convolutions, max-pool after each -> (N, 512) -> fc1 4096 -> fc2 4096 -> fc3 10

Each convolution is normalise, relu, convolve, and the first normalisation acts on the image itself. VGG-16 is the
variant with 1 x 1 kernels in third place. Two convolutions of the last stage and all three linear layers are
replaced. The convolutions become linear maps of the flattened 2 x 2 x 512 map; the second is preceded by a
normalisation of each of its 2048 features. In VGG-16 the MPOs of fc1 and fc2 have biases, in VGG-19 they have none;
fc3's MPO never has one, the dense layers all have. Dropout is off when the model evaluates; in the authors' code it
stays on.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import nn

from tnlayers.io.model_registry import register_model
from tnlayers.models.blocks import NormReLU, norm_after
from tnlayers.models.sites import Map, Site

CHANNELS = (64, 128, 256, 512, 512)
KERNELS = {
    16: ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    19: ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
_REPLACED = {16: ("conv5_1", "conv5_2"), 19: ("conv5_3", "conv5_4")}
_WIDE = (4, 4, 8, 8, 4)


def sites(depth: int) -> tuple[Site, ...]:
    """The places that the paper replaces in VGG-16 or VGG-19."""
    convolutions = tuple(
        Site(
            name=name,
            replaces="convolution 3x3, 512 -> 512, on a 2x2 map",
            dense_weights=3 * 3 * 512 * 512,
            in_modes=(2, 8, 8, 8, 2),
            out_modes=(2, 8, 8, 8, 2),
            bond_dim=4,
            map=Map(size=(2, 2), in_channels=512, out_channels=512),
        )
        for name in _REPLACED[depth]
    )
    biases = (depth == 16, depth == 16, False)
    modes = (((4, 4, 4, 4, 2), _WIDE), (_WIDE, _WIDE), (_WIDE, (1, 10, 1, 1, 1)))
    linears = tuple(
        Site(
            name=f"fc{k}",
            replaces=f"linear {prod(inputs)} -> {prod(outputs)}",
            dense_weights=prod(inputs) * prod(outputs),
            in_modes=inputs,
            out_modes=outputs,
            bond_dim=4,
            bias=bias,
            dense_bias=True,
        )
        for k, ((inputs, outputs), bias) in enumerate(zip(modes, biases, strict=True), start=1)
    )
    return convolutions + linears


@register_model
class VGG(nn.Sequential):
    """VGG-16 or VGG-19 for 32 x 32 images.

    Args:
        depth: 16 or 19.
        network: "dense"; "mpo" for the paper's factors and bonds; or a template, whose keywords replace every site's.

    Shape:
        Images (N, 3, 32, 32), logits (N, 10).

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # nothing is drawn
        ...     dense, small = VGG(16, "dense"), VGG(16, "mpo")
        >>> [sum(p.numel() for p in model.parameters()) for model in (dense, small)]
        [28922832, 5307014]
    """

    def __init__(self, depth: int = 16, network: str = "mpo") -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        replaced = {site.name: site for site in sites(depth)}
        channels = 3
        previous: Site | None = None  # the replaced convolution just before
        for stage, (kernels, width) in enumerate(zip(KERNELS[depth], CHANNELS, strict=True), start=1):
            for k, kernel in enumerate(kernels, start=1):
                site = replaced.get(f"conv{stage}_{k}")
                flat = site is not None and previous is not None  # what follows is flat in the authors' code as well
                layers[f"norm{stage}_{k}"] = norm_after(previous, network) if flat and previous else NormReLU(channels)
                dense = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
                layers[f"conv{stage}_{k}"] = dense if site is None else site.build(network)
                channels, previous = width, site
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        for k in (1, 2, 3):
            layers[f"fc{k}"] = replaced[f"fc{k}"].build(network)
            if k < 3:
                layers[f"relu{k}"], layers[f"drop{k}"] = nn.ReLU(), nn.Dropout(0.2)
        super().__init__(layers)
        self.name = f"vgg{depth}"
