"""Chunks and the planned backward pass on jax: values, gradients, and every transformation of jax.

Plans are the same on all backends; here one is pinned that walks a batch of 5 in chunks of 2 and a rest.
"""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax_cases import normal, on_devices, run, tangents, values, x64
from oracle import assert_close, oracle_forward, oracle_gradients
from specs import MARKET, SUMS

import tnlayers as tnl

ROWS = MARKET | SUMS
FEW = ("mpo-4", "mpo-padded", "monarch", "ring", "cp", "traced", "sum-bias")


def chunked(name, chunk=2, dtype="float32", batch=5):
    """A layer that walks every batch in chunks."""
    layer = tnl.build(ROWS[name], backend="jax", seed=5, dtype=dtype)
    plan = tnl.plan(layer.spec, batch, objective="training")
    terms = [replace(term, chunk=chunk) for term in plan.terms]
    return layer.use_plan(terms[0] if isinstance(plan, tnl.Plan) else replace(plan, terms=tuple(terms)))


@pytest.mark.parametrize(
    ("name", "dtype", "by_jax"),
    [
        *product(FEW, ["float32"], [False]),
        *product(["mpo-4"], ["float64", "complex64"], [False]),
        ("mpo-4", "float32", True),
    ],
)
def test_values_and_gradients(name, dtype, by_jax):
    with x64(dtype == "float64"):
        layer = chunked(name, dtype=dtype)
        spec, (cores, bias) = layer.spec, values(layer)
        x, grad_y = normal((5, spec.in_features), dtype), normal((5, spec.out_features), dtype, seed=2)
        y, (by_layer, by_x), _ = run(layer.forward_mode() if by_jax else layer, x, grad_y)
        assert_close(y, oracle_forward(spec, cores, x, bias), dtype=dtype)
        found = [by_x, *by_layer.cores.values(), *([] if bias is None else [by_layer.bias])]
        for gradient, expected in zip(found, oracle_gradients(spec, cores, x, grad_y), strict=bias is not None):
            assert_close(gradient, expected, dtype=dtype)


def test_the_comparison_has_teeth():
    layer = chunked("mpo-4")
    x, grad_y = normal((5, layer.spec.in_features), "float32"), normal((5, layer.spec.out_features), "float32", seed=2)
    _, (by_layer, _), _ = run(layer, x, grad_y)
    cores, _ = values(layer)
    cores[1] = cores[1] * 1.001
    with pytest.raises(AssertionError, match="off by"):
        assert_close(by_layer.cores["core_0"], oracle_gradients(layer.spec, cores, x, grad_y)[1], dtype="float32")


def operations(jaxpr):
    """Names of all operations of a program, those of its loops and functions too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                yield from operations(getattr(inner, "jaxpr", inner))


def test_the_backward_pass_is_the_planned_one():
    layer, x = chunked("mpo-4"), jnp.ones((5, 36))
    forms = (layer, layer.forward_mode(), layer.use_plan(None))  # of so small a layer no chosen plan has chunks
    found = [set(operations(jax.make_jaxpr(form)(x).jaxpr)) for form in forms]
    assert ["scan" in names for names in found] == [True, True, False]
    assert [any(name.startswith("custom_vjp") for name in names) for names in found] == [True, False, False]


def test_chunks_are_for_one_processor(monkeypatch):
    """Where the batch may be spread, or an accelerator wants it whole, chosen plans run as one; given ones as given."""
    text = "mpo(in=4x8x8x4, out=4x8x8x4, bond=16)"
    layer, x = tnl.build(text, backend="jax"), jax.ShapeDtypeStruct((32, 1024), jnp.float32)
    plan = layer.plan_for(32)
    assert plan.chunk is not None

    def walked(layer):
        return "scan" in set(operations(jax.make_jaxpr(lambda x: layer(x))(x).jaxpr))

    assert walked(layer)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert not walked(layer)
    assert walked(layer.use_plan(plan))


@pytest.mark.parametrize(
    "text",
    [
        "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
        "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)",
        "tree(in=8x8x8x8, out=8x8x8x8, bond=8)",
        "cp(in=8x8x8, out=8x8x8, rank=16) + lowrank(in=512, out=512, rank=4)",
    ],
)
def test_all_backends_plan_alike(text):
    layers = [tnl.build(text, backend=name) for name in ("numpy", "torch", "jax")]
    for batch, objective in product((1, 100, 128, 1024), ("forward", "training", "inference")):
        one, *others = (layer.plan_for(batch, objective) for layer in layers)
        assert one.objective == objective
        for other in others:
            assert other == one
            assert other.to_json() == one.to_json()


@pytest.mark.parametrize("leading", [(), (0,), (4,), (2, 0, 3), (3, 3)])
def test_any_leading_dimensions(leading):
    layer = chunked("mpo-padded", chunk=2)
    x = normal((*leading, layer.spec.in_features), "float32")
    assert_close(layer(x), oracle_forward(layer.spec, values(layer)[0], x), dtype="float32")
    gradient = jax.grad(lambda x: layer(x).sum())(jnp.asarray(x))
    ones = np.ones((*leading, layer.spec.out_features))
    assert_close(gradient, oracle_gradients(layer.spec, values(layer)[0], x, ones)[0], dtype="float32")


@pytest.mark.parametrize(
    ("dtype", "x_dtype"), [("bfloat16", "float32"), ("float32", "bfloat16"), ("float32", "complex64")]
)
def test_mixed_dtypes_are_those_of_plain_operations(dtype, x_dtype):
    layer = chunked("mpo-4", dtype=dtype)
    x = jnp.asarray(normal((5, 36), x_dtype if x_dtype == "complex64" else "float32"), x_dtype)

    def loss(layer, x):
        return jnp.sum(jnp.abs(layer(x)) ** 2).real

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    ours, plain = (gradient(one, x) for one in (layer, layer.use_plan(None)))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), ours[1]) == jax.tree.map(lambda a: (a.shape, a.dtype), plain[1])
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        assert a.dtype == b.dtype
        rounding = 8 * 2.0**-7 if "bfloat16" in (dtype, x_dtype) else 2.0**-18
        assert np.max(np.abs(np.asarray(a - b))) <= rounding * np.max(np.abs(np.asarray(b)))


def agree(ours, theirs):
    """The same arrays but for the rounding of derivatives of sums of squares in single precision."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert np.max(np.abs(a - b)) <= 2.0**-16 * np.max(np.abs(b))


def test_transformations_agree_with_plain_operations():
    layer = chunked("mpo-2")
    x, moved = jnp.asarray(normal((5, layer.spec.in_features), "float32")), tangents(layer)

    def outcomes(plan, layer, moved, x):
        def call(layer, x):
            return layer.use_plan(plan)(x)

        def loss(layer, x):
            return jnp.sum(call(layer, x) ** 2)

        def along(layer):
            return sum(map(jnp.vdot, jax.tree.leaves(gradient(layer, x)), jax.tree.leaves(moved)))

        gradient = jax.grad(loss)
        batches, layers = jnp.stack([x, 2 * x]), jax.tree.map(lambda a, b: jnp.stack([a, a + b]), layer, moved)
        yield jax.vmap(call, (None, 0))(layer, batches)
        yield jax.vmap(gradient, (None, 0))(layer, x)  # per example
        yield jax.vmap(gradient, (None, 0))(layer, batches)
        yield jax.vmap(gradient, (0, None))(layers, x)
        yield jax.jit(gradient)(layer, x)
        yield jax.grad(jax.checkpoint(loss), argnums=1)(layer, x)
        yield jax.lax.scan(lambda x, _: (x, gradient(layer, x)), x, length=2)[1]
        yield jax.grad(along)(layer)  # reverse over reverse
        yield jax.jvp(lambda layer: gradient(layer, x), (layer,), (moved,))  # forward over reverse
        yield jax.hessian(lambda x: loss(layer, x))(x[:3])
        yield jax.jacrev(lambda x: call(layer, x))(x[:3])

    in_chunks, at_once = (
        jax.jit(lambda *given, plan=plan: list(outcomes(plan, *given)))(layer, moved, x)
        for plan in (layer.map.pinned, replace(layer.map.pinned, chunk=None))
    )
    for ours, theirs in zip(in_chunks, at_once, strict=True):
        agree(ours, theirs)
    agree(jax.grad(lambda x: layer(x).sum())(x), jax.grad(lambda x: layer.use_plan(None)(x).sum())(x))  # without jit


def test_forward_mode_is_asked_for():
    layer = chunked("mpo-2")
    whole = replace(layer.map.pinned, chunk=None)
    moved, x = tangents(layer), jnp.asarray(normal((5, layer.spec.in_features), "float32"))

    def pushed(form):  # how a layer is taken before it is applied
        yield jax.jvp(lambda layer, x: form(layer)(x), (layer, x), (moved, 2 * x))
        yield jax.jit(lambda layer: jax.jvp(lambda layer: form(layer)(x), (layer,), (moved,)))(layer)
        yield jax.jvp(jax.jit(lambda x: form(layer)(x)), (x,), (2 * x,))
        yield jax.linearize(lambda layer: form(layer)(x), layer)[1](moved)
        yield jax.jacfwd(lambda x: form(layer)(x))(x[:3])

    for ours, theirs in zip(
        pushed(lambda one: one.forward_mode()), pushed(lambda one: one.use_plan(whole)), strict=True
    ):
        agree(ours, theirs)
    for call in (lambda: jax.jvp(layer, (x,), (x,)), lambda: jax.jacfwd(layer)(x)):
        with pytest.raises(
            tnl.TNLayersError, match=r"5 vectors that are processed 2 at a time.*layer\.forward_mode\(\)"
        ):
            call()
    for call in (lambda: jax.jvp(jax.jit(layer), (x,), (x,)), lambda: jax.linearize(layer, x)[1](x)):
        with pytest.raises(TypeError, match="forward-mode autodiff"):  # under a trace it is jax who tells
            call()


def test_export_with_a_symbolic_batch_runs_plain_operations():
    layer = chunked("mpo-4")
    asked = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), 36), jnp.float32)
    program = export.export(jax.jit(layer.apply))(layer.params, asked)
    for batch in (1, 5, 9):
        x = normal((batch, 36), "float32")
        assert_close(program.call(layer.params, x), oracle_forward(layer.spec, values(layer)[0], x), dtype="float32")


def test_memory_does_not_grow_with_the_batch():
    """The states of one chunk, and rows in and out: a compiled step of twice the batch takes no more states."""
    text = "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)"
    layer = tnl.build(text, backend="jax")

    def bytes_of(plan):
        call = jax.jit(jax.grad(lambda layer, x: layer.use_plan(plan)(x).sum(), (0, 1)))
        compiled = call.lower(layer, jax.ShapeDtypeStruct((128, 4096), jnp.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    plan = layer.plan_for(128)
    assert plan.chunk is not None
    assert bytes_of(plan) < 8e6 < 64e6 < bytes_of(replace(plan, chunk=None))


SEVERAL = """
import jax, jax.numpy as jnp, numpy as np
from dataclasses import replace
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import tnlayers as tnl
mesh = Mesh(np.array(jax.devices()), ("data",))
plan = replace(tnl.plan("mpo(in=3x4, out=2x5, bond=3)", 4, objective="training"), chunk=3)
layer = tnl.build("mpo(in=3x4, out=2x5, bond=3)", backend="jax", seed=3).use_plan(plan)
x = jnp.asarray(np.random.default_rng(1).standard_normal((8, 12)), jnp.float32)
grad = jax.jit(jax.grad(lambda layer, x: jnp.sum(layer(x) ** 2)))
wanted = jax.tree.leaves(grad(layer, x))
mapped = jax.shard_map(lambda layer, x: jax.tree.map(lambda g: jax.lax.psum(g, "data"), grad(layer, x)),
                       mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=False)
spread = jax.device_put(x, NamedSharding(mesh, P("data")))
halves = jax.pmap(grad, in_axes=(None, 0))(layer, x.reshape(2, 4, 12))
for found in (jax.jit(mapped)(layer, x), grad(layer, spread), jax.tree.map(lambda g: g.sum(0), halves)):
    for a, b in zip(jax.tree.leaves(found), wanted, strict=True):
        assert np.max(np.abs(a - b)) <= 6 * np.finfo(np.float32).eps * 10 * np.max(np.abs(b))
print("shards agree")
"""


def test_shards_walk_their_own_rows():
    printed, errors = on_devices(SEVERAL, 2)
    assert printed == "shards agree\n", errors
