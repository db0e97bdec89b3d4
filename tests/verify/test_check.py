"""`check` finds every backend and dtype within the tolerance for every network type, and finds faults."""

import json
from dataclasses import replace

import numpy as np
import pytest
from oracle import oracle_forward, oracle_gradients
from specs import MARKET, SUMS, one_of_each_type

import tnlayers as tnl
from tnlayers.__main__ import main
from tnlayers.backends import backend, installed
from tnlayers.verify import agreement as check_module
from tnlayers.verify.agreement import check, check_layer
from tnlayers.verify.reference import expected_gradients, expected_output

ROWS = MARKET | SUMS
SPEC = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"


@pytest.fixture
def _compiled_quickly(monkeypatch):
    """Most of the time would go into XLA's optimisation of programs that run once."""
    import jax

    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("_compiled_quickly")
def test_every_network_type_on_every_backend_and_dtype():
    specs = one_of_each_type()
    found = check(specs)
    assert [one for one in found if not one.good] == []
    seen = {(one.spec, one.backend, one.dtype, one.quantity) for one in found}
    assert len(seen) == len(found)
    expected = {name: {"cores", "forward"} | ({"gradients"} if backend(name).vjp else set()) for name in installed()}
    assert seen == {
        (text, name, dtype, quantity)
        for text in map(str, specs)
        for name, quantities in expected.items()
        for dtype in backend(name).dtypes
        for quantity in quantities
    }
    worst = max(found, key=lambda one: one.units)
    assert 0 < worst.units < 1


@pytest.mark.parametrize("name", ROWS)
def test_the_reference_is_that_of_the_tests(name):
    """Two einsums of the declaration, written apart."""
    spec = tnl.spec(ROWS[name], bias=True)
    layer = tnl.build(spec, "numpy", dtype="complex128")
    rng = np.random.default_rng(3)
    x, grad_y = (rng.standard_normal((4, n)) + 1j for n in (spec.in_features, spec.out_features))
    cores = list(layer.cores.values())
    pairs = [(expected_output(spec, spec.graphs, layer.cores, x), oracle_forward(spec, cores, x))]
    found = expected_gradients(spec, spec.graphs, layer.cores, x, grad_y)
    theirs = oracle_gradients(spec, cores, x, grad_y)
    pairs += [(found[key], other) for key, other in zip(["x", *layer.cores, "bias"], theirs, strict=True)]
    for ours, other in pairs:
        np.testing.assert_allclose(ours.value, other.value, rtol=1e-11, atol=1e-12 * other.scale)
        assert ours.scale == pytest.approx(other.scale, rel=1e-9)
        assert ours.terms == other.terms


# Teeth


def altered(monkeypatch, name, **changes):
    """A backend with something wrong with it."""
    wrong = replace(backend(name), **changes)
    monkeypatch.setattr(check_module, "get_backend", lambda asked: wrong if asked == name else backend(asked))


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_a_perturbed_core_is_found(monkeypatch, name):
    def build(spec, **options):
        layer = tnl.to_backend(backend(name).build(spec, **options), "numpy")
        layer.cores["core_1"] = (layer.cores["core_1"] * 1.001).astype(np.float32)
        return tnl.to_backend(layer, name)

    altered(monkeypatch, name, build=build)
    found = {one.quantity: one for one in check_layer(tnl.spec(SPEC), name, "float32")}
    assert not found["cores"].good
    assert found["cores"].where == "core_1"
    assert found["forward"].good  # of the cores that it has


def test_a_wrong_program_is_found(monkeypatch):
    def build(spec, **options):
        layer = backend("numpy").build(spec, **options)

        class Wrong(type(layer)):
            def __call__(self, x):
                return super().__call__(x) * np.float32(1.001)

        layer.__class__ = Wrong
        return layer

    altered(monkeypatch, "numpy", build=build)
    found = {one.quantity: one for one in check_layer(tnl.spec(SPEC), "numpy", "float32")}
    assert found["cores"].good
    assert not found["forward"].good


@pytest.mark.parametrize("fault", ["wrong", "absent", "nan", "shape"])
def test_wrong_gradients_are_found(monkeypatch, fault):
    def vjp(layer, x, grad_y):
        y, found = backend("torch").vjp(layer, x, grad_y)
        core = found.pop("core_2")
        wrong = {"wrong": core * 1.001, "nan": core * float("nan"), "shape": core[None]}
        return y, found | ({"core_2": wrong[fault]} if fault in wrong else {})

    altered(monkeypatch, "torch", vjp=vjp)
    found = {one.quantity: one for one in check_layer(tnl.spec(SPEC), "torch", "float32")}
    assert found["forward"].good
    assert not found["gradients"].good
    assert found["gradients"].where == "core_2"


def test_another_dtype_than_asked_is_refused(monkeypatch):
    altered(monkeypatch, "numpy", build=lambda spec, seed, dtype: backend("numpy").build(spec, seed=seed))
    with pytest.raises(tnl.TNLayersError, match="numpy made float32 of a layer and an input of float64"):
        list(check_layer(tnl.spec(SPEC), "numpy", "float64"))


def test_a_failure_in_the_other_process_is_told(monkeypatch):
    monkeypatch.setattr(check_module, "_OWN_PROCESS", {("jax", "float64"): {"JAX_ENABLE_X64": "0"}})
    altered(monkeypatch, "jax", dtypes=("float64",))
    with pytest.raises(tnl.TNLayersError, match=r"(?s)failed in its own process.*jax_enable_x64"):
        check([tnl.spec(SPEC)], ["jax"])


# The command


def run(capsys, *arguments):
    """Exit status, output and errors of the command."""
    with pytest.raises(SystemExit) as caught:
        main(["check", *arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_the_command(capsys):
    code, out, _ = run(capsys, "mpo(cores=2, bond=3)", "--in", "12", "--out", "10", "--backend", "numpy")
    assert code == 0
    assert "mpo(in=3x4, out=2x5, bond=3)" in out or "mpo(" in out
    for part in ("complex128", "float16", "no gradients", "All within the tolerance."):
        assert part in out


def test_the_command_as_json(capsys):
    pytest.importorskip("torch", reason="two backends are asked for")
    code, out, _ = run(capsys, SPEC, "--backend", "numpy", "--backend", "torch", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["good"] is True
    assert {(one["backend"], one["dtype"]) for one in data["differences"]} >= {
        ("numpy", "complex64"),
        ("torch", "bfloat16"),
    }
    assert all(0 <= one["units"] <= 1 and one["good"] for one in data["differences"])


def test_the_command_fails_where_something_is_off(capsys, monkeypatch):
    def build(spec, **options):
        layer = backend("numpy").build(spec, **options)
        layer.cores["core_0"] = layer.cores["core_0"] * layer.cores["core_0"].dtype.type(1.01)
        return layer

    altered(monkeypatch, "numpy", build=build, dtypes=("float32", "float64"))
    code, out, _ = run(capsys, SPEC, "--backend", "numpy")
    assert code == 1
    assert "OFF" in out
    assert "(core_0)" in out
    code, out, _ = run(capsys, SPEC, "--backend", "numpy", "--json")
    assert code == 1
    assert json.loads(out)["good"] is False


def test_the_command_refuses_unknown_backends(capsys):
    code, _, err = run(capsys, SPEC, "--backend", "caffe")
    assert code == 2
    assert "no backend 'caffe'" in err
