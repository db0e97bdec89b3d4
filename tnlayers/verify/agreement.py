"""`check`: layers on every installed backend and dtype against the einsum of their declaration.

Every backend draws the same layer, applies it to the same vectors, and differentiates it if it can. The vectors are
multiples of 1/8 below 2, which every dtype holds exactly, so that only the layer's own arithmetic is compared. What is
found are differences in units of the tolerance (`tnlayers.verify.reference`); above 1 something is wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnlayers.backends import backend as get_backend
from tnlayers.backends import installed
from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer, is_complex
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.verify.reference import Array, Expected, expected_gradients, expected_output

if TYPE_CHECKING:
    from tnlayers_backends.base import Backend

BATCH = 5
SEED = 0

# Dtypes that a backend has only in processes that are started for them: the environment that such a process needs.
_OWN_PROCESS = {("jax", dtype): {"JAX_ENABLE_X64": "1"} for dtype in ("float64", "complex128")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The largest difference that was found for one quantity.

    Attributes:
        spec: The layer.
        backend: Where it ran.
        dtype: In which dtype.
        quantity: "cores" (against those that the seed gives), "forward" or "gradients".
        where: The array that differs most: "y", "x" or the name of a core.
        units: By how much, in units of the tolerance.
    """

    spec: str
    backend: str
    dtype: str
    quantity: str
    where: str
    units: float

    @property
    def good(self) -> bool:
        """Whether it lies within the tolerance."""
        return self.units <= 1


def check(
    specs: Sequence[Spec], backends: Sequence[str] | None = None, step: Callable[[], None] = lambda: None
) -> list[Difference]:
    """Run layers on backends in every dtype that these have, and compare.

    Args:
        specs: Sized declarations.
        backends: Names; all that are installed if None.
        step: Called after each dtype of each backend.

    Raises:
        TNLayersError: If a backend is unknown or cannot be imported.

    Example:
        >>> import tnlayers as tnl
        >>> found = check([tnl.spec("mpo(in=3x4, out=2x5, bond=3)")], ["numpy"])
        >>> sorted({one.dtype for one in found}), all(one.good for one in found)
        (['complex128', 'complex64', 'float16', 'float32', 'float64'], True)
    """
    found: list[Difference] = []
    for name in installed() if backends is None else backends:
        dtypes = get_backend(name).dtypes
        apart = [dtype for dtype in dtypes if (name, dtype) in _OWN_PROCESS]
        for dtype in dtypes:
            if dtype not in apart:
                for spec in specs:
                    found += check_layer(spec, name, dtype)
                step()
        if apart:
            found += _in_own_process(specs, name, apart)
            for _ in apart:
                step()
    return found


def check_layer(spec: Spec, backend: str, dtype: str) -> Iterator[Difference]:
    """Compare one layer on one backend in one dtype."""
    framework = get_backend(backend)
    layer = framework.build(spec, seed=SEED, dtype=dtype)
    arrays = dict(layer.cores) | ({} if layer.bias is None else {"bias": layer.bias})
    arrays_there = {name: to_numpy(framework, array, dtype) for name, array in arrays.items()}
    rng = np.random.default_rng(1)
    x, grad_y = (exact(rng, (BATCH, n), dtype) for n in (spec.in_features, spec.out_features))
    given = [from_numpy(framework, array, dtype) for array in (x, grad_y)]

    def difference(quantity: str, expected: Mapping[str, Expected], found: Mapping[str, Array]) -> Difference:
        missing = expected.keys() ^ found.keys()
        units = {name: expected[name].units(found[name], dtype) for name in expected.keys() & found.keys()}
        units |= dict.fromkeys(missing, float("inf"))
        where = max(units, key=units.__getitem__)
        return Difference(
            spec=str(spec), backend=backend, dtype=dtype, quantity=quantity, where=where, units=units[where]
        )

    yield difference("cores", _drawn(spec, dtype), arrays_there)
    y = expected_output(spec, spec.graphs, arrays_there, x)
    if spec.bias:
        y = Expected(y.value + arrays_there["bias"], y.scale + float(np.max(np.abs(arrays_there["bias"]))), y.terms)
    output, gradients = (layer(given[0]), None) if framework.vjp is None else framework.vjp(layer, *given)
    yield difference("forward", {"y": y}, {"y": to_numpy(framework, output, dtype)})
    if gradients is not None:
        expected = expected_gradients(spec, spec.graphs, arrays_there, x, grad_y)
        expected = {name: expected[name] for name in ("x", *arrays_there)}
        yield difference("gradients", expected, {k: to_numpy(framework, g, dtype) for k, g in gradients.items()})


def _drawn(spec: Spec, dtype: str) -> dict[str, Expected]:
    """The parameters that the seed gives, before they are rounded to the dtype."""
    rng = np.random.default_rng(SEED)
    drawn = draw_layer(spec.graphs, default_variance(spec.in_features), rng, dtype)
    if spec.bias:
        drawn["bias"] = draw_bias(spec.in_features, spec.out_features, rng, dtype)
    return {name: Expected(array, float(np.max(np.abs(array))), 1) for name, array in drawn.items()}


def exact(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Multiples of 1/8 in double precision, for a complex dtype in both parts."""
    parts = [rng.integers(-15, 16, shape) / 8 for _ in range(1 + is_complex(dtype))]
    return parts[0] + 1j * parts[1] if is_complex(dtype) else parts[0]


def from_numpy(framework: Backend, array: Array, dtype: str) -> Any:
    """An array of the framework; numpy has no bfloat16, which is the upper half of a float32."""
    if dtype == "bfloat16":
        data = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return framework.storage.from_bytes(data, dtype, array.shape)


def to_numpy(framework: Backend, array: Any, dtype: str) -> Array:
    """The entries in double precision. An array of another dtype than asked is refused: bytes would be misread."""
    kind = str(array.dtype).removeprefix("torch.")
    if kind != dtype:
        raise TNLayersError(f"{framework.name} made {kind} of a layer and an input of {dtype}.")
    data, shape = framework.storage.to_bytes(array), tuple(array.shape)
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64).reshape(shape)
    wide = np.complex128 if is_complex(dtype) else np.float64
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(wide).reshape(shape)


def _in_own_process(specs: Sequence[Spec], backend: str, dtypes: Sequence[str]) -> list[Difference]:
    """Check in a process of its own. Specs travel in files, whose networks need no code of the user's."""
    from tnlayers.cores.building import build
    from tnlayers.io import save

    extra = {key: value for dtype in dtypes for key, value in _OWN_PROCESS[backend, dtype].items()}
    environment = {**os.environ, **extra, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder:
        for number, spec in enumerate(specs):
            save(build(spec, "numpy", seed=None), Path(folder) / f"{number}.safetensors")
        code = "import sys; from tnlayers.verify.agreement import child; child(*sys.argv[1:])"
        command = [sys.executable, "-c", code, folder, str(len(specs)), backend, *dtypes]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TNLayersError(f"Checking {backend} with {extra} failed in its own process: {done.stderr.strip()[-2000:]}")
    return [Difference(**row) for row in json.loads(done.stdout)]


def needs_own_process(backend: str, dtype: str) -> bool:
    """Whether a backend has a dtype in processes alone that are started for it."""
    return (backend, dtype) in _OWN_PROCESS


def child(folder: str, count: str, backend: str, *dtypes: str) -> None:
    """What the process of its own does: check the specs of the files of a folder, and print the differences."""
    from tnlayers.io import header

    specs = [header(Path(folder) / f"{number}.safetensors").layers[0].spec for number in range(int(count))]
    found = [one for dtype in dtypes for spec in specs for one in check_layer(spec, backend, dtype)]
    print(json.dumps([asdict(one) for one in found]))
