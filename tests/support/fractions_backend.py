"""A whole tnlayers backend in one file: exact arithmetic on `fractions.Fraction` in lists of the standard library.

Install it under the entry-point group `tnlayers.backends` as `fractions = "fractions_backend:BACKEND"`.
"""

import struct
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
from tnlayers_backends.base import Backend, Parts, Storage, check_linear

from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError


class Exact:
    """An array of fractions in row-major order."""

    dtype = "float64"  # what it is written to files as

    def __init__(self, shape, entries):
        self.shape, self.entries = tuple(shape), entries

    @classmethod
    def of(cls, shape, entry):
        """The array with `entry(*position)` at each position."""
        return cls(tuple(shape), [entry(*at) for at in product(*map(range, shape))])

    @property
    def ndim(self):
        return len(self.shape)

    def __call__(self, *at):
        flat = 0
        for size, k in zip(self.shape, at, strict=True):
            flat = flat * size + k
        return self.entries[flat]

    def __add__(self, other):  # of equal shapes, or a bias
        return Exact.of(self.shape, lambda *at: self(*at) + other(*at[self.ndim - other.ndim :]))

    def __getitem__(self, key):  # the cut of padded features: y[..., :n] and w[:m, :n]
        cuts = [slice(None)] * (self.ndim - 1) + [key[-1]] if key[0] is Ellipsis else key
        return Exact.of([len(range(n)[cut]) for n, cut in zip(self.shape, cuts, strict=True)], self)


class FractionOps:
    """The primitives."""

    def reshape(self, array, shape):
        known = prod(size for size in shape if size != -1)
        return Exact(tuple(len(array.entries) // known if n == -1 else n for n in shape), array.entries)

    def permute(self, array, axes):
        inverse = sorted(range(len(axes)), key=axes.__getitem__)
        return Exact.of([array.shape[a] for a in axes], lambda *at: array(*(at[k] for k in inverse)))

    def matmul(self, left, right):  # of matrices, of stacks, or of one matrix and each of a stack
        stack = left.shape[:-2] or right.shape[:-2]

        def entry(*at):
            one, other = at[: left.ndim - 2], at[: right.ndim - 2]
            terms = (left(*one, at[-2], k) * right(*other, k, at[-1]) for k in range(left.shape[-1]))
            return sum(terms, Fraction())

        return Exact.of((*stack, left.shape[-2], right.shape[-1]), entry)

    def sum(self, array, axes):
        kept = [a for a in range(array.ndim) if a not in axes]
        totals = dict.fromkeys(product(*(range(array.shape[a]) for a in kept)), Fraction())
        for at in product(*map(range, array.shape)):
            totals[tuple(at[a] for a in kept)] += array(*at)
        return Exact(tuple(array.shape[a] for a in kept), list(totals.values()))

    def diagonal(self, array, axis1, axis2):
        first, second = sorted((axis1, axis2))
        kept = [n for a, n in enumerate(array.shape) if a not in (first, second)]

        def entry(*at):
            others, d = list(at[:-1]), at[-1]
            others.insert(first, d)
            others.insert(second, d)
            return array(*others)

        return Exact.of((*kept, array.shape[axis1]), entry)

    def pad(self, array, count):
        n = array.shape[-1]
        return Exact.of((*array.shape[:-1], n + count), lambda *at: array(*at) if at[-1] < n else Fraction())

    def eye(self, size, like):
        return Exact.of((size, size), lambda i, j: Fraction(int(i == j)))


class FractionLinear:
    """A layer is whatever lives well in the framework; it has these attributes, and is callable."""

    def __init__(self, linear, cores, bias):
        self.map, self.cores, self.bias = linear, cores, bias

    @property
    def spec(self):
        return self.map.spec

    def __call__(self, x):
        y = self.map.apply(OPS, x, list(self.cores.values()), self.plan_for(prod(x.shape[:-1])))
        return y if self.bias is None else y + self.bias

    def to_dense(self):
        return self.map.weight(OPS, list(self.cores.values()))

    weight = property(to_dense)

    def plan_for(self, batch):
        return self.map.plan_for(batch)

    def use_plan(self, plan):
        self.map = self.map.with_plan(plan)


def build(spec, *, seed=0, dtype="float64"):
    check_dtype(dtype)
    linear, rng = LinearMap(spec, dtype), np.random.default_rng(seed)
    arrays = draw_layer(linear.graphs, default_variance(spec.in_features), rng)
    if spec.bias:
        arrays["bias"] = draw_bias(spec.in_features, spec.out_features, rng)
    exact = {name: Exact(a.shape, [Fraction(v) for v in a.ravel().tolist()]) for name, a in arrays.items()}
    bias = exact.pop("bias", None)
    return FractionLinear(linear, exact, bias)


def check_dtype(dtype):
    if dtype != "float64":
        raise TNLayersError(f"Fractions travel as float64, not as {dtype!r}; build the layer with dtype='float64'.")


def take_apart(layer):
    bias = {} if layer.bias is None else {"bias": layer.bias}
    return Parts("linear", {}, layer.spec, {**layer.cores, **bias}, layer.map.pinned)


def put_together(parts):
    check_linear(parts, "fractions")
    cores = {name: parts.arrays[name] for name in parts.spec.shapes}
    return FractionLinear(LinearMap(parts.spec, "float64", pinned=parts.plan), cores, parts.arrays.get("bias"))


def to_bytes(array):
    return struct.pack(f"<{len(array.entries)}d", *array.entries)


def from_bytes(data, dtype, shape):
    check_dtype(dtype)
    return Exact(shape, [Fraction(value) for (value,) in struct.iter_unpack("<d", data)])


OPS = FractionOps()
BACKEND = Backend(
    name="fractions",
    arrays=("fractions_backend",),
    dtypes=("float64",),
    ops=OPS,
    build=build,
    storage=Storage(take_apart=take_apart, put_together=put_together, to_bytes=to_bytes, from_bytes=from_bytes),
)
