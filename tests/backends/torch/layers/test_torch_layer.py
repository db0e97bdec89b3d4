"""`tnl.nn.TNLinear` and `MPOLinear` behave as `torch.nn.Linear` does wherever code meets one."""

import copy
import inspect
import io
import pickle

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward
from specs import MARKET
from torch import nn

import tnlayers as tnl


def small(**changes):
    keywords = {"in_modes": (3, 4), "out_modes": (2, 5), "bond_dim": 3} | changes
    return tnl.nn.MPOLinear(12, 10, **keywords)


def arrays(layer):
    return [core.detach().double().numpy() for core in layer.cores.values()]


@pytest.mark.parametrize("kind", [tnl.nn.TNLinear, tnl.nn.MPOLinear])
def test_arguments_stand_as_in_nn_linear(kind):
    theirs = list(inspect.signature(nn.Linear).parameters)
    ours = inspect.signature(kind).parameters
    assert list(ours)[: len(theirs)] == theirs
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in list(ours.values())[: len(theirs)])
    assert ours["bias"].default is True
    layer = kind(12, 10, False, "cpu", torch.float64, bond_dim=2)
    assert layer.bias is None
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert (layer.in_features, layer.out_features) == (12, 10)


def test_state_dict_holds_cores_by_name_and_loads_strictly():
    one, other = small(seed=0), small(seed=1)
    assert list(one.state_dict()) == ["core_0", "core_1", "bias"]
    assert list(small(bias=False).state_dict()) == ["core_0", "core_1"]
    other.load_state_dict(one.state_dict(), strict=True)
    x = torch.randn(3, 12)
    assert torch.equal(one(x), other(x))
    with pytest.raises(RuntimeError, match="core_1"):
        other.load_state_dict({"core_0": one.core_0, "bias": one.bias}, strict=True)


@pytest.mark.parametrize("name", ["mpo-4", "mpo-bias", "ladder", "cp", "blocks"])
def test_copies_are_equal_and_apart(name):
    layer = tnl.build(MARKET[name], seed=0)
    x = torch.randn(4, layer.in_features)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(buffer, weights_only=False)]
    before = layer(x).detach().clone()
    for twin in twins:
        assert type(twin) is type(layer)
        assert twin.spec == layer.spec
        assert str(twin) == str(layer)
        assert torch.equal(twin(x), before)
        with torch.no_grad():
            next(twin.parameters()).add_(1.0)
        assert torch.equal(layer(x), before)


def test_copies_keep_a_pinned_plan():
    layer = small(seed=0)
    plan = tnl.plan(layer.spec, 7, optimize=[(0, 1), (0, 1)])
    layer.use_plan(plan)
    assert copy.deepcopy(layer).plan_for(64) == plan
    assert pickle.loads(pickle.dumps(layer)).plan_for(64) == plan


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_to_dtype(dtype):
    layer = small(seed=0).to(dtype)
    assert {p.dtype for p in layer.parameters()} == {dtype}
    x = torch.randn(3, 12, dtype=dtype)
    expected = oracle_forward(layer.spec, arrays(layer), x.double().numpy(), layer.bias.detach().double().numpy())
    assert_close(layer(x), expected, dtype=str(dtype).removeprefix("torch."))


def test_default_dtype_is_torchs():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert small().core_0.dtype is torch.float64
    finally:
        torch.set_default_dtype(before)


def test_deferred_initialisation():
    with torch.device("meta"):
        layer = small()
    assert all(p.is_meta for p in layer.parameters())
    assert small(device="meta").core_0.is_meta
    layer.to_empty(device="cpu")
    layer.reset_parameters(seed=4)
    for (name, ours), theirs in zip(layer.named_parameters(), small(seed=4).parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_numbers_of_parameters_and_in_the_printed_layer():
    layer = tnl.nn.MPOLinear(784, 256, bond_dim=16)
    assert sum(p.numel() for p in layer.parameters()) == 14848 + 256
    assert layer.spec.parameters == 14848
    text = repr(layer)
    for part in ("in_features=784", "out_features=256", "bias=True", "bond=16", "parameters=14848", "rho=0.07398"):
        assert part in text
    assert text.startswith("MPOLinear(")


def test_seeds():
    assert torch.equal(small(seed=3).core_0, small(seed=3).core_0)
    assert not torch.equal(small(seed=3).core_0, small(seed=4).core_0)
    drawn = []
    for _ in range(2):
        torch.manual_seed(11)
        drawn.append([small(), small()])
    assert torch.equal(drawn[0][0].core_0, drawn[1][0].core_0)
    assert torch.equal(drawn[0][1].bias, drawn[1][1].bias)
    assert not torch.equal(drawn[0][0].core_0, drawn[0][1].core_0)


def test_reset_parameters_draws_anew():
    layer = small(seed=0)
    before = layer.core_0.detach().clone()
    layer.reset_parameters()
    assert not torch.equal(layer.core_0, before)
    layer.reset_parameters(0)
    assert torch.equal(layer.core_0, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cores", range(2, 13))
def test_half_precision_stands_twelve_cores(cores, dtype):
    layer = tnl.nn.TNLinear(
        2**cores, 2**cores, dtype=dtype, seed=0, in_modes=(2,) * cores, out_modes=(2,) * cores, bond_dim=2
    )
    x = torch.randn(3, 2**cores, dtype=dtype)
    y = layer(x)
    assert y.dtype is dtype
    assert torch.isfinite(y).all()
    # Not only finite: of the size that E[W^2] = 1 / (3 in_features) and the bias give, neither under- nor overflown.
    assert 0.05 < y.float().std() < 5


def test_half_precision_stands_wide_bonds():
    layer = tnl.nn.TNLinear(4096, 4096, False, dtype=torch.float16, seed=0, cores=12, bond_dim=4)
    y = layer(torch.randn(2, 4096, dtype=torch.float16))
    assert torch.isfinite(y).all()
    assert 0.1 < y.float().std() < 3


def test_in_a_model_it_trains():
    torch.manual_seed(0)
    model = nn.Sequential(small(), nn.ReLU(), tnl.nn.TNLinear(10, 4, network="mpo(cores=2, bond=2)"))
    x, target = torch.randn(64, 12), torch.randint(4, (64,))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert list(model.state_dict()) == ["0.core_0", "0.core_1", "0.bias", "2.core_0", "2.core_1", "2.bias"]


@pytest.mark.parametrize("name", ["mpo-4", "mpo-padded", "cp"])
def test_compiles_into_one_graph(name):
    torch._dynamo.reset()
    layer = tnl.build(MARKET[name], seed=0)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (3, 8):
        x = torch.randn(batch, layer.in_features, requires_grad=True)
        y = compiled(x)
        assert_close(y, oracle_forward(layer.spec, arrays(layer), x.detach().numpy()), dtype="float32")
        (ours,) = torch.autograd.grad(y.square().sum(), x)
        (theirs,) = torch.autograd.grad(layer(x).square().sum(), x)
        torch.testing.assert_close(ours, theirs)


def test_vmap_and_grad_of_functions():
    layer = small(seed=0)
    x = torch.randn(6, 12)
    assert_close(torch.func.vmap(layer)(x), layer(x).detach().double().numpy(), dtype="float32", terms=400)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)  # gradients per sample
    layer(x).square().sum().backward()
    for name, p in layer.named_parameters():
        expected = p.grad.double().numpy()
        assert_close(each[name].sum(0), expected, dtype="float32", terms=2000)


@pytest.mark.parametrize("bias", [True, False])
def test_autocast_gives_the_dtype_that_nn_linear_gives(bias):
    layer, dense = small(bias=bias, seed=0), nn.Linear(12, 10, bias=bias)
    x = torch.randn(3, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype is dense(x).dtype is torch.bfloat16
    b = None if layer.bias is None else layer.bias.detach().numpy()
    assert_close(y, oracle_forward(layer.spec, arrays(layer), x.numpy(), b), dtype="bfloat16")
    y.float().sum().backward()
    assert layer.core_0.grad.dtype is torch.float32


@pytest.mark.parametrize("shape", [(3, 11), (12, 3), (0,), (1, 13)])
def test_wrong_inputs_are_refused_with_the_numbers(shape):
    for layer, x in ((small(), torch.zeros(shape)), (tnl.build(small().spec, "numpy"), np.zeros(shape, np.float32))):
        with pytest.raises(tnl.TNLayersError) as caught:
            layer(x)
        for part in (f"last dimension is {shape[-1]} ", str(shape), "12 features", "(..., 12) -> (..., 10)"):
            assert part in str(caught.value)


def test_a_scalar_input_is_refused():
    for layer, x in ((small(), torch.tensor(1.0)), (tnl.build(small().spec, "numpy"), np.float32(1.0))):
        with pytest.raises(tnl.TNLayersError, match=r"12 features|needs an array"):
            layer(x)


def test_plans_are_chosen_by_batch_unless_one_is_pinned():
    layer = small(seed=0)
    assert layer.plan_for(5) is layer.plan_for(8)
    assert layer.plan_for(8).batch == 8
    assert layer.plan_for(9).batch == 16
    assert layer.plan_for(8, "training").objective == "training"
    pinned = tnl.plan(layer.spec, 1, optimize="greedy")
    layer.use_plan(pinned)
    assert layer.plan_for(1000) is pinned
    layer.use_plan(None)
    assert layer.plan_for(1000).batch == 1024


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_plan_of_another_layer_is_refused(backend):
    layer = tnl.build("mpo(in=3x4, out=2x5, bond=3)", backend)
    for other in (
        tnl.plan("mpo(in=3x4, out=2x5, bond=2)", 4),
        tnl.plan("mpo(in=4x3, out=2x5, bond=3)", 4),
        tnl.from_einsum("ij,jk->ik", [(2, 3), (3, 4)]).plan,
    ):
        with pytest.raises(tnl.TNLayersError, match=r"was made for .*not for mpo\(in=3x4, out=2x5, bond=3\)"):
            layer.use_plan(other)


def test_names_that_torch_uses_are_refused():
    @tnl.network("badly_named")
    def badly_named(in_modes, out_modes):
        net = tnl.Declaration()
        core = net.core("forward", i=in_modes[0], o=out_modes[0])
        return net.linear(inputs=[core["i"]], outputs=[core["o"]])

    with pytest.raises(tnl.TNLayersError, match="'forward'"):
        tnl.build("badly_named(in=3, out=4)")


@pytest.mark.parametrize("dtype", ["float31", "int32", "nn", "bfloat17"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_unknown_dtypes_are_refused(backend, dtype):
    with pytest.raises(tnl.TNLayersError, match=dtype):
        tnl.build("mpo(in=3x4, out=2x5, bond=3)", backend, dtype=dtype)


def test_unknown_backends_are_refused():
    with pytest.raises(tnl.TNLayersError, match=r"no backend 'caffe'.*numpy, torch"):
        tnl.build("mpo(in=3x4, out=2x5, bond=3)", "caffe")
    with pytest.raises(tnl.TNLayersError, match="bfloat16"):
        tnl.build("mpo(in=3x4, out=2x5, bond=3)", "numpy", dtype="bfloat16")


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(tnl.TNLayersError, match="in=4x7x7 multiplies to 196, but the layer has 784 input features"):
        tnl.nn.MPOLinear(784, 256, in_modes=(4, 7, 7), out_modes=(4, 8, 8))


@pytest.mark.parametrize("dtype", ["float64", torch.float64])
def test_build_takes_a_dtype_by_name_or_as_torch_has_it(dtype):
    assert tnl.build("mpo(in=2x3, out=3x2, bond=2)", backend="torch", dtype=dtype).core_0.dtype is torch.float64


def test_a_layer_built_from_a_spec_keeps_its_notes():
    with pytest.warns(tnl.TNLayersWarning, match="clipped from 18 to 16"):
        spec = tnl.spec("mpo(cores=4, bond=18)", 784, 256)
    assert spec.notes
    assert tnl.build(spec, backend="torch").spec.notes == spec.notes
