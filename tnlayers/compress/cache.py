"""The cache of a compression: sensitivities, curves and finished layers, in a folder, each whole or absent.

An entry's name is the digest of all that decides it: the weight's bytes, the inputs' second moment, the network. One
that cannot be read is as good as none: it is found anew, and written anew.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.storage import to_bytes
from torch import Tensor

from tnlayers.compress.allocation import Option
from tnlayers.compress.curves import Curve
from tnlayers.declare.spec import Spec
from tnlayers.decompose.arrangement import Searched
from tnlayers.decompose.decomposition import Decomposition
from tnlayers.decompose.sizes import Scale
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text
from tnlayers.files.documents import load_json, read_json
from tnlayers.files.version import __version__
from tnlayers.io import header, load, save

# What reading an entry raises that is damaged; a TNLayersError is a ValueError.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)


def digest(*parts: Tensor | str | None) -> str:
    """A name for what is computed of these."""
    found = hashlib.sha256(__version__.encode())
    for part in parts:
        if isinstance(part, Tensor):
            found.update(f"{part.dtype}{tuple(part.shape)}".encode())
            found.update(to_bytes(part if part.layout == torch.strided else part.to_dense()))
        else:
            found.update(f"\n{part}\n".encode())
    return found.hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The folder, or none.

    Attributes:
        folder: Where entries lie; None keeps nothing.
    """

    folder: Path | None

    def __post_init__(self) -> None:
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TNLayersError(f"The cache {self.folder} cannot be made: {error.strerror}.") from error

    def numbers(self, key: str) -> list[float] | None:
        """Numbers of the cache."""
        path = self._path(key, "json")
        with suppress(*_UNREADABLE):
            if path is not None and path.is_file():
                return [float(number) for number in read_json(path, "the cached numbers")]
        return None

    def store_numbers(self, key: str, numbers: list[float]) -> None:
        """Keep some numbers."""
        path = self._path(key, "json")
        if path is not None:
            write_text(path, json.dumps(numbers))

    def curve(self, key: str, scale: Scale) -> Curve | None:
        """A curve of the cache."""
        path = self._path(key, "json")
        with suppress(*_UNREADABLE):
            if path is not None and path.is_file():
                return _curve(read_json(path, "the cached curve"), scale)
        return None

    def store_curve(self, key: str, curve: Curve) -> None:
        """Keep a curve."""
        path = self._path(key, "json")
        if path is not None:
            options = [(_value(curve.scale, option.spec), option.loss) for option in curve.options if option.spec]
            write_text(path, json.dumps({"spectra": curve.spectra, "options": options}))

    def layer(self, key: str) -> TNModule | None:
        """A layer of the cache, on the CPU."""
        path = self._path(key, "safetensors")
        with suppress(*_UNREADABLE):
            if path is not None and path.is_file():
                return _layer(path)
        return None

    def store_layer(self, key: str, layer: TNModule) -> None:
        """Keep a layer."""
        path, found = self._path(key, "safetensors"), layer.delivered
        if path is not None and found is not None:
            record = {name: getattr(found, name) for name in ("asked", "error", "output_error", "discarded")}
            record["searched"] = None if found.searched is None else asdict(found.searched)
            save(layer, path, info={"delivered": json.dumps(record)})

    def _path(self, key: str, ending: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.{ending}"


def _curve(data: Any, scale: Scale) -> Curve:
    options = []
    for value, loss in data["options"]:
        spec = scale.at(tuple(value) if isinstance(value, list) else value)
        options.append(Option(spec=spec, parameters=spec.parameters, cost=spec.parameters, loss=float(loss)))
    return Curve(scale=scale, spectra=data["spectra"], options=tuple(options))


def _layer(path: Path) -> TNModule:
    layer = load(path)
    if not isinstance(layer, TNModule):
        raise TypeError(f"{path} holds a {type(layer).__name__}")
    delivered = load_json(header(path).info["delivered"])
    searched = None if delivered["searched"] is None else Searched(**delivered.pop("searched"))
    layer.delivered = Decomposition(spec=layer.spec, cores={}, **delivered | {"searched": searched})
    return layer


def _value(scale: Scale, spec: Spec) -> int | list[int]:
    value = spec.to_dict()[scale.key]
    return value if isinstance(value, int) else [int(size) for size in value]
