"""What a backend is: a few primitives on its arrays, and how a layer lives in its framework.

Third parties write one as the built-in ones are written, and name it in the entry-point group `tnlayers.backends`:
"Write a backend" in docs/backends.md has a whole one, on exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers.program.program import Array, Primitives


class Parts(NamedTuple):
    """A layer taken apart, on any backend.

    Attributes:
        kind: The kind of layer: "linear".
        keywords: What the kind needs beside the spec, as JSON can hold it.
        spec: The declaration.
        arrays: Cores, bias and whatever else the layer holds, by name.
        plan: The plan that every batch is pinned to; None where it is chosen by size. Files do not keep it.
    """

    kind: str
    keywords: Mapping[str, Any]
    spec: Spec
    arrays: Mapping[str, Array]
    plan: AnyPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How the layers and arrays of a backend travel to files and to other backends.

    Attributes:
        take_apart: The parts of a layer; raises TNLayersError for one that could not be put together again.
        put_together: The layer of such parts, which keeps the arrays as they are.
        to_bytes: The entries of an array, row-major and little-endian.
        from_bytes: An array from its entries, the name of its dtype ("float32", "bfloat16") and its shape; raises
            TNLayersError if the framework lacks the dtype.
        describe: A module, of one layer or of many, as a form (`tnlayers.forms`) and its arrays by name; raises
            TNLayersError with the reason where it cannot. None where the backend has single layers alone.
        make: The module of such a form and arrays. None where the backend has none.
    """

    take_apart: Callable[[Any], Parts]
    put_together: Callable[[Parts], Any]
    to_bytes: Callable[[Array], bytes]
    from_bytes: Callable[[bytes | bytearray, str, tuple[int, ...]], Array]
    describe: Callable[[Any], tuple[Any, Mapping[str, Array]]] | None = None
    make: Callable[[Any, Mapping[str, Array]], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How a backend times plans, for `tnl.plan(..., tune=True)`.

    Attributes:
        threads: How many threads it computes with; what was found is used again for the same number only.
        seconds: The shortest seconds of each plan's objective, on random numbers; all of one contraction and dtype.
    """

    threads: Callable[[], int]
    seconds: Callable[[Sequence[Plan]], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One numerical framework.

    Attributes:
        name: What `tnl.build(..., backend=name)` asks for, and the name of the entry point.
        arrays: Root modules of the types of its arrays: `jaxlib` for a `jaxlib._jax.ArrayImpl`.
        dtypes: Names of the dtypes that its layers can have.
        ops: The primitives that programs run on.
        build: Builds a layer: `build(spec, seed=0, dtype="float32")`, and further keywords of its own. The same seed
            draws the same cores on every backend; None takes the framework's own generator.
        storage: How its layers are saved, loaded and moved to another backend.
        vjp: `vjp(layer, x, grad_y)`: the output, and the gradients of sum(output * grad_y) by "x", by each core's name
            and by "bias" where there is one, without conjugation. None where the framework does not differentiate.
        clock: How it times plans; None where it does not. Tuning asks torch's.
        timed: One pass of a plan's objective on random numbers, finished when it returns, for `Plan.measure`; None
            where it has none.
    """

    name: str
    arrays: tuple[str, ...]
    dtypes: tuple[str, ...]
    ops: Primitives
    build: Callable[..., Any]
    storage: Storage
    vjp: Callable[[Any, Array, Array], tuple[Array, Mapping[str, Array]]] | None = None
    clock: Clock | None = None
    timed: Callable[[Plan], Callable[[], object]] | None = None


def linear_parts(layer: Any, known: type[Any], pinned: Callable[[Any], AnyPlan | None]) -> Parts:
    """The parts of a linear layer, for a backend that has no other kind.

    Args:
        layer: The layer.
        known: The backend's class of layers.
        pinned: Reads a layer's pinned plan.

    Raises:
        TNLayersError: If it is no layer of that class itself, such as a subclass of it.
    """
    if type(layer) is not known:
        raise TNLayersError(
            f"{type(layer).__qualname__} is no layer that tnlayers could put together again; it knows {known.__name__}."
        )
    bias = {} if layer.bias is None else {"bias": layer.bias}
    return Parts("linear", {}, layer.spec, {**layer.cores, **bias}, pinned(layer))


def check_linear(parts: Parts, backend: str) -> None:
    """Check that parts are those of a linear layer, for a backend that has no other kind.

    Raises:
        TNLayersError: If they are of another kind, or its arrays are not exactly the cores and the bias.
    """
    if parts.kind != "linear" or parts.keywords:
        raise TNLayersError(
            f"This is a layer of kind {parts.kind!r} with keywords {sorted(parts.keywords)}; {backend} has only "
            "'linear'. Use backend='torch'."
        )
    expected = [*parts.spec.shapes, *(["bias"] if parts.spec.bias else [])]
    if orders := sorted({"in_order", "out_place"} & set(parts.arrays)):
        raise TNLayersError(
            f"This layer carries orders of its features that a search found ({', '.join(orders)}), which {backend} has "
            "no place for. Use backend='torch', or decompose with orders=False."
        )
    if set(parts.arrays) != set(expected):
        raise TNLayersError(
            f"{str(parts.spec)[:120]} has the arrays {', '.join(expected)}, but given are {', '.join(parts.arrays)}."
        )
