"""XLA's rates are measured, saved apart from the processor's, and decide the plans of layers on jax, and no others."""

import json
from dataclasses import asdict, replace

import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp
import numpy as np
from oracle import assert_close, oracle_forward

import tnlayers as tnl
from tnlayers import __main__ as command_line
from tnlayers.bench import calibration
from tnlayers.machine import saved_rates
from tnlayers.machine.rates import Machine

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"
XLA = "xla cpu"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "cache"))
    saved_rates.machine.cache_clear()
    yield lambda rates, device=XLA, dtype="float32": keep(saved_rates.machine_file(device, dtype), rates)
    saved_rates.machine.cache_clear()


def keep(file, rates):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"format": saved_rates.FORMAT, "rates": asdict(rates)}))
    saved_rates.machine.cache_clear()


def layers():
    return {name: tnl.build(SPEC, backend=name, seed=0) for name in ("numpy", "torch", "jax")}


def test_without_a_file_jax_plans_as_the_processor(kept):
    own = replace(Machine(), seconds_per_call=1e-3)
    kept(own, "cpu")
    assert saved_rates.machine(XLA) == saved_rates.machine(XLA, "bfloat16") == saved_rates.machine() == own
    made = layers()
    assert made["jax"].plan_for(32) == made["numpy"].plan_for(32, "training")
    assert made["jax"].plan_for(32).device == "cpu"


def test_saved_rates_decide_the_plans_of_jax_alone(kept):
    before = {name: layer.plan_for(32, "training") for name, layer in layers().items()}
    assert len({plan.path for plan in before.values()}) == 1
    assert before["jax"].cost.copied > 200_000
    copies = [name for name in asdict(Machine()) if "permuted" in name or "runs" in name]
    kept(replace(Machine(), **dict.fromkeys(copies, 2e8)))  # as slow as XLA on a busy machine
    after = {name: layer.plan_for(32, "training") for name, layer in layers().items()}
    assert after["numpy"] == before["numpy"]
    assert after["torch"] == before["torch"]
    plan = after["jax"]
    assert plan.device == XLA
    assert plan.cost.copied < before["jax"].cost.copied / 2
    assert plan == tnl.plan(SPEC, 32, objective="training", device=XLA)
    assert tnl.Plan.from_json(plan.to_json()) == plan

    layer = layers()["jax"]
    x = np.random.default_rng(0).standard_normal((32, 784)).astype(np.float32)
    products = str(jax.make_jaxpr(lambda layer, x: layer(x))(layer, x)).count("dot_general")
    assert products == sum(step.sizes is not None for step in plan.program.steps)
    expected = oracle_forward(layer.spec, [np.asarray(core) for core in layer.cores.values()], x)
    assert_close(jax.jit(layer)(x), expected, dtype="float32")


def test_half_precision_and_casts(kept):
    single, half = replace(Machine(), flops_per_second=1e12), replace(Machine(), flops_per_second=9e12)
    kept(single)
    layer = tnl.build(SPEC, backend="jax", seed=0)
    cast = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), layer)
    assert saved_rates.machine(XLA, "bfloat16") == single
    assert (cast.plan_for(8).device, cast.plan_for(8).dtype) == (XLA, "bfloat16")
    kept(half, dtype="bfloat16")
    assert saved_rates.machine(XLA, "bfloat16") == half
    assert saved_rates.machine() == Machine()


def test_saved_rates_decide_how_convolutions_are_run(kept):
    """Where calls are dear the kernel is rebuilt and applied once; with usual rates small convolutions are."""
    made = tnl.to_backend(tnl.nn.TNConv2d(64, 64, 3, network="mpo(cores=3, bond=2)", padding=1, seed=0), "numpy")
    x = np.random.default_rng(0).standard_normal((4, 64, 12, 12)).astype(np.float32)
    expected = made(x)
    layer = tnl.to_backend(made, "jax")

    def applies_the_whole_kernel():
        text = jax.jit(lambda layer, x: layer(x)).lower(layer, x).as_text()
        return any("stablehlo.convolution" in line and "64x64x3x3x" in line for line in text.splitlines())

    dear, usual = replace(Machine(), seconds_per_call=1.0), Machine()
    for rates, whole in ((dear, True), (usual, False), (dear, True)):
        kept(rates)
        kept(usual if whole else dear, "cpu")  # which decides nothing once XLA's are there
        assert applies_the_whole_kernel() == whole
        assert_close(layer(x), expected, dtype="float32", terms=64 * 9 * 2 * 2)  # the window, and two bonds
    saved_rates.machine_file(XLA).unlink()
    saved_rates.machine.cache_clear()
    assert not applies_the_whole_kernel()  # now as the processor


def test_a_plan_of_ones_own_is_run_whatever_the_rates(kept):
    kept(replace(Machine(), seconds_per_product=5e-5))
    plan = tnl.plan(SPEC, 8, optimize=[(0, 1), (0, 3), (0, 2), (0, 1)])
    layer = tnl.build(SPEC, backend="jax", seed=0).use_plan(plan)
    assert layer.plan_for(32) == plan


def test_the_command_measures_and_keeps(kept, monkeypatch, capsys):
    from tnlayers_backends.jax import rates

    for name, value in {"_SECONDS": 1e-3, "_LARGE": 2**16, "_MIDDLE": 2**15, "_SMALL": 2**14, "_SIDE": 64}.items():
        monkeypatch.setattr(rates, name, value)
    found = calibration.calibrate(backend="jax")
    assert all(value > 0 for value in asdict(found).values())
    assert found != Machine()
    assert saved_rates.machine(XLA) == found
    assert saved_rates.machine() == Machine()
    assert saved_rates.machine_file(XLA).name.endswith("-xla-cpu.json")

    monkeypatch.setattr(rates, "measure", lambda dtype: found)
    with pytest.raises(SystemExit) as end:
        command_line.main(["calibrate", "--backend", "jax", "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(saved_rates.machine_file(XLA))
    assert Machine(**told["half"]["rates"]) == found


@pytest.mark.parametrize(
    ("asked", "part"), [({"backend": "jxa"}, "jxa"), ({"backend": "jax", "device": "cuda"}, "cuda")]
)
def test_what_cannot_be_measured_is_refused(kept, asked, part):
    with pytest.raises(tnl.TNLayersError, match=part):
        calibration.calibrate(**asked)


def test_rates_follow_from_times_as_they_are_counted(kept, monkeypatch):
    """Of a made-up XLA whose times follow a machine's rules, the rates are those of that machine."""
    from tnlayers_backends.jax import rates

    truth = replace(Machine(), flops_per_second=2e11, side=6.0, seconds_per_product=3e-5, seconds_per_matrix=4e-7)
    launch = 1e-5

    def compiled(function, *arrays):
        shapes = [array.shape for array in jax.tree.leaves(arrays)]
        if function == rates.OPS.matmul and len(shapes[0]) == len(shapes[1]) == 2:
            (rows, summed), (_, columns) = shapes
            begun = truth.seconds_per_product if rows > 2 else 0.0  # tiny ones are no calls of their own
            taken = truth.product((1, rows, summed, columns)) - truth.seconds_per_product + begun
            return lambda: launch + taken
        if function == rates.OPS.matmul and shapes[1][0] == 512:
            return lambda: launch + 512 * truth.seconds_per_matrix
        return lambda: launch

    monkeypatch.setattr(rates, "_compiled", compiled)
    monkeypatch.setattr(rates, "_shortest", lambda run: run())
    found = rates.measure()
    assert found.flops_per_second == pytest.approx(truth.flops_per_second, rel=0.05)
    assert found.side == pytest.approx(truth.side, rel=0.2)
    assert found.seconds_per_product == pytest.approx(truth.seconds_per_product, rel=0.05)
    assert found.seconds_per_matrix == pytest.approx(truth.seconds_per_matrix, rel=1e-6)
