"""Models that something else holds on to: no module is put in another's place there."""

from __future__ import annotations

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn
dist = pytest.importorskip("torch.distributed")


@pytest.fixture
def group():
    if not dist.is_available() or dist.is_initialized():
        pytest.skip("no process group can be made")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def model():
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))


CHANGES = {
    "compress": lambda one: tnl.compress(one, ratio=0.5, network="lowrank"),
    "compress in place": lambda one: tnl.compress(one, ratio=0.5, network="lowrank", inplace=True),
    "adapt": lambda one: tnl.adapt(one, "*0", "mpo(bond=2, cores=2)"),
    "merge": tnl.merge_adapters,
    "quantise": lambda one: tnl.quantise(one, bits=8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_wrapped_models_are_refused_and_the_model_inside_is_not(group, change):
    inside = model() if change != "merge" else tnl.adapt(model(), "0", "mpo(bond=2, cores=2)")
    wrapped = nn.parallel.DistributedDataParallel(inside)
    before = [name for name, _ in wrapped.named_parameters()]
    for given in (wrapped, nn.Sequential(wrapped)):
        with pytest.raises(tnl.TNLayersError, match=r"DistributedDataParallel, which goes on to hold.*model\.module"):
            quiet(lambda given=given: CHANGES[change](given))
    assert [name for name, _ in wrapped.named_parameters()] == before
    assert quiet(lambda: CHANGES[change](wrapped.module)) is not None


@pytest.mark.filterwarnings("ignore:FSDP is switching")
def test_sharded_models_are_refused(group):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    wrapped = fsdp.FullyShardedDataParallel(model(), device_id=torch.device("cpu"), use_orig_params=True)
    with pytest.raises(tnl.TNLayersError, match="is a FullyShardedDataParallel, which goes on to hold"):
        quiet(lambda: tnl.compress(wrapped, ratio=0.5, network="lowrank", inplace=True))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "make", [lambda one: torch.jit.script(one), lambda one: torch.jit.trace(one, torch.ones(2, 32))]
)
def test_scripted_models_are_refused(make):
    for change in ("compress", "compress in place", "adapt"):
        with pytest.raises(tnl.TNLayersError, match="its code is compiled, and no module in it can be replaced"):
            quiet(lambda change=change: CHANGES[change](make(model())))
    mixed = nn.Sequential(make(model()), nn.Linear(32, 32))
    x = torch.randn(3, 32)
    result = quiet(lambda: tnl.compress(mixed, error=1e-6, network="mpo", inplace=True))
    torch.testing.assert_close(result.model(x), mixed(x))
