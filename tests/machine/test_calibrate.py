"""Rates are measured, kept per user, read back, and decide plans; without them plans are those of the defaults."""

import json
from dataclasses import asdict, fields, replace
from functools import partial

import pytest

import tnlayers as tnl
from tnlayers import __main__ as command_line
from tnlayers.bench import calibration
from tnlayers.machine import saved_rates
from tnlayers.machine.rates import GPU, GPU_HALF, Machine, default_machine
from tnlayers.pricing.seconds import Estimator

SPEC = "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "cache"))
    saved_rates.machine.cache_clear()
    yield saved_rates.machine_file()
    saved_rates.machine.cache_clear()


def keep(file, rates):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"format": saved_rates.FORMAT, "rates": asdict(rates)}))
    saved_rates.machine.cache_clear()


def test_defaults_without_a_file(kept):
    assert saved_rates.machine() == Machine()


def test_kept_rates_decide_plans(kept):
    default = tnl.plan(SPEC, 128, objective="training")
    assert default.chunk is not None
    roomy = replace(Machine(), bytes_per_second=1e12, fresh_bytes_per_second=1e12)
    keep(kept, roomy)
    assert saved_rates.machine() == roomy
    other = tnl.plan(SPEC, 128, objective="training")
    assert other.chunk is None  # where new memory costs nothing, computing the states again does not pay


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "tnlayers.machine/1", "rates": {}}', '{"format": "x"}'])
def test_a_broken_file_is_told_and_not_used(kept, text):
    kept.parent.mkdir()
    kept.write_text(text)
    with pytest.warns(tnl.TNLayersWarning, match=r"holds no rates.*calibrate"):
        assert saved_rates.machine() == Machine()


def test_rates_below_zero_are_refused(kept):
    keep(kept, replace(Machine(), side=-1.0))
    with pytest.raises(tnl.TNLayersError, match="all above zero"):
        saved_rates.read(kept)


def test_where_they_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("TNLAYERS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert saved_rates.machine_file().parent == tmp_path / "tnlayers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert saved_rates.machine_file().parent == tmp_path / ".cache" / "tnlayers"


def test_the_command_measures_and_keeps(kept, monkeypatch, capsys):
    rates = pytest.importorskip("tnlayers_backends.torch.measure.rates")
    monkeypatch.setattr(rates, "_SECONDS", 0.002)
    monkeypatch.setattr(rates, "_LARGE", 2**18)
    monkeypatch.setattr(rates, "_LARGEST", 2**18)
    with pytest.raises(SystemExit) as end:
        command_line.main(["calibrate", "--json"])
    assert not end.value.code
    message = json.loads(capsys.readouterr().out)
    assert message["file"] == str(kept)
    assert saved_rates.machine() == saved_rates.read(kept) == Machine(**message["rates"])
    assert saved_rates.machine("cpu", "bfloat16") == Machine(**message["half"]["rates"]) != saved_rates.machine()
    measured = asdict(saved_rates.machine())
    assert all(measured[field.name] > 0 for field in fields(Machine))
    assert measured["flops_per_second"] != Machine().flops_per_second
    with pytest.raises(SystemExit):
        command_line.main(["calibrate"])
    out = capsys.readouterr().out
    assert "flops_per_second" in out
    assert str(kept.name) in out.replace("\n", "")


def test_calls_are_measured_as_they_are_counted(monkeypatch):
    """Where all else is free, the constants found from the estimates of a few layers are those that made them."""
    torch = pytest.importorskip("torch")
    calls = pytest.importorskip("tnlayers_backends.torch.measure.calls")
    seconds = {"layer": 5e-6, "training": 3e-5, "recorded": 7e-6, "function": 4e-5, "entry": 9e-6}
    seconds |= {"chunk_call": 6e-6, "call": 2e-6}
    own = {f"seconds_per_{name}": value for name, value in seconds.items()}
    free = {field.name: 1e30 for field in fields(Machine) if field.name.endswith("bytes_per_second")}
    names = ("seconds_per_product", "seconds_per_matrix", "seconds_per_sum")
    truth = replace(Machine(), **own, **free, flops_per_second=1e30, **dict.fromkeys(names, 1e-30))

    def estimated(objective, like, cores, rows=1, chunk=None):
        plan = calls._layer(like, cores, rows, objective, chunk).plan_for(rows)
        return lambda: Estimator(plan.program, plan.contraction, 4, objective, truth).seconds(plan.chunk)

    monkeypatch.setattr(calls, "_inference", partial(estimated, "inference"))
    monkeypatch.setattr(calls, "_training", partial(estimated, "training"))
    start = replace(Machine(), seconds_per_call=truth.seconds_per_call)
    found = calls.with_calls(start, torch.ones(()), lambda run: run())
    assert {name: getattr(found, name) for name in own} == pytest.approx(own, rel=1e-6)


def test_a_folder_that_cannot_be_made_is_refused(monkeypatch, tmp_path):
    rates = pytest.importorskip("tnlayers_backends.torch.measure.rates")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(rates, "measure", lambda device, dtype: Machine())
    with pytest.raises(tnl.TNLayersError, match=r"cannot be kept.*TNLAYERS_CACHE"):
        calibration.calibrate()


def test_a_gpu_has_rates_of_its_own(kept):
    name = "cuda NVIDIA H100 80GB HBM3"
    assert default_machine() == Machine()
    assert saved_rates.machine(name) == default_machine(name) == GPU
    assert saved_rates.machine(name, "bfloat16") == saved_rates.machine(name, "float16") == GPU_HALF
    assert saved_rates.machine("cpu", "bfloat16") == saved_rates.machine() == Machine()
    measured = replace(GPU, flops_per_second=1e13)
    keep(saved_rates.machine_file(name), measured)
    assert saved_rates.machine(name) == measured
    assert saved_rates.machine(name, "bfloat16") == GPU_HALF
    assert saved_rates.machine("cuda another") == GPU


def test_a_processor_without_rates_in_half_precision_has_those_of_single(kept):
    single, half = (replace(Machine(), flops_per_second=rate) for rate in (1e12, 9e12))
    keep(kept, single)
    assert saved_rates.machine("cpu", "bfloat16") == single
    keep(saved_rates.machine_file("cpu", "bfloat16"), half)
    assert saved_rates.machine("cpu", "bfloat16") == half
    assert saved_rates.machine("cpu", "float64") == saved_rates.machine("cpu", "float16") == single


def test_matrices_that_are_written_out_along_a_stack_are_paid_for(kept):
    half = saved_rates.machine_file("cpu", "bfloat16")
    asked = {"batch": 128, "objective": "training", "dtype": "bfloat16"}
    keep(half, replace(Machine(), flops_per_second=1e12))
    before = tnl.plan(SPEC, **asked)
    cheap = before.seconds
    assert any(link.spread for link in before.sweep.chain.links)
    keep(half, replace(Machine(), flops_per_second=1e12, repeated_bytes_per_second=1e7))
    after = tnl.plan(SPEC, **asked)
    assert after != before
    assert cheap < after.seconds < before.seconds


def test_entering_chunks_is_paid_for_in_inference(kept):
    assert tnl.plan(SPEC, 128, objective="inference").chunk is not None
    keep(kept, replace(Machine(), seconds_per_entry=1.0))
    assert tnl.plan(SPEC, 128, objective="inference").chunk is None


def test_what_is_a_little_too_large_for_the_cache_is_found_there_in_part():
    rates = Machine(cache_bytes=1000, cached_bytes_per_second=80.0, bytes_per_second=20.0)
    assert [rates.share_at_hand(used) for used in (0, 1000, 1500, 2000, 9000)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    all_near, half, all_far = (rates.move(20, 4, cached=share) for share in (1.0, 0.5, 0.0))
    assert (all_near, half, all_far) == pytest.approx((1.0, 2.5, 4.0))


def test_plans_for_a_gpu_make_few_large_calls(kept):
    here, there = (tnl.plan(SPEC, 128, objective="training", device=device) for device in ("cpu", "cuda any"))
    assert here.chunk is not None
    assert there.chunk is None
    assert len(there.program.steps) <= len(here.program.steps)
    assert there.seconds < here.seconds
    assert tnl.Plan.from_json(there.to_json()).seconds == there.seconds
    with pytest.raises(tnl.TNLayersError, match="on the processor"):
        tnl.plan(SPEC, 128, device="cuda", tune=True)


@pytest.mark.parametrize("device", ["cuda:7", "meta", "nowhere"])
def test_a_device_that_is_not_there_is_refused(kept, device):
    pytest.importorskip("torch")
    with pytest.raises(tnl.TNLayersError, match=device):
        calibration.calibrate(device)


def test_a_layer_that_moves_plans_anew(kept, monkeypatch):
    pytest.importorskip("torch")
    from tnlayers_backends.torch.layers import cores as held

    layer = tnl.build(SPEC)
    before = layer.plan_for(1)
    layer.double()
    assert layer.plan_for(1) is before
    monkeypatch.setattr(held, "device_name", lambda device: "cuda any")
    layer.to("meta")
    assert layer.plan_for(1).device == "cuda any"
    assert layer.plan_for(1, "training").device == "cuda any"
