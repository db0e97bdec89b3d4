"""The catalogue: every model by name, with the places that a network can take, its input, and how its weights begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.models import densenet, resnet, vgg
from tnlayers.models.decoder import GPT
from tnlayers.models.fc2 import FC2
from tnlayers.models.gpt_shape import Shape, shape_of
from tnlayers.models.initial import reset, reset_language
from tnlayers.models.lenet5 import LeNet5
from tnlayers.models.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model.

    Attributes:
        name: Such as "vgg16".
        make: Builds it with a network: `make(network="mpo")`.
        sites: The places that a network can take.
        layers: Layers with weights that its name promises; a file of fewer arrays does not hold it.
        image: (channels, height, width) of its input, of a model of images.
        language: Its sizes, of a model of text; None for a model of images.
        reset: Draws its initial weights from a seed.
    """

    name: str
    make: Callable[..., nn.Module]
    sites: tuple[Site, ...]
    layers: int
    image: tuple[int, int, int] = (3, 32, 32)
    language: Shape | None = None
    reset: Callable[[nn.Module, int | None], None] = reset


def names() -> tuple[str, ...]:
    """The models of the paper's tables and figures, and a language model; `find` knows other sizes of both kinds too.

    Example:
        >>> names()[:4]
        ('fc2', 'lenet5', 'vgg16', 'vgg19')
    """
    depths = (f"resnet{depth}" for depth in resnet.DEPTHS)
    return ("fc2", "lenet5", "vgg16", "vgg19", *depths, "resnet56-unit", *densenet.ROWS, densenet.WITH_CONV, "gpt-pico")


def find(name: str) -> Entry:
    """The model of a name.

    Raises:
        TNLayersError: If there is none, or it is a ResNet or a GPT of impossible sizes.

    Example:
        >>> find("resnet20").sites[0].replaces
        'linear 256 -> 10'
    """
    if name in ("fc2", "lenet5"):
        kind = FC2 if name == "fc2" else LeNet5
        return Entry(
            name=name,
            make=kind,
            sites=kind.sites,
            layers=len(kind.sites),
            image=(1, 28, 28),
            reset=partial(reset, dense_std=0.1),
        )
    if name in ("vgg16", "vgg19"):
        depth = int(name.removeprefix("vgg"))
        return Entry(name=name, make=partial(vgg.VGG, depth), sites=vgg.sites(depth), layers=depth)
    if name in densenet.ROWS or name == densenet.WITH_CONV:
        depth = int(name.removeprefix("densenet").partition("-")[0])
        return Entry(name=name, make=partial(densenet.DenseNet, name), sites=densenet.sites(name), layers=depth)
    if found := re.fullmatch(r"resnet([1-9]\d{0,3})(?:-k([1-9]\d?))?(-unit)?", name):
        depth, width, unit = int(found[1]), int(found[2] or 4), found[3] is not None
        resnet.check(depth, width, unit=unit)
        make = partial(resnet.ResNet, depth, width=width, unit=unit)
        return Entry(name=name, make=make, sites=resnet.sites(depth, width, unit=unit), layers=depth)
    if shape := shape_of(name):
        return Entry(
            name=name,
            make=partial(GPT, shape=shape),
            sites=shape.sites,
            layers=6 * shape.depth,
            language=shape,
            reset=reset_language,
        )
    raise TNLayersError(
        f"There is no model {name!r}.{did_you_mean(name, names())} Known models: {', '.join(names())}; "
        "resnet<depth> for any depth 6n + 2, and resnet<depth>-k<width>; gpt-pico-v<vocabulary>, and "
        "gpt-w<width>-d<depth>-h<heads>-c<context>-v<vocabulary>."
    )
