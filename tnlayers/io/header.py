"""The header of a file, format 1: what the arrays are, in words that need no code of the one who declared the layers.

    {"format": "tnlayers format 1", "library": "0.1.0", "object": "layer", "backend": "torch",
     "layers": [{"paths": [""], "kind": "linear", "keywords": {}, "dtype": "float32",
                 "spec": {"network": "mpo", ...}, "graphs": [{"cores": [["core_0", [0, 1, 2]], ...], ...}]}],
     "tied": {}, "complex": [], "info": {}}

A header read from a file is valid: every name, number and graph in it was checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.io.container import refuse
from tnlayers.io.spec_data import graph_to_data, spec_from_data

VERSION = 1
FORMAT = f"tnlayers format {VERSION}"
OBJECTS = ("layer", "model", "module", "adapters")
CORE_DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
_KEYS = {"format", "library", "object", "backend", "layers", "tied", "complex", "info"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One layer of tnlayers in a file.

    Attributes:
        paths: Its places in the object: ("fc1",); more than one for a layer that is used twice; ("",) for itself.
        kind: The kind of layer: "linear".
        keywords: What the kind needs beside the spec; numbers, texts and lists of them.
        spec: The declaration, with its graphs as they were lowered when it was saved.
        dtype: Of the cores.
    """

    paths: tuple[str, ...]
    kind: str
    keywords: Mapping[str, Any]
    spec: Spec
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says about its arrays.

    Attributes:
        object: "layer", "model" (one of `tnl.models`) "module" (any other torch module) or
            "adapters" (what those of a torch module have learned).
        backend: The backend that wrote it.
        layers: The layers of tnlayers in it.
        library: The version of tnlayers that wrote it.
        model: The name in `tnl.models`, of a model.
        tied: Names that are the same array as another: it is stored once.
        complex: Names of arrays that are complex: they are stored with a last axis (real part, imaginary part).
        info: Texts of the one who saved it.
        form: What a module of several weights does, for backends without its framework (`tnlayers.forms`), as JSON
            holds it; None for a layer, and where it is not known. `no_form` says why.
        quantised: Of arrays that are stored as codes of few bits: their bits, dtype and shape (`codes.py`).
    """

    object: str
    backend: str
    layers: tuple[LayerRecord, ...]
    library: str
    model: str | None = None
    tied: Mapping[str, str] = field(default_factory=dict)
    complex: tuple[str, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    form: Any = None
    no_form: str = ""
    quantised: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The header as text; equal headers give equal texts."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "library": self.library,
            "object": self.object,
            "backend": self.backend,
            "layers": [layer_to_data(layer) for layer in self.layers],
            "tied": dict(self.tied),
            "complex": list(self.complex),
            "info": dict(self.info),
        }
        if self.model is not None:
            data["model"] = self.model
        if self.form is not None:
            data["form"] = self.form
        if self.no_form:
            data["no_form"] = self.no_form
        if self.quantised:
            data["quantised"] = dict(self.quantised)
        return json.dumps(data, sort_keys=True)


def layer_to_data(layer: LayerRecord) -> dict[str, Any]:
    """A layer's entry in "layers", as plain data."""
    return {
        "paths": list(layer.paths),
        "kind": layer.kind,
        "keywords": dict(layer.keywords),
        "spec": layer.spec.to_dict(),
        "graphs": [graph_to_data(graph) for graph in layer.spec.graphs],
        "dtype": layer.dtype,
    }


def header_from_data(path: Path, data: Mapping[str, Any]) -> Header:
    """Read what `Header.to_json` wrote, parsed.

    Raises:
        TNLayersError: Something in it is not as a header of format 1 has it.
    """
    extra = {"model"} if data.get("object") == "model" else set()
    if set(data) - {"form", "no_form", "quantised"} != _KEYS | extra or data["object"] not in OBJECTS:
        refuse(path, f"its header has the keys {sorted(data)}, not those of {FORMAT}")
    texts = [
        data["library"],
        data["backend"],
        *([data["model"]] if extra else []),
        data.get("no_form", ""),
        *_texts(path, data["info"]),
    ]
    if not isinstance(data.get("quantised", {}), dict):
        refuse(path, "its header has no table where one should be")
    names = [*_texts(path, data["tied"]), *_list(path, data["complex"]), *data.get("quantised", {})]
    if not all(isinstance(text, str) for text in texts) or not all(_usable_key(name) for name in names):
        refuse(path, "its header has a name or a text that is none")
    header = Header(
        object=data["object"],
        backend=data["backend"],
        layers=tuple(layer_from_data(path, layer) for layer in _list(path, data["layers"])),
        library=data["library"],
        model=data.get("model"),
        tied=data["tied"],
        complex=tuple(data["complex"]),
        info=data["info"],
        form=data.get("form"),
        no_form=data.get("no_form", ""),
        quantised=data.get("quantised", {}),
    )
    places = [place for layer in header.layers for place in layer.paths]
    if len(set(places)) < len(places) or (places != [""] if header.object == "layer" else "" in places):
        refuse(path, "its header puts two layers in one place, or no layer where one should be")
    if set(header.tied) & set(header.tied.values()):
        refuse(path, "its header ties an array to one that is tied itself")
    return header


def _list(path: Path, value: object) -> list[Any]:
    if not isinstance(value, list):
        refuse(path, "its header has no list where one should be")
    return value


def _texts(path: Path, value: object) -> list[Any]:
    if not isinstance(value, dict):
        refuse(path, "its header has no table where one should be")
    return [*value, *value.values()]


def _usable_key(name: object) -> bool:
    """Whether a name can be that of a module or of an array: words joined by dots, none of them private to Python."""
    return isinstance(name, str) and all(
        re.fullmatch(r"[\w-]+", part) and not (part.startswith("__") and part.endswith("__"))
        for part in name.split(".")
    )


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse names of arrays that no layer and no module could have.

    Raises:
        TNLayersError: Such as "../x" or "__class__".
    """
    for name in names:
        if not _usable_key(name):
            raise TNLayersError(
                f"{path}: {name[:40]!r} cannot be the name of an array in a file. Names are words of letters, digits, "
                "_ and -, joined by dots."
            )


def _plain(value: object) -> bool:
    """Whether a keyword's value is of a kind that a layer takes: nothing, a number, a text, or a list of integers."""
    if isinstance(value, list):
        return all(type(item) is int for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def layer_from_data(path: Path, data: Any) -> LayerRecord:
    """Read what `layer_to_data` wrote: one entry of "layers".

    Args:
        path: For messages.
        data: The entry.

    Raises:
        TNLayersError: Something in it is not as a header of format 1 has it.
    """
    if not isinstance(data, dict) or set(data) != {"paths", "kind", "keywords", "spec", "graphs", "dtype"}:
        refuse(path, "a layer in its header does not have paths, kind, keywords, spec, graphs and dtype")
    places = _list(path, data["paths"])
    if not places or not all(place == "" or _usable_key(place) for place in places):
        refuse(path, f"a layer in its header is at {str(places)[:60]}")
    if not isinstance(data["kind"], str) or data["dtype"] not in CORE_DTYPES:
        refuse(path, f"a layer in its header has no kind, or a dtype that is none of {', '.join(CORE_DTYPES)}")
    if not all(map(_plain, _texts(path, data["keywords"]))):
        refuse(path, "a keyword of a layer in its header is no number, text or list of numbers")
    where = places[0] or "the layer"
    try:
        spec = spec_from_data(data["spec"], data["graphs"])
    except ValueError as error:  # TNLayersError is one
        refuse(path, f"the network of {where!r} in its header is not valid ({error})")
    return LayerRecord(
        paths=tuple(places), kind=data["kind"], keywords=data["keywords"], spec=spec, dtype=data["dtype"]
    )


def unknown_format(path: Path, found: object) -> TNLayersError:
    """The refusal of a file whose format this version does not know."""
    return TNLayersError(
        f"Cannot load {path}: it has format {str(found)[:60]!r}, and this version of tnlayers reads {FORMAT!r} and "
        "older ones. Load it with the version that wrote it, or upgrade tnlayers."
    )
