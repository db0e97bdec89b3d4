"""Arrays between a file and the layers that they belong to: complex and tied ones, and whether they fit the header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tnlayers.io.container import REAL_PARTS, Stored, refuse
from tnlayers.io.header import CORE_DTYPES, Header


def pack(arrays: Mapping[str, Stored]) -> tuple[dict[str, Stored], tuple[str, ...]]:
    """The arrays as they are stored, complex ones as pairs of real numbers, and the names of the complex ones."""
    names = tuple(sorted(name for name, array in arrays.items() if array.dtype in REAL_PARTS))
    stored = dict(arrays)
    for name in names:
        array = arrays[name]
        stored[name] = replace(array, dtype=REAL_PARTS[array.dtype], shape=(*array.shape, 2))
    return stored, names


def match(path: Path, header: Header, arrays: Mapping[str, Stored]) -> None:
    """Check that the arrays are those that the layers in the header have.

    Args:
        path: For messages.
        header: What the file says.
        arrays: What it holds, tied arrays under each of their names.

    Raises:
        TNLayersError: An array is missing, or has another shape or dtype than its graph says.
    """
    for layer in header.layers:
        expected = layer.spec.shapes | ({"bias": (layer.spec.out_features,)} if layer.spec.bias else {})
        for place in layer.paths:
            for name, shape in expected.items():
                full = f"{place}.{name}" if place else name
                if full not in arrays:
                    refuse(path, f"{full!r} is missing; {str(layer.spec)[:120]} has it with shape {shape}")
                found = arrays[full]
                if found.shape != shape:
                    refuse(path, f"{full!r} has shape {found.shape}, but its network says {shape}")
                if found.dtype != layer.dtype and not (name == "bias" and found.dtype in CORE_DTYPES):
                    refuse(path, f"{full!r} has dtype {found.dtype}, but its header says {layer.dtype}")


def unpack(path: Path, header: Header, arrays: Mapping[str, Stored]) -> dict[str, Stored]:
    """The arrays as they were before they were stored: complex ones complex, tied ones under each of their names.

    Raises:
        TNLayersError: A name in the header has no array, or not one that can be complex.
    """
    complex_of = {real: name for name, real in REAL_PARTS.items()}
    found = dict(arrays)
    for name in header.complex:
        real = arrays.get(name)
        if real is None or real.dtype not in complex_of or real.shape[-1:] != (2,):
            refuse(path, f"{name!r} is said to be complex, but no array of real and imaginary parts")
        found[name] = replace(real, dtype=complex_of[real.dtype], shape=real.shape[:-1])
    for alias, name in header.tied.items():
        if alias in found or name not in found:
            refuse(path, f"{alias!r} is said to be the same array as {name!r}, but both or none are there")
        found[alias] = found[name]
    return found
