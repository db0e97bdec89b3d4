"""Cores of other libraries as mpo layers: the same numbers, the axes in our order (left, in, out, right).

All four libraries below store a chain of cores whose first and last outer bonds have size 1. They differ in the axes:

    tensorly-torch   BlockTT of a FactorizedLinear     (left, out, in, right)
    torchtt          TT matrix, LinearLayerTT          (left, out, in, right)
    torch-mpo        TTLinear                          (left x out, right x in)
    deeplearning-mpo the code of arXiv 1904.06194      (out x right, left x in)

None of them is imported: a mapping of names to arrays will do, such as a state dict, or a safetensors file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tnlayers.backends import backend as get_backend
from tnlayers.backends import backend_of
from tnlayers.declare.registry import declare
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.io.container import Stored, read

Arrays = Mapping[str, Any] | str | Path
# Entries as so many bytes each: axes are moved without a look at the numbers, so every dtype keeps its bits.
Entries = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a library names and stores the cores of a chain.

    Attributes:
        library: Its name, for messages.
        core: Pattern of a core's name; its one group is the number of the core.
        bias: Pattern of the bias's name.
        axes: What the axes of a core are once a matrix is split: some order of "left", "in", "out" and "right".
        matrix: Whether a core is stored as a matrix, whose rows and columns are two of these axes each.
    """

    library: str
    core: str
    bias: str
    axes: tuple[str, str, str, str]
    matrix: bool = False


TLTORCH = Layout(
    library="tensorly-torch",
    core=r"(?:weight\.)?factors\.factor_(\d+)",
    bias="bias",
    axes=("left", "out", "in", "right"),
)
TORCHTT = Layout(library="torchtt", core=r"cores\.(\d+)", bias="bias", axes=("left", "out", "in", "right"))
TORCH_MPO = Layout(
    library="torch-mpo", core=r"cores\.(\d+)", bias="bias", axes=("left", "out", "right", "in"), matrix=True
)
DEEPLEARNING_MPO = Layout(
    library="deeplearning-mpo",
    core=r"mat_core_(\d+)(?::0)?",
    bias=r"biases(?::0)?",
    axes=("out", "right", "left", "in"),
    matrix=True,
)


def from_tltorch(arrays: Arrays, *, prefix: str = "", backend: str = "torch") -> Any:
    """A layer of the cores of tensorly-torch: a `FactorizedLinear` of factorization "BlockTT", or a `BlockTT` itself.

    Args:
        arrays: Its state dict, or a safetensors file of it: `weight.factors.factor_0`, ..., and `bias` if it has one.
        prefix: What the names begin with before that, such as "fc1." in a model's state dict; others are left out.
        backend: Where the layer shall live.

    Returns:
        A layer whose `to_dense()` is the peer's `weight.to_matrix()`.

    Raises:
        TNLayersError: If there are no such cores, or they do not make a chain.

    Example:
        >>> import numpy as np, tnlayers as tnl
        >>> cores = {"weight.factors.factor_0": np.ones((1, 2, 4, 3)), "weight.factors.factor_1": np.ones((3, 5, 7, 1))}
        >>> tnl.io.from_tltorch(cores, backend="numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    return _layer(TLTORCH, arrays, prefix, backend)


def from_torchtt(arrays: Arrays, *, prefix: str = "", backend: str = "torch") -> Any:
    """A layer of the cores of torchtt: a `torchtt.nn.LinearLayerTT`, or a TT matrix.

    Args:
        arrays: Names and arrays: `cores.0`, `cores.1`, ... (left, out, in, right), and `bias` if it has one, of any
            shape. Of a TT matrix `t`: `{f"cores.{k}": core for k, core in enumerate(t.cores)}`.
        prefix: What the names begin with before that.
        backend: Where the layer shall live.

    Returns:
        A layer whose `to_dense()` is the peer's `full()` as a matrix.

    Raises:
        TNLayersError: If there are no such cores, or they do not make a chain.

    Example:
        >>> import numpy as np, tnlayers as tnl
        >>> cores = {"cores.0": np.ones((1, 2, 4, 3)), "cores.1": np.ones((3, 5, 7, 1))}
        >>> tnl.io.from_torchtt(cores, backend="numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    return _layer(TORCHTT, arrays, prefix, backend)


def from_torch_mpo(
    arrays: Arrays, in_modes: Sequence[int], out_modes: Sequence[int], *, prefix: str = "", backend: str = "torch"
) -> Any:
    """A layer of the cores of torch-mpo's `TTLinear`.

    Args:
        arrays: Its state dict: `cores.0`, ... of shape (left x out, right x in), and `bias` if it has one.
        in_modes: Its `inp_modes`: the matrices alone do not tell bonds and modes apart.
        out_modes: Its `out_modes`.
        prefix: What the names begin with before that.
        backend: Where the layer shall live.

    Returns:
        A layer whose `to_dense()` is the peer's `to_matrix()`.

    Raises:
        TNLayersError: If there are no such cores, or they do not fit the modes.

    Example:
        >>> import numpy as np, tnlayers as tnl
        >>> cores = {"cores.0": np.ones((1 * 2, 3 * 4)), "cores.1": np.ones((3 * 5, 1 * 7))}
        >>> tnl.io.from_torch_mpo(cores, (4, 7), (2, 5), backend="numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    return _layer(TORCH_MPO, arrays, prefix, backend, (tuple(in_modes), tuple(out_modes)))


def from_deeplearning_mpo(
    arrays: Arrays, in_modes: Sequence[int], out_modes: Sequence[int], *, prefix: str = "", backend: str = "torch"
) -> Any:
    """A layer of the cores of the code of arXiv 1904.06194 (github.com/zfgao66/deeplearning-mpo, `tto` in tt.py).

    Args:
        arrays: The TensorFlow variables by name: `mat_core_1`, ... of shape (out x right, left x in), and `biases` if
            there are any; a `:0` behind the name is ignored.
        in_modes: `inp_modes` there.
        out_modes: `out_modes` there.
        prefix: The variable scope, such as "tt_1/".
        backend: Where the layer shall live.

    Returns:
        A layer whose `to_dense()` is the matrix that `tto` multiplies by.

    Raises:
        TNLayersError: If there are no such cores, or they do not fit the modes.

    Example:
        >>> import numpy as np, tnlayers as tnl
        >>> cores = {"mat_core_1": np.ones((2 * 3, 1 * 4)), "mat_core_2": np.ones((5 * 1, 3 * 7))}
        >>> tnl.io.from_deeplearning_mpo(cores, (4, 7), (2, 5), backend="numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    return _layer(DEEPLEARNING_MPO, arrays, prefix, backend, (tuple(in_modes), tuple(out_modes)))


def _layer(
    layout: Layout,
    arrays: Arrays,
    prefix: str,
    backend: str,
    modes: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
) -> Any:
    """Find the cores, put their axes in order, and make the mpo of exactly these bonds."""
    from tnlayers_backends.base import Parts

    stored, bias = _find(layout, arrays, prefix)
    dtypes = {array.dtype for array in (*stored, *([bias] if bias else []))}
    if len(dtypes) > 1:
        raise TNLayersError(f"These cores of {layout.library} have dtypes {', '.join(sorted(dtypes))}; give them one.")
    if modes is not None and (not len(modes[0]) == len(modes[1]) == len(stored) or min(*modes[0], *modes[1]) < 1):
        raise TNLayersError(
            f"There are {len(stored)} cores but in_modes {modes[0]} and out_modes {modes[1]}: each core needs one of "
            "each, of at least 1."
        )
    cores: list[Entries] = []
    left = 1
    for k, array in enumerate(stored):
        known = {"left": left} if modes is None else {"left": left, "in": modes[0][k], "out": modes[1][k]}
        cores.append(_four_axes(layout, k, array, known))
        left = cores[-1].shape[3]
    if left != 1:
        raise TNLayersError(f"The last core of {layout.library} has a right bond of {left}; a chain ends with 1.")
    spec = _spec([core.shape for core in cores], bias is not None)
    found = dict(zip(spec.shapes, cores, strict=True))
    storage, dtype = get_backend(backend).storage, dtypes.pop()
    parts = {name: storage.from_bytes(found[name].tobytes(), dtype, shape) for name, shape in spec.shapes.items()}
    if bias is not None:
        parts["bias"] = storage.from_bytes(bias.data, dtype, (spec.out_features,))
    return storage.put_together(Parts("linear", {}, spec, parts))


def _find(layout: Layout, arrays: Arrays, prefix: str) -> tuple[list[Stored], Stored | None]:
    """The cores in order, and the bias."""
    named = read(Path(arrays))[1] if isinstance(arrays, (str, Path)) else arrays
    own = {name.removeprefix(prefix): array for name, array in named.items() if name.startswith(prefix)}
    numbers = {int(match[1]): name for name in own if (match := re.fullmatch(layout.core, name))}
    biases = [name for name in own if re.fullmatch(layout.bias, name)]
    order = sorted(numbers)
    other = sorted(own.keys() - numbers.values() - set(biases))
    if not order or order != list(range(order[0], order[0] + len(order))) or other or len(biases) > 1:
        raise TNLayersError(
            f"No chain of cores of {layout.library}: their names match {layout.core!r}, numbered without a gap, beside "
            f"{layout.bias!r}. Found with prefix={prefix!r}: {', '.join(sorted(own)[:8]) or 'nothing'}. Of a whole "
            "model, give the layer's prefix=; of another factorisation, load its dense weight."
        )
    cores = [_stored(own[numbers[k]]) for k in order]
    return cores, _stored(own[biases[0]]) if biases else None


def _stored(array: Any) -> Stored:
    if isinstance(array, Stored):
        return array
    dtype = str(array.dtype).removeprefix("torch.")
    return Stored(dtype=dtype, shape=tuple(array.shape), data=backend_of(array).storage.to_bytes(array))


def _four_axes(layout: Layout, number: int, array: Stored, known: Mapping[str, int]) -> Entries:
    """A core as (left, in, out, right), whatever its library makes of it."""
    shape = array.shape
    if layout.matrix and len(shape) == 2:
        sizes = dict(known)
        for side, pair in zip(shape, (layout.axes[:2], layout.axes[2:]), strict=True):
            if open_axes := [axis for axis in pair if axis not in sizes]:
                sizes[open_axes[0]] = side // sizes[pair[1 - pair.index(open_axes[0])]]
        shape = tuple(sizes[axis] for axis in layout.axes)
    fits = len(shape) == 4 and all(size == shape[layout.axes.index(axis)] for axis, size in known.items())
    rows = (shape[0] * shape[1], shape[2] * shape[3]) if fits and layout.matrix else shape
    if not fits or array.shape != rows:
        listed = ", ".join(f"{axis} {size}" for axis, size in known.items())
        wanted = " x ".join(layout.axes[:2]) + ", " + " x ".join(layout.axes[2:])
        raise TNLayersError(
            f"Core {number} of {layout.library} has shape {array.shape}, which does not fit {listed}: it needs axes "
            f"({wanted if layout.matrix else ', '.join(layout.axes)}), the left bond that of the core before."
        )
    width = len(array.data) // max(1, int(np.prod(array.shape)))
    entries = np.frombuffer(array.data, np.dtype((np.void, width))).reshape(shape)
    return entries.transpose([layout.axes.index(axis) for axis in ("left", "in", "out", "right")])


def _spec(shapes: Sequence[tuple[int, ...]], bias: bool) -> Spec:
    """The mpo with exactly these cores: its bonds are not clipped, so that the numbers stay what they are."""
    bonds = tuple(shape[3] for shape in shapes[:-1])
    shown = {"bond_dim": bonds[0] if len(set(bonds)) == 1 else bonds} if bonds else {}
    in_modes, out_modes = tuple(shape[1] for shape in shapes), tuple(shape[2] for shape in shapes)
    options = tuple(shown.items())
    lowered = (declare("mpo", in_modes, out_modes, options),)
    return Spec(network="mpo", in_modes=in_modes, out_modes=out_modes, options=options, bias=bias, lowered=lowered)
