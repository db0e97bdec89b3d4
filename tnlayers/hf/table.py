"""The table of a model's networks in its configuration: written from the layers, read back, and put into a dense model.

    {"tnlayers": "what this is, for people", "format": "tnlayers networks 1", "library": "0.2.0",
     "layers": [{"layer": {"paths": ["model.layers.0.mlp.up_proj"], "kind": "linear", ...}, "orders": []}],
     "sha256": "..."}

An entry is that of a file's header (`tnlayers.io.header`). The digest finds damage, not forgery. Nothing is believed of
a table: every entry is checked as that of a file is, and a layer is put only where the dense module is that it
replaces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from tnlayers_backends.base import Parts
from tnlayers_backends.torch.layers.feature_orders import NAMES
from tnlayers_backends.torch.layers.quantised import all_codes
from tnlayers_backends.torch.modules.marked import MARK, TEXT
from tnlayers_backends.torch.modules.saved import Placed, layers_of
from torch import nn

from tnlayers.errors import TNLayersError
from tnlayers.files.version import __version__
from tnlayers.io.container import refuse
from tnlayers.io.header import LayerRecord, layer_from_data, layer_to_data
from tnlayers.io.saving import record_of

FORMAT = "tnlayers networks 1"
WHERE = Path("config.json")  # for messages
MOST_LAYERS = 20_000
_KEYS = {MARK, "format", "library", "layers", "sha256"}


def table_of(model: nn.Module) -> dict[str, Any]:
    """The table of a model as it is now; where one of its layers has no entry, the mark alone, with the reason."""
    if codes := all_codes(model):
        reason = f"{next(iter(codes))} is codes of few bits: tnlayers.save(model, file), or tnlayers.dequantise(model)"
        return {MARK: TEXT, "without": reason}
    try:
        layers = [_entry(placed) for placed in layers_of(model)]
    except TNLayersError as error:
        return {MARK: TEXT, "without": str(error)}
    return {
        MARK: TEXT,
        "format": FORMAT,
        "library": __version__,
        "layers": layers,
        "sha256": _digest(layers),
    }


def _entry(placed: Placed) -> dict[str, Any]:
    layer = layer_to_data(record_of(placed.parts, placed.paths))
    plain = json.loads(json.dumps(layer))  # tuples become lists, as they will when it is read
    return {"layer": plain, "orders": sorted(NAMES.keys() & placed.parts.arrays.keys())}


def _digest(layers: list[Any]) -> str:
    return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).hexdigest()


def check_table(table: Mapping[str, Any]) -> None:
    """Refuse a table that `table_of` did not write.

    Raises:
        TNLayersError: It is damaged, of a newer format, or a mark without a table.
    """
    if "without" in table:
        refuse(WHERE, f"its model was saved without a table of its networks, because: {str(table['without'])[:500]}")
    if "layers" not in table:
        raise TNLayersError(
            "This checkpoint was saved without tnlayers.hf, so its config.json has no table of its networks, and they "
            "cannot be built. Make the model again (tnlayers.load), import tnlayers.hf, and save it by save_pretrained."
        )
    if table.get("format") != FORMAT:
        raise TNLayersError(
            f"The table of networks in config.json has the format {str(table.get('format'))[:60]!r}; this version of "
            f"tnlayers reads {FORMAT!r}. Load it with the version that wrote it, or upgrade tnlayers."
        )
    layers = table["layers"]
    if set(table) - {"before", "quant_method"} != _KEYS or not isinstance(layers, list) or len(layers) > MOST_LAYERS:
        refuse(WHERE, f"its table of networks has the keys {str(sorted(table))[:200]}, or no list of layers")
    if table["sha256"] != _digest(layers):
        refuse(WHERE, "its table of networks is damaged or was changed: the digest is another")
    for entry in layers:
        if not isinstance(entry, dict) or set(entry) != {"layer", "orders"} or not _known(entry["orders"]):
            refuse(WHERE, f"an entry of its table of networks is {str(entry)[:100]}")


def _known(orders: object) -> bool:
    return isinstance(orders, list) and all(isinstance(name, str) and name in NAMES for name in orders)


def layers_from(table: Mapping[str, Any], model: nn.Module, dtype: torch.dtype) -> list[Placed]:
    """The layers of a checked table where they stand in a dense model, without numbers.

    A checkpoint of a model with a head goes into its base model, and the other way round, as those of dense models do:
    paths lose or gain the base's name, and what belongs to a head that is not there is left out.

    Args:
        table: Checked.
        model: Dense, of the class that is loaded.
        dtype: Of the cores.

    Raises:
        TNLayersError: If an entry is not valid, or its place is not in the model.
    """
    records = [layer_from_data(WHERE, entry["layer"]) for entry in table["layers"]]
    found = []
    for record, entry, paths in zip(records, table["layers"], _places(records, model), strict=True):
        if paths:
            found.append(Placed(paths=paths, parts=_parts(record, entry["orders"], dtype)))
    places = [path for placed in found for path in placed.paths]
    if len(set(places)) < len(places):
        refuse(WHERE, "its table puts two networks in one place")
    if records and not found:
        refuse(WHERE, f"none of the {len(records)} networks in its table has a place in a {type(model).__name__}")
    return found


def _places(records: Sequence[LayerRecord], model: nn.Module) -> list[tuple[str, ...]]:
    """The place of each layer in this model; nothing where it is of a head that a model of this class does not have."""
    own = {path for path, _ in model.named_modules(remove_duplicate=False)}
    prefix = f"{getattr(model, 'base_model_prefix', '') or '.'}."
    with_head = any(path.startswith(prefix) for record in records for path in record.paths)
    saved: Any = getattr(getattr(model, "config", None), "architectures", None) or []
    other_class = type(model).__name__ not in saved

    def here(path: str) -> str | None:
        if prefix[:-1] not in own and with_head:
            return path.removeprefix(prefix) if path.startswith(prefix) else None
        return path if path in own or with_head or prefix + path not in own else prefix + path

    mapped = [[path for one in record.paths if (path := here(one)) is not None] for record in records]
    return [tuple(path for path in paths if not other_class or _at(path, own)) for paths in mapped]


def _at(path: str, own: Set[str]) -> bool:
    """Whether a module is there, or one of several weights of which this is a part."""
    return path in own or path.rpartition(".")[0] in own - {""}


def _parts(record: LayerRecord, orders: list[str], dtype: torch.dtype) -> Parts:
    spec = record.spec
    shapes = spec.shapes | ({"bias": (spec.out_features,)} if spec.bias else {})
    if record.dtype.startswith("complex"):
        refuse(WHERE, f"{record.paths[0]!r} is a network of complex numbers, which transformers has no models of")
    arrays = {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in shapes.items()}
    for name in orders:
        arrays[name] = torch.empty(getattr(spec, NAMES[name]), dtype=torch.int32, device="meta")
    return Parts(record.kind, record.keywords, spec, arrays)
