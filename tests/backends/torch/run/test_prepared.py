"""What inference keeps is right after every change of the cores, and off where the cores are not the layer's own."""

import copy
import pickle

import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward
from specs import MARKET
from tnlayers_backends.torch.run import prepared, snapshot
from torch.utils._python_dispatch import TorchDispatchMode

import tnlayers as tnl

NAMES = ["mpo-4", "mpo-padded", "ring", "cp", "monarch"]


def checked(layer, batch=6):
    """Infer twice, the second time by what the first has kept, and compare with the oracle of the cores as they are."""
    x = inputs(layer.spec, (batch,), "float32")
    cores, bias = values(layer)
    expected = oracle_forward(layer.spec, cores, x, bias)
    with torch.no_grad():
        for _ in range(2):
            y = layer(torch.from_numpy(x))
            assert_close(y, expected, dtype="float32")
    return y


class Watched(TorchDispatchMode):
    """The operations of torch that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("batch", "products"), [(1, 2), (100, 1)])
def test_a_call_is_the_products_of_the_plan_and_the_views_between_them(batch, products):
    layer = tnl.build("mpo(in=4x7x7x4, out=4x4x4x4, bias=true, bond=16)", seed=0)
    x = torch.randn(batch, 784)
    with torch.no_grad():
        layer(x)
        layer(x)
        with Watched() as watched:
            layer(x)
    links = layer.plan_for(batch, "inference").sweep.chain.links
    assert len(links) == products
    guards = watched.names[: len(layer.cores)]  # that the cores are the same views of the same memory
    assert {*guards} == {"is_set_to"}
    del watched.names[: len(guards)]
    if products == 1:  # W itself: what `nn.Linear` does
        assert watched.names == ["t", "addmm"]
        return
    assert watched.names.count("mm") + watched.names.count("bmm") == len(links)
    assert watched.names.count("add") == 1
    views = [name for name in watched.names if name not in ("mm", "bmm", "add")]
    assert len(views) <= 2 + 3 * len(links)
    assert {*views} <= {"view", "_unsafe_view", "permute", "expand"}


@pytest.mark.parametrize("name", NAMES)
def test_after_every_change_of_the_cores(name):
    layer = tnl.build(MARKET[name], seed=1)
    checked(layer)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    layer(torch.randn(3, layer.in_features)).square().sum().backward()
    optimizer.step()
    checked(layer)
    layer.load_state_dict(tnl.build(MARKET[name], seed=2).state_dict())
    checked(layer)
    layer.load_state_dict(tnl.build(MARKET[name], seed=3).state_dict(), assign=True)
    checked(layer)
    with torch.no_grad():
        next(layer.parameters()).mul_(2.0)
    checked(layer)
    for parameter in layer.parameters():  # memory that is let go of comes back with other entries
        for _ in range(3):
            parameter.data = parameter.data * 1.5
            checked(layer)
    for name, core in layer.cores.items():  # another parameter in the same memory, with as many changes
        setattr(layer, name, torch.nn.Parameter(core.data))
        with torch.no_grad():
            while layer.get_parameter(name)._version < core._version:
                layer.get_parameter(name).mul_(1.5)
        checked(layer)
    layer.to(torch.float64).to(torch.float32)
    checked(layer)
    layer.reset_parameters(4)
    checked(layer)
    with torch.inference_mode():
        next(layer.parameters()).mul_(0.5)
    checked(layer)


def prepares(monkeypatch):
    """Count how often matrices are prepared."""
    calls = []
    original = prepared.PreparedMatrices

    def counting(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(prepared, "PreparedMatrices", counting)
    return calls


def test_prepared_once_while_nothing_changes(monkeypatch):
    calls, layer = prepares(monkeypatch), tnl.build(MARKET["mpo-4"], seed=1)
    for _ in range(5):
        checked(layer)
    assert len(calls) == 1
    assert layer._prepared.nbytes == layer.plan_for(6, "inference").prepared
    layer(torch.randn(6, layer.in_features))  # training keeps nothing of this kind
    assert len(calls) == 1
    layer.invalidate()
    assert layer._prepared.nbytes == 0
    checked(layer)
    assert len(calls) == 2


def test_nothing_above_the_limit_is_kept(monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED_LIMIT", 8)
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    checked(layer)
    assert layer._prepared.nbytes == 0


@pytest.mark.parametrize("name", NAMES)
def test_large_matrices_are_kept_with_their_columns_in_a_row(name, monkeypatch):
    layer = tnl.build(MARKET[name], seed=1)
    monkeypatch.setattr(prepared, "_COLUMNS_FROM", 0)
    before = [core.detach().clone() for core in layer.parameters()]
    cores = len(values(layer)[0])
    checked(layer, batch=300)
    sweep = layer.plan_for(300, "inference").sweep
    (kept,) = layer._prepared._kept.values()
    made = [
        matrix
        for matrix, link in zip(kept.matrices, sweep.chain.links, strict=True)
        if link.core[0] > cores and link.state_left and matrix.dim() == 2
    ]
    assert made
    assert all(matrix.stride(0) == 1 for matrix in made)
    assert all(torch.equal(core, was) for core, was in zip(layer.parameters(), before, strict=True))


def test_off_for_functional_calls_and_compiled_code(monkeypatch):
    calls, layer = prepares(monkeypatch), tnl.build(MARKET["mpo-4"], seed=1)
    x = torch.randn(6, layer.in_features)
    with torch.no_grad():
        for factor in (1.0, 2.0):
            stand_ins = {name: p.detach() * factor for name, p in layer.named_parameters()}
            y = torch.func.functional_call(layer, stand_ins, (x,))
            torch.testing.assert_close(y, x @ layer.weight.T * factor ** len(layer.cores), rtol=1e-4, atol=1e-5)
        torch._dynamo.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        for _ in range(2):
            torch.testing.assert_close(compiled(x), x @ layer.weight.T, rtol=1e-4, atol=1e-5)
            layer.core_0.mul_(3.0)
        torch.testing.assert_close(torch.func.vmap(layer)(x), x @ layer.weight.T, rtol=1e-4, atol=1e-5)
    assert len(calls) == 1  # of vmap over x alone: the cores are the layer's own


def test_autocast_and_full_precision_take_turns():
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    x = torch.randn(6, layer.in_features)
    exact = checked(layer)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype is torch.bfloat16
    assert torch.equal(checked(layer), exact)


def test_copies_and_pickles_start_empty():
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    checked(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin._prepared.nbytes == 0
        checked(twin)


def test_sums_keep_a_set_for_each_network():
    layer = tnl.build("mpo(in=3x4, out=2x5, bond=3) + mpo(in=12, out=10)", seed=1)
    checked(layer)
    held = layer._prepared.nbytes
    checked(layer)
    assert layer._prepared.nbytes == held
    assert held == sum(term.prepared for term in layer.plan_for(6, "inference").terms)


def test_the_check_has_teeth(monkeypatch):
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    checked(layer)
    monkeypatch.setattr(snapshot.Snapshot, "of", lambda self, cores: True)  # the guard sleeps
    layer.core_0.data.mul_(2.0)
    with pytest.raises(AssertionError, match="off by"):
        checked(layer)
