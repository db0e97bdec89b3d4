"""The catalogue: every model of the paper by name, with the places that it replaces and how its weights begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from torch import nn

from tnlayers.errors import TNLayersError
from tnlayers.models import densenet, resnet, vgg
from tnlayers.models.fc2 import FC2
from tnlayers.models.lenet5 import LeNet5
from tnlayers.models.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model.

    Attributes:
        name: Such as "vgg16".
        make: Builds it with a network: `make(network="mpo")`.
        sites: The places that a network can take.
        image: (channels, height, width) of its input.
        dense_std: Standard deviation of dense initial weights before the cut; None for Glorot's.
    """

    name: str
    make: Callable[..., nn.Module]
    sites: tuple[Site, ...]
    image: tuple[int, int, int] = (3, 32, 32)
    dense_std: float | None = None


def names() -> tuple[str, ...]:
    """The models of the paper's tables and figures; `find` knows ResNets of other depths and widths too.

    Example:
        >>> names()[:4]
        ('fc2', 'lenet5', 'vgg16', 'vgg19')
    """
    depths = (f"resnet{depth}" for depth in resnet.DEPTHS)
    return ("fc2", "lenet5", "vgg16", "vgg19", *depths, "resnet56-unit", *densenet.ROWS, densenet.WITH_CONV)


def find(name: str) -> Entry:
    """The model of a name.

    Raises:
        TNLayersError: If there is none, or it is a ResNet of an impossible depth.

    Example:
        >>> find("resnet20").sites[0].replaces
        'linear 256 -> 10'
    """
    if name in ("fc2", "lenet5"):
        kind = FC2 if name == "fc2" else LeNet5
        return Entry(name=name, make=kind, sites=kind.sites, image=(1, 28, 28), dense_std=0.1)
    if name in ("vgg16", "vgg19"):
        depth = int(name.removeprefix("vgg"))
        return Entry(name=name, make=partial(vgg.VGG, depth), sites=vgg.sites(depth))
    if name in densenet.ROWS or name == densenet.WITH_CONV:
        return Entry(name=name, make=partial(densenet.DenseNet, name), sites=densenet.sites(name))
    if found := re.fullmatch(r"resnet([1-9]\d{0,3})(?:-k([1-9]\d?))?(-unit)?", name):
        depth, width, unit = int(found[1]), int(found[2] or 4), found[3] is not None
        resnet.check(depth, width, unit=unit)
        make = partial(resnet.ResNet, depth, width=width, unit=unit)
        return Entry(name=name, make=make, sites=resnet.sites(depth, width, unit=unit))
    near = get_close_matches(name, names(), n=1)
    raise TNLayersError(
        f"There is no model {name!r}{f' (perhaps {near[0]})' if near else ''}. Known models: {', '.join(names())}; "
        "resnet<depth> for any depth 6n + 2, and resnet<depth>-k<width>."
    )
