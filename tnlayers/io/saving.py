"""Saving: an object taken apart, its header, one safetensors file."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnlayers.backends import backend_holding
from tnlayers.errors import TNLayersError
from tnlayers.files.version import __version__
from tnlayers.forms.form import tree
from tnlayers.forms.kinds import form_to_data, order_arrays
from tnlayers.forms.networked import Networked
from tnlayers.io.arrays import pack
from tnlayers.io.codes import Packed, pack_codes
from tnlayers.io.container import Stored, write
from tnlayers.io.header import Header, LayerRecord, check_names
from tnlayers.io.model_registry import model_name

if TYPE_CHECKING:
    from tnlayers_backends.base import Backend, Parts


def save(obj: Any, path: str | Path, *, info: Mapping[str, str] | None = None) -> None:
    """Save a layer or a model as safetensors, with all in its header that is needed to load it without its code.

    Args:
        obj: A layer of any backend, one of `tnl.models`, or any other torch module with or without such layers in it.
        path: The file to write or replace; it is the old one or the new one at every moment, whole.
        info: Texts to keep with it, by name; `tnl.io.header(path).info` has them.

    Raises:
        TNLayersError: If the object is nothing of these, or the file cannot be written.

    Example:
        >>> import tempfile, tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tnl.save(layer, f"{folder}/layer.safetensors")
        ...     tnl.load(f"{folder}/layer.safetensors")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    file = Path(path)
    texts = info or {}
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in (*texts, *texts.values())):
        raise TNLayersError(f"info holds texts by name, got {texts!r:.200}. Write numbers as texts: str(number).")
    obj = getattr(obj, "_orig_mod", obj)  # what torch.compile wraps
    framework = _backend_of(obj)
    kind, records, arrays, tied = _take_apart(obj, framework)
    form, no_form = (None, "") if kind == "layer" else _form(obj, framework)
    stored = {name: _store(name, array, framework) for name, array in arrays.items()}
    check_names(file, [*stored, *tied])
    stored, quantised = pack_codes(stored, _codes(obj, framework, stored))
    packed, complex_names = pack(stored)
    header = Header(
        object=kind,
        backend=framework.name,
        layers=records,
        library=__version__,
        model=model_name(obj) if kind == "model" else None,
        tied=tied,
        complex=complex_names,
        info=texts,
        form=form,
        no_form=no_form,
        quantised=quantised,
    )
    write(file, header.to_json(), packed)


def _backend_of(obj: Any) -> Backend:
    """The backend of a layer or a module."""
    try:
        return backend_holding(obj)
    except TNLayersError as error:
        raise TNLayersError(f"Cannot save it: {error}") from error


def _codes(obj: Any, framework: Backend, stored: Mapping[str, Stored]) -> dict[str, Packed]:
    """What a torch module holds as codes, by the names of the arrays that they stand for."""
    if framework.name != "torch":
        return {}
    from tnlayers_backends.torch.layers.quantised import all_codes

    return {
        name: Packed(
            bits=one.bits,
            dtype=_dtype(one),
            shape=one.shape,
            codes=_store(f"{name}.codes", one.codes, framework),
            scales=_store(f"{name}.scales", one.short_scales(), framework),
        )
        for name, one in all_codes(obj).items()
        if name in stored  # and is no alias of another
    }


def _form(obj: Any, framework: Backend) -> tuple[Any, str]:
    """What a module does, as a file holds it, or why that is not known.

    A torch module is described where that runs no code of others: one of `tnl.models`, of tnlayers' own classes, or a
    sequence of such and ordinary modules. Others are described when they are moved (`tnl.to_backend`).
    """
    if framework.name == "torch":
        from tnlayers_backends.torch.modules.described import is_known
        from tnlayers_backends.torch.modules.quantising import without_codes

        obj = without_codes(obj)
        if not (model_name(obj) or is_known(obj)):
            return None, (
                f"a {type(obj).__name__} is a class of its own: save tnl.to_backend(model, 'numpy'), which follows its "
                "forward pass"
            )
    assert framework.storage.describe is not None
    try:
        return form_to_data(framework.storage.describe(obj)[0]), ""
    except TNLayersError as error:
        return None, str(error)[:1000]


def _take_apart(
    obj: Any, framework: Backend
) -> tuple[str, tuple[LayerRecord, ...], Mapping[str, Any], Mapping[str, str]]:
    """What it is, its layers, its arrays, and the names that are the same array as another."""
    if framework.name != "torch":
        return _one_layer(framework.storage.take_apart(obj)) if hasattr(obj, "cores") else _module(obj, framework)
    from tnlayers_backends.torch.layers.module import TNModule
    from tnlayers_backends.torch.modules.adapting import Adapters
    from tnlayers_backends.torch.modules.saved import layers_of, state_of

    if isinstance(obj, TNModule):
        return _one_layer(framework.storage.take_apart(obj))
    records = tuple(record_of(placed.parts, placed.paths) for placed in layers_of(obj))
    kind = "adapters" if isinstance(obj, Adapters) else "model" if model_name(obj) else "module"
    return kind, records, *state_of(obj)


def _module(obj: Any, framework: Backend) -> tuple[str, tuple[LayerRecord, ...], Mapping[str, Any], Mapping[str, str]]:
    """A module of a form, with a record of each layer of one network in it."""
    from tnlayers_backends.base import Parts

    if framework.storage.describe is None:
        raise TNLayersError(f"{framework.name} has single layers alone, and this is a {type(obj).__qualname__}.")
    form, arrays = framework.storage.describe(obj)
    tied = dict(getattr(form, "tied", ()))
    full = dict(arrays) | {alias: arrays[name] for alias, name in tied.items()}
    records, orders = [], {}
    for path, one in tree(form):
        if isinstance(one, Networked):
            own = {name: full[f"{path}.{name}"] for name in one.shapes}
            records.append(record_of(Parts(one.kind, one.keywords, one.spec, own), (path,)))
            for name, order in order_arrays(one).items():
                data = struct.pack(f"<{len(order)}i", *order)
                orders[f"{path}.{name}"] = framework.storage.from_bytes(data, "int32", (len(order),))
    return "module", tuple(records), {**arrays, **orders}, tied


def _one_layer(parts: Parts) -> tuple[str, tuple[LayerRecord, ...], Mapping[str, Any], Mapping[str, str]]:
    return "layer", (record_of(parts, ("",)),), parts.arrays, {}


def record_of(parts: Parts, paths: tuple[str, ...]) -> LayerRecord:
    """What a header says about a layer.

    Raises:
        TNLayersError: If its cores have different dtypes.
    """
    dtypes = {_dtype(parts.arrays[name]) for name in parts.spec.shapes}
    if len(dtypes) > 1:
        raise TNLayersError(
            f"The cores of {parts.spec} have different dtypes: {', '.join(sorted(dtypes))}. Give all of them one."
        )
    return LayerRecord(paths=paths, kind=parts.kind, keywords=parts.keywords, spec=parts.spec, dtype=dtypes.pop())


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _store(name: str, array: Any, framework: Backend) -> Stored:
    try:
        data = framework.storage.to_bytes(array)
    except TNLayersError as error:
        raise TNLayersError(f"{name!r}: {error}") from error
    return Stored(dtype=_dtype(array), shape=tuple(array.shape), data=data)
