"""Functions of each entry (softmax: of the last axis) that models have between layers, by name."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

from tnlayers.program.program import Array


def _gelu(ops: Any, x: Array) -> Array:
    """X times the normal distribution's share below x (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return x * (0.5 * (ops.erf(x * sqrt(0.5)) + 1))


def _gelu_tanh(ops: Any, x: Array) -> Array:
    """The approximation of the same paper: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    return x * (0.5 * (ops.tanh((x + x * x * x * 0.044715) * sqrt(2 / pi)) + 1))


# Name -> the function: `function(ops, x)`.
ACTIVATIONS: dict[str, Callable[[Any, Array], Array]] = {
    "relu": lambda ops, x: ops.relu(x),
    "tanh": lambda ops, x: ops.tanh(x),
    "sigmoid": lambda ops, x: ops.sigmoid(x),
    "softmax": lambda ops, x: ops.softmax(x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda ops, x: x * ops.sigmoid(x),
}
