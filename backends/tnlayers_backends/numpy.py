"""The numpy backend: the yardstick. A layer is a plain callable that holds its cores in a dict."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tnlayers.cores.facade import Facade
from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.arguments import shown
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers.planning.sliced import sliced_cores
from tnlayers.program.sweep import Place, carry
from tnlayers_backends.base import Backend, Parts, Storage, check_linear, linear_parts

Array = npt.NDArray[Any]

DTYPES = ("float16", "float32", "float64", "complex64", "complex128")


class NumpyOps:
    """The primitives, each one call of numpy."""

    def reshape(self, array: Array, shape: tuple[int, ...]) -> Array:
        """As `numpy.reshape`: a view where the memory order allows."""
        return array.reshape(shape)

    def permute(self, array: Array, axes: tuple[int, ...]) -> Array:
        """As `numpy.transpose`: a view."""
        return array.transpose(axes)

    def matmul(self, left: Array, right: Array) -> Array:
        """As `numpy.matmul` on 2-D or 3-D arrays."""
        product: Array = np.matmul(left, right)
        return product

    def matmul_into(self, out: Array, left: Array, right: Array) -> Array:
        """As `matmul`, into memory at hand."""
        return np.matmul(left, right, out=out)

    def copy_into(self, out: Array, array: Array) -> Array:
        """As `numpy.copyto`."""
        np.copyto(out, array)
        return out

    def sum(self, array: Array, axes: tuple[int, ...]) -> Array:
        """As `numpy.sum`; a 0-d array where every axis goes."""
        return np.asarray(np.sum(array, axis=axes, dtype=array.dtype))

    def diagonal(self, array: Array, axis1: int, axis2: int) -> Array:
        """As `numpy.diagonal`, copied so that the result is contiguous."""
        return np.ascontiguousarray(np.diagonal(array, axis1=axis1, axis2=axis2))

    def pad(self, array: Array, count: int) -> Array:
        """`count` zeros behind the last axis."""
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, count)])

    def eye(self, size: int, like: Array) -> Array:
        """The identity matrix in the dtype of `like`."""
        return np.eye(size, dtype=like.dtype)

    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """As `numpy.linalg.qr`."""
        q, r = np.linalg.qr(matrix)
        return q, r

    def svd(self, matrix: Array) -> tuple[Array, Array, Array]:
        """As `numpy.linalg.svd`, reduced; of a stack, each matrix by itself."""
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        return u, s, vh

    def singular_values(self, matrix: Array) -> Array:
        """As `numpy.linalg.svd` without vectors."""
        return np.linalg.svd(matrix, compute_uv=False)

    def eigenvectors(self, matrix: Array) -> Array:
        """As `numpy.linalg.eigh`, without the eigenvalues."""
        return np.linalg.eigh(matrix)[1]

    def like(self, values: Array, array: Array) -> Array:
        """An array in the dtype of another."""
        return values.astype(array.dtype)

    def cast(self, array: Array, dtype: str) -> Array:
        """As `numpy.ndarray.astype`, without a copy where nothing changes."""
        return array.astype(dtype, copy=False)


class _Rows:
    """Memory divided for some rows: places are given in entries per row."""

    def __init__(self, memory: Array, rows: int) -> None:
        self.memory = memory
        self.rows = rows

    def take(self, place: Place) -> Array:
        start, entries = place
        return self.memory[start * self.rows : (start + entries) * self.rows]

    def once(self, key: Hashable, make: Callable[..., Any], *args: Any) -> Any:
        return make(*args)


def run(plan: Plan, x: Array, cores: Sequence[Array]) -> Array:
    """Apply a plan of a layer: where it has chunks, some rows at a time in one workspace; slices one after the other.

    Args:
        plan: The plan.
        x: Vectors (..., in), the number of features padded as the plan wants.
        cores: The cores, in order of declaration.

    Returns:
        The result, (batch, *out_modes).
    """
    sweep, chunk = plan.sweep, plan.chunk
    if sweep is None or chunk is None:
        whole: Array = plan.program.run(OPS, [x, *cores])
        return whole
    links = sweep.chain.links
    rows = np.ascontiguousarray(x.reshape(-1, links[0].before), np.result_type(x, *cores))
    y = np.empty((len(rows), links[-1].after), rows.dtype)
    memory = np.empty((sweep.forward + (links[-1].after if plan.slices else 0)) * min(chunk, len(rows)), rows.dtype)
    first = True
    for own in sliced_cores(plan, cores, np.ascontiguousarray):
        matrices = [matrix.astype(rows.dtype, copy=False) for matrix in sweep.chain.prepare(OPS, plan.program, own)]
        for start in range(0, len(rows), chunk):
            some, into = rows[start : start + chunk], y[start : start + chunk]
            space = _Rows(memory, len(some))
            part = into if first else space.take((sweep.forward, links[-1].after)).reshape(into.shape)
            carry(OPS, sweep, some, matrices, space, part)
            if not first:
                into += part
        first = False
        del own, matrices  # before the next are made
    return y.reshape(len(rows), *sweep.chain.shape[1:])


class NumpyLinear(Facade[Array]):
    """A linear layer on numpy: `layer(x)`, (..., in_features) -> (..., out_features).

    Attributes:
        cores: The cores by name, in order of declaration; assign to its entries to change the layer.
        bias: A vector of out_features, or None.
    """

    def __init__(self, spec: Spec, *, seed: int | None = 0, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise TNLayersError(f"A numpy layer cannot have dtype {dtype!r}; use one of {', '.join(DTYPES)}.")
        self._map = LinearMap(spec, dtype)
        rng = np.random.default_rng(seed)
        drawn = draw_layer(self._map.graphs, default_variance(spec.in_features), rng, dtype)
        self.cores: dict[str, Array] = {name: core.astype(dtype) for name, core in drawn.items()}
        self.bias = draw_bias(spec.in_features, spec.out_features, rng, dtype).astype(dtype) if spec.bias else None

    def __call__(self, x: Array) -> Array:
        """Apply the layer to vectors of shape (..., in_features)."""
        if not isinstance(x, np.ndarray):
            raise TNLayersError(
                f"This layer is called with x={shown(x)}, and needs an array: np.asarray(...) makes one."
            )
        y: Array = self._map.apply(OPS, x, list(self.cores.values()), self.plan_for(_batch(x)), run)
        return y if self.bias is None else y + self.bias

    def _network(self) -> LinearMap:
        return self._map

    def _primitives(self) -> NumpyOps:
        return OPS

    def _arrays(self) -> list[Array]:
        return list(self.cores.values())

    def canonicalise_(self, centre: str | None = None) -> None:
        """Sweep every core but `centre` (the first if None) into an isometry towards it; W is unchanged.

        Raises:
            TNLayersError: If the network has a loop, a hyperedge or a trace, or no core of that name.
        """
        self._rewrite(self._canonical(centre))

    def balance_(self) -> None:
        """Scale the cores of each network to equal norms; W is unchanged."""
        self._rewrite(self._balanced())

    def _rewrite(self, cores: list[Array]) -> None:
        self.cores = {name: new.astype(old.dtype) for (name, old), new in zip(self.cores.items(), cores, strict=True)}

    def plan_for(self, batch: int, objective: Objective = "forward") -> AnyPlan:
        """The plan that a batch of this size runs, or would run for another objective on other backends."""
        return self._map.plan_for(batch, objective)

    def use_plan(self, plan: AnyPlan | None) -> None:
        """Run every batch by this plan, or choose by batch size again (None)."""
        self._map = self._map.with_plan(plan)

    def __repr__(self) -> str:
        return f"NumpyLinear({str(self.spec)!r})"


def _batch(x: Array) -> int:
    return int(np.prod(x.shape[:-1], dtype=np.int64))


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one.
    """
    return linear_parts(layer, NumpyLinear, lambda own: own._map.pinned)


def put_together(parts: Parts) -> NumpyLinear:
    """The layer of such parts; the arrays become its own.

    Raises:
        TNLayersError: If it is another kind of layer than numpy has, or the arrays are not those it has.
    """
    check_linear(parts, "numpy")
    arrays = dict(parts.arrays)
    layer = NumpyLinear(parts.spec, dtype=str(arrays[next(iter(parts.spec.shapes))].dtype))
    layer.bias = arrays.pop("bias", None)
    layer.cores = {name: arrays[name] for name in parts.spec.shapes}
    layer.use_plan(parts.plan)
    return layer


def to_bytes(array: Array) -> bytes:
    """The entries of an array, row-major and little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def from_bytes(data: bytes | bytearray, dtype: str, shape: tuple[int, ...]) -> Array:
    """An array from its entries.

    Raises:
        TNLayersError: If numpy has no such dtype: bfloat16.
    """
    if dtype == "bfloat16":
        raise TNLayersError(
            "numpy has no dtype 'bfloat16'. Go by torch, where layer.float() makes it float32, which loses nothing."
        )
    little = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(data, little).reshape(shape).astype(dtype)


OPS = NumpyOps()
BACKEND = Backend(
    name="numpy",
    arrays=("numpy",),
    dtypes=DTYPES,
    ops=OPS,
    build=NumpyLinear,
    storage=Storage(take_apart=take_apart, put_together=put_together, to_bytes=to_bytes, from_bytes=from_bytes),
)
