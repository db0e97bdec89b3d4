"""`check_kinds`: layers of every kind of one network on every backend and dtype, against their dense arithmetic.

The weight is the einsum of the declaration; what the kind does with it is written here once more, densely, in numpy and
in double precision: products, loops over the kernel's positions, rows of a table. Nothing of `tnlayers.forms` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any

import numpy as np

from tnlayers.backends import backend as get_backend
from tnlayers.backends import installed
from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.pairs import pair_spec
from tnlayers.declare.kernel import kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.verify.agreement import SEED, Difference, exact, from_numpy, needs_own_process, to_numpy
from tnlayers.verify.reference import Array, Expected, expected_output

Dense = Callable[[Array, Sequence[Array]], Array]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind.

    Attributes:
        spec: A small declaration.
        keywords: What the kind takes beside it.
        inputs: Shapes of the inputs; a shape in `ids` is one of ids.
        dense: The outputs, from the dense weight (out_features, in_features) and the inputs.
        ids: How many rows ids choose among; 0 where inputs are numbers.
        summed: How many entries of the weight count in an output.
    """

    spec: Spec
    keywords: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[int, ...], ...]
    dense: Dense
    ids: int = 0
    summed: int


def _bags(weight: Array, given: Sequence[Array]) -> Array:
    (ids,) = given
    return np.stack([sum(weight.T[one] for one in bag) / len(bag) for bag in ids])


def _convolution(kernel: tuple[int, ...], stride: int, padding: int, groups: int) -> Row:
    dims, c_in, c_out = len(kernel), 4, 6
    spec = kernel_spec("mpo(cores=2, bond=2)", kernel, c_in, c_out, groups, bias=True)

    def dense(weight: Array, given: Sequence[Array]) -> Array:
        (x,) = given
        x = np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * dims])
        sizes = [(size - k) // stride + 1 for size, k in zip(x.shape[2:], kernel, strict=True)]
        w = weight.reshape(groups, c_out // groups, prod(kernel), c_in // groups)
        y = np.zeros((len(x), groups, c_out // groups, *sizes), np.result_type(x, weight))
        for number, at in enumerate(np.ndindex(*kernel)):
            cuts = tuple(slice(a, a + stride * (n - 1) + 1, stride) for a, n in zip(at, sizes, strict=True))
            seen = x[(slice(None), slice(None), *cuts)].reshape(len(x), groups, c_in // groups, *sizes)
            y += np.einsum("goc,ngc...->ngo...", w[:, :, number], seen)
        return y.reshape(len(x), c_out, *sizes)

    keywords = {
        "in_channels": c_in,
        "out_channels": c_out,
        "kernel_size": kernel,
        "stride": (stride,) * dims,
        "padding": (padding,) * dims,
        "dilation": (1,) * dims,
        "groups": groups,
        "padding_mode": "zeros",
        "view": "kernel",
        "in_size": None,
    }
    inputs = ((3, c_in, *range(5, 5 + dims)),)
    return Row(spec=spec, keywords=keywords, inputs=inputs, dense=dense, summed=prod(kernel) * c_in // groups)


def rows() -> dict[str, Row]:
    """A small layer of every kind of one network, by the names that files have for the kinds."""
    plain = make_spec("mpo(in=3x4, out=2x5, bias=true, bond=3)")
    table = make_spec("mpo(in=3x4, out=2x5, bond=3)")
    pairs = pair_spec("mpo(cores=4, bond=2)", 6, 4, 10, bias=True)
    bag = {"mode": "mean", "include_last_offset": False, "padding_idx": None, "unique": False}
    return {
        "linear": Row(spec=plain, inputs=((5, 12),), dense=lambda w, given: given[0] @ w.T, summed=12),
        "tensor_linear": Row(
            spec=plain,
            keywords={"in_shape": (3, 4), "out_shape": (2, 5)},
            inputs=((5, 3, 4),),
            dense=lambda w, given: (given[0].reshape(5, 12) @ w.T).reshape(5, 2, 5),
            summed=12,
        ),
        "bilinear": Row(
            spec=pairs,
            keywords={"in1_features": 6, "in2_features": 4},
            inputs=((5, 6), (5, 4)),
            dense=lambda w, given: np.einsum("oij,ni,nj->no", w.reshape(10, 6, 4), *given),
            summed=24,
        ),
        "embedding": Row(
            spec=table,
            keywords={"padding_idx": None, "unique": False},
            inputs=((3, 4),),
            dense=lambda w, given: w.T[given[0]],
            ids=12,
            summed=1,
        ),
        "embedding_bag": Row(spec=table, keywords=bag, inputs=((3, 4),), dense=_bags, ids=12, summed=4),
        "conv1d": _convolution((3,), 2, 1, 1),
        "conv2d": _convolution((3, 2), 1, 1, 2),
        "conv3d": _convolution((2, 1, 2), 2, 0, 1),
    }


def check_kinds(backends: Sequence[str] | None = None, step: Callable[[], None] = lambda: None) -> list[Difference]:
    """Run a layer of every kind on backends in every real dtype that they have in this process.

    A kind that a backend refuses in words is left out: one of others may have linear layers alone.

    Args:
        backends: Names; all that are installed if None.
        step: Called after each dtype of each backend.

    Raises:
        TNLayersError: If a backend is unknown or cannot be imported.

    Example:
        >>> found = check_kinds(["numpy"])
        >>> len(found), all(one.good for one in found)
        (24, True)
    """
    found: list[Difference] = []
    for name in installed() if backends is None else backends:
        for dtype in get_backend(name).dtypes:
            if not dtype.startswith("complex") and not needs_own_process(name, dtype):
                for kind, row in rows().items():
                    found += check_kind(kind, row, name, dtype)
            step()
    return found


def check_kind(kind: str, row: Row, backend: str, dtype: str) -> list[Difference]:
    """Compare one layer on one backend in one dtype; nothing where the backend has no such kind."""
    from tnlayers_backends.base import Parts

    framework, spec, rng = get_backend(backend), row.spec, np.random.default_rng(SEED)
    arrays = draw_layer(spec.graphs, default_variance(spec.in_features), rng, dtype)
    if spec.bias:
        arrays["bias"] = draw_bias(spec.in_features, spec.out_features, rng, dtype)
    own = {name: from_numpy(framework, array, dtype) for name, array in arrays.items()}
    arrays_there = {name: to_numpy(framework, array, dtype) for name, array in own.items()}
    given = [rng.integers(0, row.ids, shape) if row.ids else exact(rng, shape, dtype) for shape in row.inputs]
    put = [
        framework.storage.from_bytes(x.astype("<i4").tobytes(), "int32", x.shape)
        if row.ids
        else from_numpy(framework, x, dtype)
        for x in given
    ]
    try:
        layer = framework.storage.put_together(Parts(kind, row.keywords, spec, own))
    except TNLayersError:
        return []
    y = to_numpy(framework, layer(*put), dtype)
    weight = expected_output(spec, spec.graphs, arrays_there, np.eye(spec.in_features))  # transposed
    value = row.dense(weight.value.T, given)
    largest = 1.0 if row.ids else prod(float(np.max(np.abs(x))) for x in given)
    scale = weight.scale * sqrt(row.summed) * largest
    if spec.bias:
        behind = (1,) * (len(row.inputs[0]) - 2) if kind.startswith("conv") else ()
        value = value + arrays_there["bias"].reshape(row.keywords.get("out_shape", (-1, *behind)))
        scale += float(np.max(np.abs(arrays_there["bias"])))
    expected = Expected(value, scale, weight.terms * row.summed)
    units = expected.units(y, dtype)
    text = f"{kind}: {spec}"
    return [Difference(spec=text, backend=backend, dtype=dtype, quantity="forward", where="y", units=units)]
