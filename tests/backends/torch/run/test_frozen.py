"""A frozen layer answers from what was prepared, until the promise ends; a change that can be seen is refused."""

import copy
import pickle
from itertools import product

import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward
from specs import MARKET, SUMS
from torch import nn
from torch_cases import torch_blames_itself
from writers import WRITERS

import tnlayers as tnl

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")  # bonds that are clipped at these sizes

NAMES = ["mpo-4", "mpo-padded", "ring", "cp", "monarch", "lowrank-vector", "blockdiag", "tree-1"]


def right(layer, batch):
    """Compare with the oracle of the cores as they are."""
    x = inputs(layer.spec, (batch,), "float32")
    cores, bias = values(layer)
    with torch.no_grad():
        for _ in range(2):
            assert_close(layer(torch.from_numpy(x)), oracle_forward(layer.spec, cores, x, bias), dtype="float32")


@pytest.mark.parametrize("name", [*NAMES, *SUMS])
@pytest.mark.parametrize("limit", [0, 256, 2**26])
def test_right_for_every_network_and_limit(name, limit):
    layer = tnl.build((MARKET | SUMS)[name], seed=1).freeze(memory_limit=limit)
    for batch in (1, 5, 128, 0):
        right(layer, batch)
    assert layer.frozen <= limit


def test_nothing_is_prepared_or_compared_again(monkeypatch):
    layer = tnl.nn.MPOLinear(784, 256, seed=1).freeze()
    x = torch.randn(3, 784)
    with torch.no_grad():
        first = layer(x)
        layer.core_1.detach().numpy()[...] = 0.0  # the promise is broken where nobody can see it
        assert torch.equal(layer(x), first)
        assert not torch.allclose(layer.thaw()(x), first)


def test_gradients_of_the_input_pass_through_and_those_of_cores_come_from_the_cores():
    layer = tnl.nn.MPOLinear(784, 256, seed=1)
    x = torch.randn(3, 784, requires_grad=True)
    layer(x).square().sum().backward()
    expected, cores = x.grad, [core.grad.clone() for core in layer.cores.values()]
    x.grad = None
    layer.zero_grad()
    layer.freeze()
    layer(x).square().sum().backward()
    torch.testing.assert_close(x.grad, expected)
    for core, was in zip(layer.cores.values(), cores, strict=True):
        torch.testing.assert_close(core.grad, was)
    layer.requires_grad_(False)
    x.grad = None
    layer(x).square().sum().backward()  # by W, which is prepared
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        layer(torch.randn(7, 784))  # prepared in inference mode, used outside of it
    x = torch.randn(7, 784, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None


SEEN = ["no_grad", "inference_mode", "SGD", "SGD, foreach", "LBFGS", "data in new memory", "set_"]


@pytest.mark.parametrize("name", SEEN)
def test_changes_that_torch_counts_are_refused_not_ignored(name):
    layer = tnl.nn.MPOLinear(64, 64, bond_dim=4, seed=1).freeze()
    x = torch.randn(3, 64)
    with torch.no_grad():
        layer(x)
    WRITERS[name](layer.core_1)
    for _ in range(2):
        with (
            torch.no_grad(),
            pytest.raises(tnl.TNLayersError, match=r"core_1 of this MPOLinear has changed .*thaw\(\)"),
        ):
            layer(x)
    right(layer.thaw(), 3)
    right(layer.freeze(), 3)


def test_another_parameter_is_refused():
    layer = tnl.nn.MPOLinear(64, 64, bond_dim=4, seed=1).freeze()
    layer.core_0 = nn.Parameter(layer.core_0.detach() * 2)
    with torch.no_grad(), pytest.raises(tnl.TNLayersError, match="core_0"):
        layer(torch.randn(3, 64))
    right(layer.freeze(), 3)


def test_a_functional_call_uses_its_own_cores():
    layer = tnl.nn.MPOLinear(64, 64, bond_dim=4, seed=1).freeze()
    x = torch.randn(3, 64)
    own = {name: p.detach() * 2 for name, p in layer.named_parameters()}
    with torch.no_grad():
        y = torch.func.functional_call(layer, own, (x,))
        torch.testing.assert_close(y, 2**4 * x @ layer.weight.T + 2 * layer.bias, rtol=1e-4, atol=1e-5)
    right(layer, 3)


ENDS = {
    "thaw": lambda layer: layer.thaw(),
    "train": lambda layer: layer.train(),
    "load_state_dict": lambda layer: layer.load_state_dict(tnl.build(layer.spec, seed=5).state_dict()),
    "assign": lambda layer: layer.load_state_dict(tnl.build(layer.spec, seed=5).state_dict(), assign=True),
    "double": lambda layer: layer.double().float(),
    "to": lambda layer: layer.to("cpu"),
    "use_plan": lambda layer: layer.use_plan(tnl.plan(layer.spec, 8)),
    "round_": lambda layer: layer.round_(bond_dim=2),
    "grow_": lambda layer: layer.grow_(5),
    "prune_": lambda layer: layer.prune_(0.1),
    "a copy": copy.deepcopy,
    "a pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_the_promise(name):
    layer = tnl.build("mpo(in=4x4x4, out=4x4x4, bond=4)", seed=1).freeze()
    right(layer, 3)
    assert "frozen=" in repr(layer)
    ended = ENDS[name](layer)
    ended = ended if isinstance(ended, nn.Module) else layer
    assert ended.frozen is None
    assert "frozen" not in repr(ended)
    right(ended, 3)


def test_evaluation_mode_leaves_the_promise():
    layer = tnl.nn.MPOLinear(64, 64).train().freeze()
    assert not layer.training
    assert layer.eval().frozen is not None
    assert layer.train(False).frozen is not None


def test_the_bias_is_no_part_of_the_promise():
    layer = tnl.nn.MPOLinear(64, 64, seed=1).freeze()
    right(layer, 3)
    with torch.no_grad():
        layer.bias.add_(1.0)
    right(layer, 3)


class Model(nn.Module):
    """One layer of every kind."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = tnl.nn.TNEmbedding(60, 24, padding_idx=2)
        self.attention = tnl.nn.TNMultiheadAttention(24, 4, batch_first=True)
        self.conv = tnl.nn.TNConv1d(24, 24, 3, padding=1)
        self.cell = tnl.nn.TNGRUCell(24, 24, network="mpo(cores=2, bond=4)")
        self.adapter = tnl.nn.TNAdapter(nn.Linear(24, 24), network="mpo(cores=2, bond=2)")
        self.head = tnl.nn.TNLinear(24, 60, network="mpo(cores=2, bond=4)")

    def forward(self, ids):
        x = self.table(ids)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.conv(x.mT).mT
        state = self.adapter(self.cell(x[:, 0]))
        return self.head(state), self.table.decode(state)


def test_a_model_of_every_kind():
    model = Model().eval()
    ids = torch.randint(60, (5, 7))
    with torch.no_grad():
        expected = model(ids)
        assert tnl.freeze(model) is model
        for _ in range(2):
            for seen, true in zip(model(ids), expected, strict=True):
                torch.testing.assert_close(seen, true, rtol=1e-4, atol=1e-5)
    report = tnl.frozen(model)
    assert report.nbytes == sum(nbytes for _, _, nbytes in report.layers) > 0
    assert "table" in str(report)
    assert f"{report.nbytes:,} bytes" in str(report)
    tnl.thaw(model)
    assert tnl.frozen(model).nbytes == 0
    assert "not frozen" in str(tnl.frozen(model))


def test_one_limit_for_a_model_and_what_thaws_gives_it_back():
    model = Model()
    everything = tnl.frozen(tnl.freeze(model)).nbytes
    limit = everything // 2
    ids = torch.randint(60, (5, 7))
    with torch.no_grad():
        for _ in range(3):
            tnl.freeze(model, memory_limit=limit)(ids)
            assert 0 < tnl.frozen(model).nbytes <= limit


def test_a_model_that_cannot_be_frozen_stays_as_it_is():
    model = nn.Sequential(tnl.nn.MPOLinear(64, 64), tnl.nn.MPOLinear(64, 64, device="meta"))
    with pytest.raises(tnl.TNLayersError, match="holds no numbers"):
        tnl.freeze(model)
    assert tnl.frozen(model).nbytes == 0
    with pytest.raises(tnl.TNLayersError, match="no layer of tnlayers"):
        tnl.freeze(nn.Linear(3, 3))
    layer = tnl.nn.MPOLinear(64, 64)
    nn.utils.parametrizations.weight_norm(layer, "core_0")
    with pytest.raises(tnl.TNLayersError, match="remove_parametrizations"):
        layer.freeze()
    for wrong in (-1, 1.5, True, "64MB"):
        with pytest.raises(tnl.TNLayersError, match="memory_limit"):
            tnl.nn.MPOLinear(64, 64).freeze(memory_limit=wrong)


def test_a_weight_above_the_implicit_limit_may_be_kept():
    layer = tnl.nn.TNLinear(4096, 8192, network="mpo(cores=3, bond=4)", seed=1)
    x = torch.randn(256, 4096)
    with torch.no_grad():
        expected = layer(x)
        layer.freeze(memory_limit=2**28)
        seen = layer(x)
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-4)
    assert layer.frozen <= 2**28


@torch_blames_itself
@pytest.mark.parametrize(("name", "limit"), list(product(["mpo-4", "mpo-padded", "sum-bias", "cp"], [0, 2**26])))
def test_compiled_and_exported_code_uses_what_is_prepared(name, limit):
    layer = tnl.build((MARKET | SUMS)[name], seed=1).freeze(memory_limit=limit)
    x = torch.from_numpy(inputs(layer.spec, (6,), "float32"))
    cores, bias = values(layer)
    expected = oracle_forward(layer.spec, cores, x.numpy(), bias)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        assert_close(compiled(x), expected, dtype="float32")
        exported = torch.export.export(layer, (x,)).module()
        assert_close(exported(x), expected, dtype="float32")
        layer.load_state_dict(tnl.build(layer.spec, seed=2).state_dict())  # the promise ends, the code is made anew
        cores, bias = values(layer)
        assert_close(compiled(x), oracle_forward(layer.spec, cores, x.numpy(), bias), dtype="float32")


@torch_blames_itself
def test_exported_code_of_a_frozen_weight_is_one_product():
    layer = tnl.nn.MPOLinear(784, 256, seed=1).freeze()
    program = torch.export.export(layer, (torch.randn(6, 784),))
    products = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert products == [torch.ops.aten.linear.default]
