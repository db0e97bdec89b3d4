"""Routes of convolutions are ranked by the rates of the layer's device, as all plans are, and kept by these rates."""

from dataclasses import replace

import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.machine import saved_rates
from tnlayers.machine.rates import GPU, Machine
from tnlayers.planning.conv_choice import plan_convolution
from tnlayers.pricing.convolutions import convolved_seconds, multiplied_seconds
from tnlayers.pricing.counts import Cost

framework("torch")

INPUT = (8, 64, 14, 14)
COST = Cost(flops=2 * 64 * 64 * 9 * 1568, bytes=10**6, copied=10**5, kept=10**5, result=10**5)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache folder of this test's own, in which plans are kept."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "1")
    saved_rates.machine.cache_clear()
    plan_convolution.cache_clear()
    yield tmp_path / "convolutions"
    saved_rates.machine.cache_clear()
    plan_convolution.cache_clear()


def planned(**keywords):
    return tnl.nn.TNConv2d(64, 64, 3, padding=1, network="lowrank(rank=4)", seed=0, **keywords).plan_for(INPUT)


def test_measured_rates_decide_and_are_part_of_the_name_of_what_is_kept(kept):
    first = planned()
    assert first.routes
    assert first.seconds < 0.9 * first.rebuilt_seconds
    assert len(list(kept.iterdir())) == 1
    saved_rates.write(saved_rates.machine_file(), replace(Machine(), seconds_per_call=1.0))
    second = planned()  # two steps take twice the calls of one convolution
    assert not second.routes
    assert second.seconds > 1.0
    assert len(list(kept.iterdir())) == 2


def test_another_device_has_rates_of_its_own(kept):
    layer = tnl.nn.TNConv2d(64, 64, 3, padding=1, network="lowrank(rank=4)", seed=0)
    asked = layer._conv.convolution, 8, INPUT[2:], layer._conv.rebuilt.rebuild, "forward"
    here, gpu, half = (
        plan_convolution(*asked, dtype, device)
        for dtype, device in (("float32", "cpu"), ("float32", "cuda A"), ("bfloat16", "cuda A"))
    )
    assert [plan.device for plan in (here, gpu, half)] == ["cpu", "cuda A", "cuda A"]
    assert half.rebuilt_seconds < gpu.rebuilt_seconds < here.rebuilt_seconds
    assert not gpu.routes  # its calls take longer than all of the arithmetic
    assert len(list(kept.iterdir())) == 3
    saved_rates.write(saved_rates.machine_file("cuda A"), replace(GPU, seconds_per_call=1e-9))
    assert plan_convolution(*asked, "float32", "cuda A", rates=saved_rates.machine("cuda A")).routes


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "rate", ["flops_per_second", "bytes_per_second", "cached_permuted_bytes_per_second", "seconds_per_call"]
)
def test_every_rate_is_in_the_estimate(rate, training):
    slower = replace(Machine(), **{rate: getattr(Machine(), rate) * (2 if rate.startswith("seconds") else 0.5)})
    ways = (
        lambda machine: convolved_seconds(machine, COST, (1, 64, 64), 9, training=training),
        lambda machine: multiplied_seconds(machine, COST, (8, 64, 64, 196), training=training),
    )
    for way in ways:
        assert way(slower) > way(Machine())


def test_few_channels_run_at_a_fraction_of_the_rate():
    """The same arithmetic between 2 channels and between 64: rounded up to vectors of 16, and short sides besides."""
    many, few = (
        convolved_seconds(Machine(), replace(COST, bytes=10, copied=0, result=1), (1, side, side), 9, training=False)
        for side in (64, 2)
    )
    assert few > 8 * 8 * many
