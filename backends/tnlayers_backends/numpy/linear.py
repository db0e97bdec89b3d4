"""Linear layers on numpy, and how plans run there: some rows at a time where a plan has chunks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from tnlayers.cores.facade import Facade
from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.arguments import shown
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers.planning.sliced import sliced_cores
from tnlayers.program.sweep import Place, propagate
from tnlayers_backends.numpy.primitives import OPS, Array, NumpyOps

DTYPES = ("float16", "float32", "float64", "complex64", "complex128")


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
            propagate(OPS, sweep, some, matrices, space, part)
            if not first:
                into += part
        first = False
        del own, matrices  # before the next are made
    return y.reshape(len(rows), *sweep.chain.shape[1:])


class InPlace(Facade[Array]):
    """A layer that holds its cores in a dict and changes them there; abstract."""

    cores: dict[str, Array]

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


class NumpyLinear(InPlace):
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
