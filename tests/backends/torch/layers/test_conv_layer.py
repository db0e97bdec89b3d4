"""`tnl.nn.TNConv1d`, `2d`, `3d` behave as torch's convolutions do wherever code meets one; views and plans."""

import copy
import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import specs  # noqa: F401  # declares networks that are named here
import torch
from conv_cases import assert_layer, forced, inputs, small
from oracle import assert_close, oracle_forward
from oracle_conv import arrays, oracle_conv
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tnlayers as tnl
from tnlayers.planning.conv_search import RouteSearch

PAIRS = {1: (tnl.nn.TNConv1d, nn.Conv1d), 2: (tnl.nn.TNConv2d, nn.Conv2d), 3: (tnl.nn.TNConv3d, nn.Conv3d)}


@pytest.mark.parametrize("dims", PAIRS)
def test_arguments_stand_as_in_torch(dims):
    ours, theirs = (list(inspect.signature(kind).parameters) for kind in PAIRS[dims])
    assert ours[: len(theirs)] == theirs


@pytest.mark.parametrize("dims", PAIRS)
@pytest.mark.parametrize("groups", [1, 2])
def test_every_dimension(dims, groups):
    kind, dense_kind = PAIRS[dims]
    layer = kind(4, 6, 3, 2, 1, 1, groups, network="mpo(cores=2, bond=2)", seed=0, dtype=torch.float64)
    x = inputs(layer, (5, 4, 5), dtype="float64")
    layer.use_plan(forced(layer, x))
    assert_layer(layer, x, "float64")
    dense = layer.to_conv()
    assert type(dense) is dense_kind
    assert layer.weight.shape == dense.weight.shape == (6, 4 // groups, *[3] * dims)
    x = torch.from_numpy(x)
    torch.testing.assert_close(dense(x), layer(x))
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        assert getattr(layer, name) == getattr(dense, name), name


def test_unbatched_empty_and_strided_inputs():
    layer = small()
    x = torch.from_numpy(inputs(layer))
    assert torch.equal(layer(x[0]), layer(x[:1])[0])
    assert layer(x[:0]).shape == (0, 6, 6, 7)
    layer.use_plan(forced(layer, x.numpy()))
    assert layer(x[:0]).shape == (0, 6, 6, 7)
    for strided in (x.movedim(1, -1).contiguous().movedim(-1, 1), x[:, :, ::2], x.expand(3, 4, 6, 7)):
        assert_close(layer(strided), oracle_conv(layer, strided.numpy()), dtype="float32")


def routes(search, state):
    """Every complete route of a network."""
    if len(state.applied) == len(search.kernel.cores):
        yield state
    rest = tuple(k for k in range(len(search.kernel.cores)) if k not in state.applied)
    for group in {g for g in search.groups if state.applied.isdisjoint(g)} | ({rest} if rest else set()):
        longer = search._apply(state, group)
        if longer is not None:
            yield from routes(search, longer)


@pytest.mark.parametrize("network", ["mpo(cores=1, bond=3)", "cp_by_hand(in=3x2x4, out=6, rank=3)"])
def test_every_route_gives_the_same(network, monkeypatch):
    layer = tnl.nn.TNConv2d(4, 6, (3, 2), (2, 1), 1, network=network, seed=0, dtype=torch.float64)
    x = inputs(layer, dtype="float64")
    finished = []
    monkeypatch.setattr(RouteSearch, "_finish", lambda self, state: finished.append((self, state)))
    plan = forced(layer, x)
    monkeypatch.undo()
    ((search, best),) = finished
    assert not plan.routes
    start = replace(best, applied=frozenset(), axes=best.moves[0].axes, spatial=(6, 7), moves=(), seconds=0.0)
    expected, seen = oracle_conv(layer, x), 0
    for state in routes(search, start):
        layer.use_plan(replace(plan, routes=(search._finish(state),)))
        assert_close(layer(torch.from_numpy(x)), expected, dtype="float64")
        assert state.seconds >= best.seconds - 1e-12
        seen += 1
    assert seen >= 10


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rebuilt", [True, False])
def test_stated_flops_are_those_that_torch_counts(groups, rebuilt):
    layer = small(groups=groups)
    x = inputs(layer, batch=4)
    plan = layer._conv.rebuilt if rebuilt else forced(layer, x)
    plan = replace(plan, batch=4, spatial=x.shape[2:])
    layer.use_plan(plan)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.from_numpy(x))
    assert counter.get_total_flops() == plan.cost.flops


def test_plans_follow_the_input_and_print():
    layer = tnl.nn.TNConv2d(64, 64, 3, padding=1, network="low_rank(in=576, out=64, rank=8)", seed=0)
    plan = layer.plan_for((8, 64, 32, 32))
    assert plan is layer.plan_for((7, 64, 32, 32))
    assert [len(route.steps) for route in plan.routes] == [
        2
    ]  # 64 -> 8 channels by 3 x 3, then 8 -> 64 at each position
    assert plan.cost.flops < plan.dense.flops / 5
    text = str(plan)
    assert "input 8 x 32x32" in text
    assert "conv 3x3" in text
    assert f"{plan.cost.flops / plan.dense.flops:.3g}x the dense convolution's flops" in text
    wide = tnl.nn.TNConv2d(16, 16, 3, network="mpo(cores=2, bond=32)", seed=0)
    assert not wide.plan_for((8, 16, 8, 8)).routes
    assert "rebuild the kernel" in str(wide.plan_for((8, 16, 8, 8)))
    pinned = layer.plan_for((1, 64, 8, 8), "training")
    layer.use_plan(pinned)
    assert layer.plan_for((8, 64, 32, 32)) is pinned
    assert copy.deepcopy(layer).plan_for((8, 64, 32, 32)) == pinned
    with pytest.raises(tnl.TNLayersError, match=r"not made for the convolution mpo\(in=3x3x4x4"):
        wide.use_plan(pinned)


@pytest.mark.parametrize("dims", [1, 2])
def test_at_full_bond_it_can_be_any_grouped_kernel(dims):
    """The group is an index of input and output at once: the weight has a block per group, of full rank."""
    kind, dense_kind = PAIRS[dims]
    layer = kind(6, 4, 3, groups=2, network="mpo(cores=1, bond=100)", seed=0, dtype=torch.float64)
    target = dense_kind(6, 4, 3, groups=2, dtype=torch.float64).weight.detach()
    spread = torch.autograd.functional.jacobian(
        lambda *cores: torch.func.functional_call(
            _Weight(layer), {f"layer.{k}": c for k, c in zip(layer.cores, cores, strict=True)}, ()
        ).reshape(-1),
        tuple(layer.cores.values()),
    )
    rank = torch.linalg.matrix_rank(torch.cat([part.reshape(target.numel(), -1) for part in spread], 1))
    assert rank == target.numel()


class _Weight(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.weight


@pytest.mark.parametrize("groups", [1, 2])
def test_initialised_as_torch_initialises(groups):
    samples, biases = [], []
    for seed in range(64):
        layer = small(groups=groups, seed=seed, network="mpo(cores=2, bond=8)")
        samples.append(layer.weight.detach().square().mean().item())
        biases.append(layer.bias.abs().max().item())
    asked = 1 / (3 * 9 * 4 / groups)
    error = np.std(samples) / 8
    assert abs(np.mean(samples) - asked) < 4 * error
    assert 0.8 < max(biases) * np.sqrt(9 * 4 / groups) <= 1


def test_module_protocol():
    layer = small(bias=False, groups=2)
    assert list(layer.state_dict()) == [*layer.cores]
    x = torch.from_numpy(inputs(layer))
    before = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), before)
        assert str(twin) == str(layer)
    assert "4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2, bias=False" in str(layer)
    with torch.device("meta"):
        later = small(groups=2, bias=False)
    later.to_empty(device="cpu").load_state_dict(layer.state_dict())
    assert torch.equal(later(x), before)
    assert later.to(torch.bfloat16)(x.bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize("rebuilt", [True, False])
def test_compiles_exports_and_autocasts(rebuilt):
    layer = small(padding="same", padding_mode="circular", groups=2)
    x = torch.from_numpy(inputs(layer))
    layer.use_plan(None if rebuilt else forced(layer, x.numpy()))
    expected = oracle_conv(layer, x.numpy())
    torch._dynamo.reset()
    assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), expected, dtype="float32")
    dynamic = {0: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(layer, (x,), dynamic_shapes=(dynamic,)).module()
    larger = inputs(layer, batch=8)
    assert_close(exported(torch.from_numpy(larger)), oracle_conv(layer, larger), dtype="float32")
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(layer(x), expected, dtype="bfloat16")


def test_notes_tell_what_was_adjusted():
    layer = tnl.nn.TNConv2d(7, 12, 3, network="mpo(cores=3, bond=8)", seed=0)
    assert layer.spec.in_modes == (3, 3, 1, 7, 1)  # seven channels are not padded: that would cut positions too
    assert any("in_channels: 7 has fewer than 3 useful factors" in note for note in layer.spec.notes)
    assert any("clipped from 8 to 3" in note for note in layer.spec.notes)


def test_training_tools_reach_convolutions():
    layer = small(dtype=torch.float64)
    x = torch.from_numpy(inputs(layer, dtype="float64"))
    torch.testing.assert_close(layer.norm2(), layer.weight.square().sum())
    before = layer(x)
    layer.canonicalise_()
    torch.testing.assert_close(layer(x), before)
    tnl.nn.checkpointed(layer)
    for plan in (layer._conv.rebuilt, forced(layer, x.numpy())):
        layer.use_plan(plan)
        torch.testing.assert_close(layer(x), before)
        assert all(grad is not None for grad in torch.autograd.grad(layer(x).sum(), tuple(layer.cores.values())))
    tnl.nn.bond_dropout(layer, 0.5)
    torch.manual_seed(0)
    assert not torch.allclose(layer(x), before)
    torch.testing.assert_close(layer.eval()(x), before)


def test_vmap_over_images():
    layer = small()
    x = torch.from_numpy(inputs(layer))
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))


@pytest.mark.parametrize("dims", PAIRS)
def test_flat_is_one_linear_map_of_the_flattened_maps(dims):
    kind, _ = PAIRS[dims]
    size = (4, 3, 2)[:dims]
    layer = kind(2, 3, 2, (2, 1, 1)[:dims], 1, view="flat", in_size=size, network="mpo(cores=2, bond=3)", seed=0)
    x = inputs(layer, size)
    y = oracle_forward(layer.spec, arrays(layer), np.moveaxis(x, 1, -1).reshape(3, -1), layer.bias.detach().numpy())
    out = (3, 4, 3)[:dims]
    found = layer(torch.from_numpy(x))
    assert found.shape == (3, 3, *out)
    assert_close(found.movedim(1, -1).reshape(3, -1), y, dtype="float32")
    assert layer.to_dense().shape == (int(np.prod(out)) * 3, int(np.prod(size)) * 2)
    assert layer.bias.shape == (int(np.prod(out)) * 3,)
    assert "view=flat (no weights shared over positions), in_size=" in str(layer)
    assert layer.plan_for(x.shape).batch == 4
    assert layer.view == "flat"
    assert "view 'flat': no weights are shared over positions" in layer.spec.notes


def test_flat_keeps_the_variance_of_its_outputs():
    layer = tnl.nn.TNConv2d(2, 3, 3, view="flat", in_size=5, seed=0)
    assert layer.spec.in_features == 50
    assert layer._variance() == pytest.approx(1 / 150)


def test_the_comparison_has_teeth():
    layer = small()
    x = inputs(layer)
    y = layer(torch.from_numpy(x))
    with torch.no_grad():
        layer.core_1.mul_(1.001)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(y, oracle_conv(layer, x), dtype="float32")
    changed = 1.0001 * layer(torch.from_numpy(x))
    with pytest.raises(AssertionError, match="off by"):
        assert_close(changed, oracle_conv(layer, x), dtype="float32")
