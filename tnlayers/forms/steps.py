"""Forms of whole models: their forward pass as steps one after the other, each a module inside or a function by name.

    images ──► $0     call conv1 $0 ──► $1     relu $1 ──► $2     add $1 $2 ──► $3     ...

Steps hold numbers, texts, and references to what earlier ones gave. Functions are those of `FUNCTIONS`; a file names
them, and runs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from tnlayers.errors import TNLayersError
from tnlayers.forms import causal
from tnlayers.forms.activations import ACTIVATIONS
from tnlayers.forms.form import Runtime, Shape
from tnlayers.forms.ordinary import Flatten, Pool, multiplied
from tnlayers.forms.several import Several
from tnlayers.program.program import Array


@dataclass(frozen=True, slots=True)
class Ref:
    """What an earlier step gave, or an input: inputs are the first."""

    number: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        function: A name of `FUNCTIONS`; "call" for a module, "array" for an array of the model by name.
        args: Its arguments; the first of "call" and "array" is a name.
    """

    function: str
    args: tuple[Any, ...]


def _flatten(at: Runtime, x: Array, start: int, end: int) -> Array:
    return Flatten(start, end).apply(at, {}, x)


def _pool(at: Runtime, x: Array, reduction: str, *settings: tuple[int, ...]) -> Array:
    return Pool(reduction, *settings).apply(at, {}, x)


def _activation(name: str, at: Runtime, x: Array) -> Array:
    return ACTIVATIONS[name](at.ops, x)


def _permute(at: Runtime, x: Array, axes: tuple[int, ...]) -> Array:
    return at.ops.permute(x, tuple(axis % x.ndim for axis in axes))


def _unflatten(at: Runtime, x: Array, dim: int, sizes: tuple[int, ...]) -> Array:
    axis = dim % x.ndim
    return at.ops.reshape(x, (*x.shape[:axis], *_whole(x.shape[axis], sizes), *x.shape[axis + 1 :]))


def _whole(size: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes whose product is `size`, where one of them may be -1."""
    known = prod(part for part in parts if part != -1)
    if parts.count(-1) > 1 or known < 1 or size % known or (-1 not in parts and known != size):
        raise TNLayersError(f"An axis of {size} entries cannot be split into {parts}.")
    return tuple(size // known if part == -1 else part for part in parts)


def _transpose(at: Runtime, x: Array, first: int, second: int) -> Array:
    axes = list(range(x.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return at.ops.permute(x, tuple(axes))


# Name -> the function: `function(at, *args)`.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda at, a, b: a + b,
    **{name: partial(_activation, name) for name in ACTIVATIONS},
    "subtract": lambda at, a, b: a - b,
    "multiply": lambda at, a, b: a * b,
    "flatten": _flatten,
    "reshape": lambda at, x, shape: at.ops.reshape(x, tuple(shape)),
    "shape": lambda at, x: tuple(x.shape),
    "item": lambda at, values, key: values[key],
    "permute": _permute,
    "join": lambda at, arrays, axis: at.ops.join(list(arrays), axis % arrays[0].ndim),
    "pool": _pool,
    "linear": multiplied,
    "unflatten": _unflatten,
    "transpose": _transpose,
    "read_tokens": causal.read,
    "add_positions": causal.placed,
    "attend_causally": causal.causal,
}


@dataclass(frozen=True)
class Steps(Several):
    """A model: what it is called with, and its steps.

    Attributes:
        inputs: How many inputs it takes.
        steps: In order.
        output: What it gives: a reference, or a tuple of such.
        held: Arrays that steps read by name, which belong to no part: name and shape.
        tied: Names of arrays that are one and the same as another's: (name, the other).
    """

    kind = "steps"
    inputs: int = 1
    steps: tuple[Step, ...] = ()
    output: Any = None
    held: tuple[tuple[str, Shape], ...] = ()
    tied: tuple[tuple[str, str], ...] = ()

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """What steps read by name."""
        return dict(self.held)

    @property
    def shapes(self) -> dict[str, Shape]:
        """All arrays; tied ones once."""
        other = dict(self.tied)
        return {name: shape for name, shape in super().shapes.items() if name not in other}

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Run the steps."""
        if len(inputs) != self.inputs or options:
            raise TNLayersError(f"This model takes {self.inputs} inputs by place; it was called with {len(inputs)}.")
        full = dict(arrays) | {alias: arrays[name] for alias, name in self.tied}
        found = list(inputs)
        for step in self.steps:
            args = _filled(step.args, found)
            if step.function == "call":
                found.append(self.run_child(at, full, *args))
            elif step.function == "array":
                found.append(full[args[0]])
            else:
                found.append(FUNCTIONS[step.function](at, *args))
        return _filled(self.output, found)


def _filled(value: Any, found: list[Any]) -> Any:
    """Arguments with what steps gave in the place of references."""
    if isinstance(value, Ref):
        return found[value.number]
    return tuple(_filled(one, found) for one in value) if isinstance(value, tuple) else value
