"""The oracle: a declaration as one float64 numpy einsum, and the comparison that every test of values uses.

Nothing here knows tnlayers' planner, layouts or programs: only the graph's cores, indices and sizes.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

# |a - b| <= FACTOR * eps * sqrt(terms) * scale. Rounding in a sum of `terms` products walks at random: its error is
# sqrt(terms) * eps times the size of the sum. FACTOR leaves room for the largest of many entries.
FACTOR = 6.0
_EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
_EPS |= {"complex128": _EPS["float64"], "complex64": _EPS["float32"]}
# Index assignments up to which numpy's einsum runs without any path: one running sum, whose rounding grows with the
# number of its terms, beyond what a plan of small products is allowed.
_PLAIN_UP_TO = 2_000


@dataclass(frozen=True)
class Expected:
    """A value in float64 (or complex128), and what its rounding error is measured by.

    `scale` is the root of the largest sum of squared terms: the size an entry has by chance, whatever cancels.
    """

    value: np.ndarray
    scale: float
    terms: int

    def __getitem__(self, key):
        return Expected(self.value[key], self.scale, self.terms)

    def reshape(self, *shape):
        return Expected(self.value.reshape(*shape), self.scale, self.terms)


def wide(array):
    """The array in float64, or in complex128 if it is complex."""
    array = np.asarray(array)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def einsum64(operands, output, terms):
    """One numpy einsum of (array, indices) pairs, and the scale of its terms."""
    arrays = [(wide(array), list(indices)) for array, indices in operands]
    sizes = {i: n for array, indices in arrays for i, n in zip(indices, array.shape, strict=True)}
    # numpy's own greedy path, without its default limit on memory, which would make it one slow loop.
    optimize = ("greedy", 2**60) if prod(sizes.values()) > _PLAIN_UP_TO else False

    def run(of):
        flat = [part for array, indices in arrays for part in (of(array), indices)]
        return np.asarray(np.einsum(*flat, list(output), optimize=optimize))

    value = run(lambda array: array)
    squares = run(lambda array: np.abs(array) ** 2)
    return Expected(value, float(np.sqrt(np.max(squares, initial=0.0))), terms)


def terms_of(graph, batch=1):
    """How many products are summed on the way to one entry: what each core sums where the input is carried through.

    Plans that rebuild the weight sum over all input features at once; those of gradients sum over batch and outputs.
    """
    ways = [prod(graph.sizes[i] for i in core.indices) for core in graph.cores]
    return sum(ways) + prod(graph.in_modes) + prod(graph.out_modes) + batch


def _indices(graph):
    batch = len(graph.sizes)
    return [batch, *graph.inputs], [batch, *graph.outputs], [list(core.indices) for core in graph.cores]


def per_term(spec, cores):
    """Each network of a layer with its own cores: one, or the terms of a sum."""
    cores, start = list(cores), 0
    for part in spec.parts:
        n = len(part.graph.cores)
        yield part, cores[start : start + n]
        start += n


def added(found):
    """The sum of independent values: their scales add as squares do."""
    found = list(found)
    scale = float(np.sqrt(sum(e.scale**2 for e in found)))
    return Expected(sum(e.value for e in found), scale, max(e.terms for e in found))


def oracle_weight(spec, cores):
    """The weight (out_features, in_features)."""
    return added(_weight(part, own) for part, own in per_term(spec, cores))


def _weight(spec, cores):
    """The weight of one network; an index that is input and output at once gets an identity matrix."""
    graph = spec.graph
    fresh = {old: len(graph.sizes) + 1 + k for k, old in enumerate(i for i in graph.inputs if i in graph.outputs)}
    operands = [(core, c.indices) for core, c in zip(cores, graph.cores, strict=True)]
    operands += [(np.eye(graph.sizes[old]), [new, old]) for old, new in fresh.items()]
    output = [*(fresh.get(i, i) for i in graph.outputs), *graph.inputs]
    w = einsum64(operands, output, terms_of(graph))
    return w.reshape(prod(graph.out_modes), prod(graph.in_modes))[: spec.out_features, : spec.in_features]


def oracle_forward(spec, cores, x, bias=None):
    """The layer's output for x of shape (..., in_features)."""
    y = added(_forward(part, own, wide(x)) for part, own in per_term(spec, cores))
    if bias is None:
        return y
    b = wide(bias)
    return Expected(y.value + b, y.scale + float(np.max(np.abs(b))), y.terms)


def _forward(spec, cores, x):
    graph = spec.graph
    leading = x.shape[:-1]
    ins, outs, core_indices = _indices(graph)
    operands = [(_padded(spec, x).reshape(-1, *graph.in_modes), ins), *zip(cores, core_indices, strict=True)]
    y = einsum64(operands, outs, terms_of(graph))
    return y.reshape(*leading, prod(graph.out_modes))[..., : spec.out_features]


def oracle_gradients(spec, cores, x, grad_y):
    """Gradients of sum(y * grad_y): of x, of each core in order, and of a bias; each is an einsum of all the others.

    Complex values are not conjugated, as in jax; torch gives the conjugate, for a conjugated grad_y.
    """
    x, grad_y = wide(x), wide(grad_y)
    found = [_gradients(part, own, x, grad_y) for part, own in per_term(spec, cores)]
    flat = grad_y.reshape(-1, spec.out_features)
    scale = float(np.sqrt(np.max(np.sum(np.abs(flat) ** 2, axis=0), initial=0.0)))
    bias = Expected(flat.sum(axis=0), scale, len(flat) + 1)
    return [added(grads[0] for grads in found), *(g for grads in found for g in grads[1:]), bias]


def _gradients(spec, cores, x, grad_y):
    """Of x and of the cores of one network."""
    graph = spec.graph
    ins, outs, core_indices = _indices(graph)
    surplus = prod(graph.out_modes) - spec.out_features
    g = np.pad(grad_y.reshape(-1, spec.out_features), [(0, 0), (0, surplus)]).reshape(-1, *graph.out_modes)
    operands = [(g, outs), (_padded(spec, x).reshape(-1, *graph.in_modes), ins)]
    operands += zip(cores, core_indices, strict=True)
    terms = terms_of(graph, batch=len(g))
    found = []
    for k in range(1, len(operands)):
        array, indices = operands[k]
        found.append(_gradient(operands[:k] + operands[k + 1 :], indices, np.shape(array), len(graph.sizes), terms))
    grad_x = found[0].reshape(len(g), prod(graph.in_modes))[:, : spec.in_features].reshape(*x.shape)
    return [grad_x, *found[1:]]


def _gradient(others, indices, shape, highest, terms):
    """The derivative by an operand; repeated or otherwise absent indices get identities and ones."""
    fresh, extra = [], []
    seen = {i for _, listed in others for i in listed}
    top = highest + 1
    for axis, i in enumerate(indices):
        if i not in fresh and indices.index(i) == axis:
            if i not in seen:
                extra.append((np.ones(shape[axis]), [i]))
            fresh.append(i)
        else:
            top += 1
            extra.append((np.eye(shape[axis]), [i, top]))
            fresh.append(top)
    return einsum64([*others, *extra], fresh, terms)


def _padded(spec, x):
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, spec.pad_in)])


def assert_close(actual, expected, *, dtype, terms=None, scale=None):
    """Shape, dtype, finiteness, then |actual - expected| <= FACTOR * eps(dtype) * sqrt(terms) * scale.

    `expected` is an `Expected`, or an array with `terms` (and `scale`, by default its largest entry) beside it.
    """
    if not isinstance(expected, Expected):
        value = wide(expected)
        scale = float(np.max(np.abs(value), initial=0.0)) if scale is None else scale
        assert terms is not None, "say how many terms are summed"
        expected = Expected(value, scale, terms)
    name = str(actual.dtype).removeprefix("torch.")
    assert tuple(actual.shape) == expected.value.shape, f"shape {tuple(actual.shape)}, not {expected.value.shape}"
    assert name == dtype, f"dtype {name}, not {dtype}"
    found = _as_wide(actual)
    assert np.isfinite(found).all(), "not finite"
    assert np.isfinite(expected.value).all(), "the expected value is not finite"
    allowed = FACTOR * _EPS[dtype] * np.sqrt(expected.terms) * expected.scale
    worst = float(np.max(np.abs(found - expected.value), initial=0.0))
    assert worst <= allowed, f"off by {worst:.3g}, allowed {allowed:.3g} (scale {expected.scale:.3g})"


def _as_wide(array):
    if type(array).__module__.partition(".")[0] == "torch":
        array = array.detach().resolve_conj()
        array = (array if array.is_complex() else array.double()).numpy()
    return wide(array)
