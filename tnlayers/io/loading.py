"""Loading: a file checked from its first byte to its last, then layers put together, or put into a model."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnlayers.backends import backend as get_backend
from tnlayers.backends import backend_holding
from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.forms.kinds import form_from_data, networked
from tnlayers.forms.networked import ORDERS, Networked
from tnlayers.io.arrays import match, unpack
from tnlayers.io.codes import Packed, unpack_codes
from tnlayers.io.container import Stored, read, refuse
from tnlayers.io.header import Header, LayerRecord, check_names, header_from_data
from tnlayers.io.model_registry import model_layers, model_maker
from tnlayers.io.upgrade import current


def load(path: str | Path, backend: str | None = None, into: Any = None) -> Any:
    """Load what `tnl.save` wrote. No code in the file is run, and none of the code that declared the layers is needed.

    Args:
        path: The file.
        backend: The backend that it shall live on; the one that saved it if None. A model of `tnl.models`, a module of
            several weights and a sequence of ordinary ones are a callable on numpy and a pytree on jax, which run it as
            it evaluates; torch is not needed for that.
        into: For a torch module other than those of `tnl.models`: the same module with dense layers, such as it was
            before they were replaced. It is changed in place and returned; if anything does not fit, it stays as it is.

    Returns:
        A layer, a model, or `into`. They lie on the CPU, but for `into`, which stays where it is.

    Raises:
        TNLayersError: If the file is missing, damaged, of a newer format or no file of tnlayers; if the backend lacks
            the dtype; or if `into` is missing or is not the module that was saved.

    Example:
        >>> import tempfile, torch, tnlayers as tnl
        >>> def make():
        ...     return torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> model = make()
        >>> model[0] = tnl.nn.MPOLinear(12, 8, cores=2, bond_dim=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tnl.save(model, f"{folder}/model.safetensors")
        ...     twin = tnl.load(f"{folder}/model.safetensors", into=make())
        >>> torch.equal(twin(torch.ones(3, 12)), model(torch.ones(3, 12)))
        True
    """
    file = Path(path)
    found, arrays, packed = _read(file)
    if found.object == "layer":
        if into is not None:
            raise TNLayersError(f"{file} holds one layer, not a module to load into another. Leave out into=.")
        return _with_codes(_layer(found.layers[0], arrays, backend or found.backend), found, packed)
    name = backend or found.backend
    if name == "torch" and found.backend == "torch":
        return _with_codes(_module(file, found, arrays, into), found, packed)
    if into is not None:
        raise TNLayersError(f"{file} is loaded on {name}, which makes its own module. Leave out into=.")
    return _formed(file, found, arrays, name)


def header(path: str | Path) -> Header:
    """What a file says about itself, read and checked as `load` does.

    Raises:
        TNLayersError: As for `load`.

    Example:
        >>> import tempfile, tnlayers as tnl
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tnl.save(tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy"), f"{folder}/layer.safetensors")
        ...     found = tnl.io.header(f"{folder}/layer.safetensors")
        >>> found.object, found.backend, str(found.layers[0].spec)
        ('layer', 'numpy', 'mpo(in=4x7, out=2x5, bond=3)')
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Header, dict[str, Stored], dict[str, Packed]]:
    """The header and the arrays of a file, checked against each other, and those of them that it holds as codes."""
    metadata, stored = read(path)
    check_names(path, stored)
    data, stored = current(path, metadata, stored)
    found = header_from_data(path, data)
    decoded, packed = unpack_codes(path, found.quantised, stored)
    arrays = unpack(path, found, decoded)
    match(path, found, arrays)
    return found, arrays, packed


def _with_codes(obj: Any, found: Header, packed: Mapping[str, Packed]) -> Any:
    """What was loaded, on torch with codes where the file has them; other backends have the numbers of the codes."""
    if packed and backend_holding(obj).name == "torch":
        from tnlayers_backends.torch.layers.codes import Codes
        from tnlayers_backends.torch.modules.quantising import put_back

        storage = get_backend("torch").storage
        made = {}
        for name, one in packed.items():
            codes, scales = (storage.from_bytes(own.data, own.dtype, own.shape) for own in (one.codes, one.scales))
            made[name] = Codes(codes, scales, one.bits, one.shape, one.dtype)
        names = {name: name for name in packed} | {alias: of for alias, of in found.tied.items() if of in packed}
        put_back(obj, {name: made[of] for name, of in names.items()})
    return obj


def _layer(record: LayerRecord, stored: Mapping[str, Stored], backend: str) -> Any:
    from tnlayers_backends.base import Parts

    storage = get_backend(backend).storage
    arrays = {name: storage.from_bytes(array.data, array.dtype, array.shape) for name, array in stored.items()}
    return storage.put_together(Parts(record.kind, record.keywords, record.spec, arrays))


def _formed(path: Path, found: Header, stored: Mapping[str, Stored], backend: str) -> Any:
    """A module of the form that a header describes, on a backend without the framework that saved it."""
    storage = get_backend(backend).storage
    if storage.make is None:
        raise TNLayersError(f"{path} holds a {found.model or 'module'}, and {backend} has single layers alone.")
    if found.form is None:
        raise TNLayersError(
            f"{path} holds a {found.backend} {found.model or 'module'} of which it is not known what it does: "
            f"{found.no_form or 'it was saved by a version of tnlayers that did not write it down'}. Load it with "
            f"backend={found.backend!r}, or save it again."
        )
    records = {place: record for record in found.layers for place in record.paths}

    def layer(place: str) -> Networked:
        if place not in records:
            raise TNLayersError(f"{path} describes a layer at {place[:60]!r}, of which it has no network.")
        record = records[place]
        inside = {name: stored[f"{place}.{name}"] for name in ORDERS if f"{place}.{name}" in stored}
        orders = {name: _integers(path, name, array) for name, array in inside.items()}
        return networked(record.kind, LinearMap(record.spec, record.dtype, buckets=()), record.keywords, orders)

    try:
        form = form_from_data(found.form, layer)
    except TNLayersError as error:
        raise TNLayersError(f"Cannot load {path}: {error}") from error
    if missing := sorted(form.shapes.keys() - stored.keys()):
        raise TNLayersError(f"Cannot load {path}: it describes {missing[0]!r}, which it does not hold.")
    own = {name: stored[name] for name in form.shapes}
    arrays = {name: storage.from_bytes(array.data, array.dtype, array.shape) for name, array in own.items()}
    return storage.make(form, arrays)


def _integers(path: Path, name: str, array: Stored) -> list[int]:
    """The entries of an order of features."""
    if array.dtype != "int32" or len(array.shape) != 1:
        raise TNLayersError(f"Cannot load {path}: {name!r} is no order of features.")
    return [number for (number,) in struct.iter_unpack("<i", array.data)]


def _module(path: Path, found: Header, stored: Mapping[str, Stored], into: Any) -> Any:
    """A model of `tnl.models`, or a module loaded into its dense twin."""
    get_backend("torch")  # says what to install
    import torch

    if found.model is not None and into is None:
        module = _skeleton(found, stored)
    elif isinstance(into, torch.nn.Module):
        module = into
    else:
        raise TNLayersError(
            f"{path} holds a torch module that tnlayers cannot build by itself (its layers: "
            f"{', '.join(place for record in found.layers for place in record.paths) or 'none'}). Build it with dense "
            f"layers and pass it: tnl.load(path, into=model); got into={into!r}."
        )
    with torch.inference_mode(False):  # the model can be trained, wherever it was loaded
        return _into(module, path, found, stored, adopt=into is None)


def _into(module: Any, path: Path, found: Header, stored: Mapping[str, Stored], *, adopt: bool) -> Any:
    """A module with the layers and tensors of a file in it."""
    from tnlayers_backends.base import Parts
    from tnlayers_backends.torch.modules.adapting import Adapters, put_in
    from tnlayers_backends.torch.modules.saved import Placed, fill, tie

    storage = get_backend("torch").storage
    rest = {name: storage.from_bytes(array.data, array.dtype, array.shape) for name, array in stored.items()}
    layers = []
    for record in found.layers:
        own = {}
        for place in record.paths:
            names = [name for name in rest if name.startswith(f"{place}.")]
            own = {name.removeprefix(f"{place}."): rest.pop(name) for name in names}
        layers.append(Placed(paths=record.paths, parts=Parts(record.kind, record.keywords, record.spec, own)))
    if found.object == "adapters":
        if rest or any(len(placed.paths) > 1 or not placed.paths[0].endswith(".delta") for placed in layers):
            refuse(path, "it is said to hold adapters alone, but has other tensors or networks")
        held = Adapters({one.paths[0].removesuffix(".delta"): storage.put_together(one.parts) for one in layers})
        tie(held, found.tied)
        put_in(module, held.deltas)
        return module
    fill(module, layers, rest, found.tied, adopt=adopt)
    return module


def _check_depth(found: Header, stored: Mapping[str, Stored]) -> None:
    """A model whose name gives the number of its layers has as many arrays at least: "resnet9998" is not made for ten.

    Raises:
        TNLayersError: It has fewer.
    """
    deepest = model_layers(str(found.model))
    if deepest > len(stored) + len(found.tied):
        raise TNLayersError(
            f"A file of {len(stored)} arrays holds no {str(found.model)[:60]!r}: its model has {deepest} layers."
        )


def _skeleton(found: Header, stored: Mapping[str, Stored]) -> Any:
    """The model that a header names, without values, as it is around its layers.

    In some models a network brings more with it than its layer, such as a normalisation: then the arrays that are not
    of a layer tell which of the two forms was saved.
    """
    import torch

    _check_depth(found, stored)
    make = model_maker(str(found.model))
    inside = tuple(f"{place}." for record in found.layers for place in record.paths)
    around = {name: array.shape for name, array in stored.items() if not name.startswith(inside)}
    around |= {alias: stored[name].shape for alias, name in found.tied.items() if name in stored}
    # Nothing is drawn, torch's random state stays as it is, and bonds of layers that are not kept are nobody's concern.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        forms = [make("dense"), *([make("mpo")] if found.layers else [])]
    for form in forms:
        state = form.state_dict()
        if {name: tuple(value.shape) for name, value in state.items() if not name.startswith(inside)} == around:
            return form
    return forms[0]  # `fill` says what does not fit
