"""Upgrades: a file of an older format is brought to the present one, format by format.

Format 0 is what `tnlayers train` wrote before `tnl.save`: the state dict of one of `tnl.models`, whose `__metadata__`
gave the model's name and its network as asked for ("mpo(bond=8)"), without graphs and without a digest. It can be read
as long as those networks mean the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tnlayers.errors import TNLayersError
from tnlayers.io.container import Stored, digest, refuse, strict_json
from tnlayers.io.header import VERSION, Header, LayerRecord, unknown_format
from tnlayers.io.model_registry import model_maker

FORMAT_0 = "tnlayers-state-dict-1"

Arrays = dict[str, Stored]
Upgrade = Callable[[Path, Mapping[str, Any], Arrays], tuple[Mapping[str, Any], Arrays]]


def current(path: Path, metadata: Mapping[str, str], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
    """The header's data in the present format, and the arrays; the digest is checked where the format has one.

    Raises:
        TNLayersError: If it is no file of tnlayers, is damaged, or is of a newer format.
    """
    version, data = _parse(path, metadata, arrays)
    while version < VERSION:
        data, arrays = UPGRADES[version](path, data, arrays)
        version += 1
    return data, arrays


def _parse(path: Path, metadata: Mapping[str, str], arrays: Arrays) -> tuple[int, Mapping[str, Any]]:
    """The version of a file and its header's data, as they stand."""
    if metadata.get("format") == FORMAT_0:
        return 0, metadata
    text = metadata.get("tnlayers")
    if text is None:
        refuse(path, "it is a safetensors file, but not one of tnlayers; see tnl.io for cores of other libraries")
    try:
        data = strict_json(text)
    except ValueError as error:
        refuse(path, f"the text 'tnlayers' of its header is damaged ({error})")
    found = data.get("format") if isinstance(data, dict) else None
    version = re.fullmatch(r"tnlayers format ([1-9][0-9]{0,5})", found) if isinstance(found, str) else None
    if version is None or int(version[1]) > VERSION:
        raise unknown_format(path, found)
    if metadata.get("sha256") != digest(text, arrays):
        refuse(path, "its digest is not that of its header and arrays: it is damaged")
    return int(version[1]), data


def _from_format_0(path: Path, data: Mapping[str, Any], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
    """Build the model that the header names, without values, and write down its layers."""
    import torch
    from tnlayers_backends.torch.modules.saved import layers_of

    name, network = data.get("model"), data.get("network")
    if not isinstance(name, str) or not isinstance(network, str):
        refuse(path, "its header names no model and no network, as files of format 0 do")
    try:
        with torch.device("meta"):
            module = model_maker(name)(network)
    except TNLayersError as error:
        raise TNLayersError(f"Cannot load {path}, a file of format 0 of {name[:40]!r}: {error}") from error
    records = []
    for placed in layers_of(module):
        first = f"{placed.paths[0]}.{next(iter(placed.parts.spec.shapes))}"
        dtype = arrays[first].dtype if first in arrays else "float32"
        spec = placed.parts.spec
        records.append(LayerRecord(paths=placed.paths, kind=placed.parts.kind, keywords={}, spec=spec, dtype=dtype))
    info = {key: value for key, value in data.items() if key not in ("format", "model", "tnlayers")}
    header = Header(
        object="model",
        backend="torch",
        layers=tuple(records),
        library=str(data.get("tnlayers", "unknown")),
        model=name,
        info=info,
    )
    return json.loads(header.to_json()), arrays


UPGRADES: dict[int, Upgrade] = {0: _from_format_0}
