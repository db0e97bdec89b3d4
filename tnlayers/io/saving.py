"""Saving: an object taken apart, its header, one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnlayers.backends import backend as get_backend
from tnlayers.backends import backend_of
from tnlayers.errors import TNLayersError
from tnlayers.files.version import __version__
from tnlayers.io.arrays import pack
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
    texts = dict(info or {})
    if not all(isinstance(text, str) for text in (*texts, *texts.values())):
        raise TNLayersError(f"info holds texts by name, got {texts!r}. Write numbers as texts: str(number).")
    obj = getattr(obj, "_orig_mod", obj)  # what torch.compile wraps
    framework = _backend_of(obj)
    kind, records, arrays, tied = _take_apart(obj, framework)
    stored = {name: _store(name, array, framework) for name, array in arrays.items()}
    check_names(file, [*stored, *tied])
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
    )
    write(file, header.to_json(), packed)


def _backend_of(obj: Any) -> Backend:
    """The backend of a layer or a torch module; none is imported that is not in use."""
    if any((kind.__module__, kind.__name__) == ("torch.nn.modules.module", "Module") for kind in type(obj).__mro__):
        return get_backend("torch")
    cores = getattr(obj, "cores", None)
    if not isinstance(cores, Mapping) or not cores:
        raise TNLayersError(
            f"Cannot save a {type(obj).__module__}.{type(obj).__qualname__}. Give a layer of tnl.build or tnl.nn, one "
            "of tnl.models, or a torch module."
        )
    return backend_of(next(iter(cores.values())))


def _take_apart(
    obj: Any, framework: Backend
) -> tuple[str, tuple[LayerRecord, ...], Mapping[str, Any], Mapping[str, str]]:
    """What it is, its layers, its arrays, and the names that are the same array as another."""
    if framework.name != "torch":
        return _one_layer(framework.storage.take_apart(obj))
    from tnlayers_backends.torch.layers.module import TNModule
    from tnlayers_backends.torch.modules.saved import layers_of, state_of

    if isinstance(obj, TNModule):
        return _one_layer(framework.storage.take_apart(obj))
    records = tuple(record_of(placed.parts, placed.paths) for placed in layers_of(obj))
    return "model" if model_name(obj) else "module", records, *state_of(obj)


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
