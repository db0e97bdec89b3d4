"""Backends are found by name and by array, and layers move between all."""

import numpy as np
import pytest
import torch
from specs import MARKET, SUMS
from tnlayers_backends.base import Backend

import tnlayers as tnl
from tnlayers.backends import backend, backend_of, installed, known

jnp = pytest.importorskip("jax.numpy")
ROWS = MARKET | SUMS
SPEC = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"
BUILT_IN = ("numpy", "torch", "jax")


def plain(array):
    """An array of any backend in numpy; bfloat16 in float32, which holds it exactly."""
    if isinstance(array, torch.Tensor):
        array = array.detach()
        return (array.float() if array.dtype is torch.bfloat16 else array).numpy()
    return np.asarray(array, np.float32) if array.dtype == jnp.bfloat16 else np.asarray(array)


@pytest.mark.parametrize("name", BUILT_IN)
def test_records_say_what_the_facade_says(name):
    found = backend(name)
    assert isinstance(found, Backend)
    assert found.name == name
    for dtype in found.dtypes:
        if name == "jax" and dtype in ("float64", "complex128"):
            continue
        layer = tnl.build(SPEC, name, dtype=dtype)
        core = layer.cores["core_0"]
        assert str(core.dtype).removeprefix("torch.") == dtype
        assert backend_of(core) is found
        assert type(core).__module__.partition(".")[0] in found.arrays
    assert (found.vjp is None) == (name == "numpy")


def test_arrays_of_nobody_are_refused():
    with pytest.raises(tnl.TNLayersError, match=r"No backend takes a builtins\.list; pass arrays of .*numpy"):
        backend_of([1.0])


@pytest.mark.parametrize("target", BUILT_IN)
@pytest.mark.parametrize("source", BUILT_IN)
@pytest.mark.parametrize("name", ["mpo-bias", "sum-bias", "monarch"])
def test_to_backend_keeps_everything(name, source, target):
    layer = tnl.build(ROWS[name], source, seed=3)
    moved = tnl.to_backend(layer, target)
    assert backend_of(moved.cores[next(iter(moved.cores))]).name == target
    assert moved.spec == layer.spec
    assert list(moved.cores) == list(layer.cores)
    for core, copied in zip(layer.cores.values(), moved.cores.values(), strict=True):
        assert np.array_equal(plain(core), plain(copied))
    assert (moved.bias is None) == (layer.bias is None)
    if layer.bias is not None:
        assert np.array_equal(plain(layer.bias), plain(moved.bias))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("target", BUILT_IN)
@pytest.mark.parametrize("source", BUILT_IN)
def test_to_backend_keeps_the_dtype_or_refuses(source, target, dtype):
    if dtype == "bfloat16" and "numpy" in (source, target):
        if source != "numpy":
            with pytest.raises(tnl.TNLayersError, match="numpy has no dtype 'bfloat16'"):
                tnl.to_backend(tnl.build(SPEC, source, dtype=dtype), target)
        return
    layer = tnl.build(SPEC, source, seed=3, dtype=dtype)
    moved = tnl.to_backend(layer, target)
    for core, copied in zip(layer.cores.values(), moved.cores.values(), strict=True):
        assert str(copied.dtype).removeprefix("torch.") == dtype
        assert np.array_equal(plain(core), plain(copied))


def test_to_jax_in_64_bits_needs_its_flag():
    with pytest.raises(tnl.TNLayersError, match="jax_enable_x64"):
        tnl.to_backend(tnl.build(SPEC, "numpy", dtype="float64"), "jax")


@pytest.mark.parametrize("target", BUILT_IN)
@pytest.mark.parametrize("source", BUILT_IN)
def test_to_backend_keeps_a_pinned_plan(source, target):
    layer = tnl.build(SPEC, source)
    plan = tnl.plan(layer.spec, 7, optimize=[(0, 1)] * 3)
    changed = layer.use_plan(plan)
    layer = changed if source == "jax" else layer
    assert tnl.to_backend(layer, target).plan_for(1000) == plan


@pytest.mark.parametrize("name", BUILT_IN)
def test_to_backend_shares_no_memory(name):
    layer = tnl.build(SPEC, name)
    before = plain(layer.cores["core_0"]).copy()
    for target in ("numpy", "torch"):
        moved = tnl.to_backend(layer, target)
        with torch.no_grad():
            moved.cores["core_0"][...] = 0
        assert np.array_equal(plain(layer.cores["core_0"]), before)


@pytest.mark.parametrize("thing", [torch.Tensor, np.ones(3), "mpo", None])
def test_to_backend_refuses_what_is_no_layer(thing):
    with pytest.raises(tnl.TNLayersError, match="is neither a layer nor a module"):
        tnl.to_backend(thing, "numpy")


def test_the_known_backends():
    assert set(known()) >= set(BUILT_IN)
    assert set(installed()) >= set(BUILT_IN)
