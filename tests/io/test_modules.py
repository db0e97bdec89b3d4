"""Models of `tnl.models`, and any torch module, saved and loaded whole."""

import copy
import inspect

import pytest
import torch
from safetensors.torch import save_file
from specs import MARKET
from tnlayers_backends.torch.modules.saved import layers_of
from torch import nn
from torch_cases import torch_blames_itself

import tnlayers as tnl


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width, bias=False))

    def forward(self, x):
        return x + self.inner(self.norm(x))


class Net(nn.Module):
    """Nested modules, a buffer, a plain parameter, and an nn.Linear that stays."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(12), Block(12)])
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("shift", torch.arange(12.0))
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x * self.scale + self.shift)
        return self.head(x)


def network(inputs, outputs, template, **keywords):
    return tnl.nn.TNLinear(inputs, outputs, network=template, seed=5, **keywords)


def replaced():
    torch.manual_seed(0)
    net = Net()
    net.blocks[0].inner[0] = network(12, 24, "ladder(in=2x3x2, out=2x3x4, bond=2)")
    net.blocks[0].inner[2] = network(24, 12, "mpo(cores=3, bond=2)", bias=False)
    net.blocks[1].inner[0] = network(12, 24, "mpo(in=3x4, out=4x6, bond=2) + mpo(in=12, out=24)")
    net(torch.randn(5, 12))  # moves the running means
    return net.eval()


@pytest.fixture
def saved(tmp_path):
    net, path = replaced(), tmp_path / "net.safetensors"
    tnl.save(net, path)
    return net, path


def assert_same_state(one, other):
    left, right = one.state_dict(), other.state_dict()
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert torch.equal(tensor, right[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["dense", "mpo", "mpo(bond=2)"])
@pytest.mark.parametrize("name", ["fc2", "lenet5"])
def test_models_come_back_bit_for_bit(tmp_path, name, kind, dtype):
    model = tnl.models.build(name, network=kind, seed=7).to(dtype)
    tnl.save(model, tmp_path / "model")
    before = torch.random.get_rng_state()
    twin = tnl.load(tmp_path / "model")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(twin) is type(model)
    assert_same_state(twin, model)
    if dtype == torch.float32:  # a model turned to another dtype keeps its plans, the loaded one makes its own
        x = torch.randn(3, 1, 28, 28)
        assert torch.equal(twin(x), model(x))
    assert tnl.io.header(tmp_path / "model").model == name
    with torch.no_grad():
        next(twin.parameters()).view(-1)[0] += 1
    with pytest.raises(AssertionError):
        assert_same_state(twin, model)


def test_a_model_with_a_users_network_loads_without_it(tmp_path, fresh):
    model = tnl.models.build("lenet5", network="mpo", seed=0)
    model.fc1 = tnl.nn.TNLinear(120, 84, network="ladder(in=4x5x6, out=3x4x7, bond=2)", seed=1)
    x = torch.randn(2, 1, 28, 28)
    tnl.save(model, tmp_path / "model")
    save_file({"x": x, "y": model(x)}, tmp_path / "expected")
    code = """
import sys, torch, tnlayers as tnl
from safetensors.torch import load_file
model = tnl.load(sys.argv[1] + "/model")
expected = load_file(sys.argv[1] + "/expected")
assert torch.equal(model(expected["x"]), expected["y"])
print(model.fc1.spec)
"""
    assert fresh(code, tmp_path).strip() == str(model.fc1.spec)


def test_another_module_loads_into_a_dense_one(saved):
    net, path = saved
    into = Net().eval()
    head, scale = into.head, into.scale
    twin = tnl.load(path, into=into)
    assert twin is into
    assert twin.head is head
    assert twin.scale is scale
    assert_same_state(twin, net)
    x = torch.randn(4, 12)
    assert torch.equal(twin(x), net(x))
    assert str(twin.blocks[1].inner[0].spec) == str(net.blocks[1].inner[0].spec)
    assert tnl.io.header(path).object == "module"


def test_another_module_loads_in_another_process(saved, fresh, tmp_path):
    net, path = saved
    x = torch.randn(4, 12)
    save_file({"x": x, "y": net(x)}, tmp_path / "expected")
    classes = "\n".join(inspect.getsource(kind) for kind in (Block, Net))
    code = f"""
import sys, torch, tnlayers as tnl
from safetensors.torch import load_file
from torch import nn
{classes}
net = tnl.load(sys.argv[1], into=Net().eval())
expected = load_file(sys.argv[2])
assert torch.equal(net(expected["x"]), expected["y"])
"""
    fresh(code, path, tmp_path / "expected")


def test_a_module_with_layers_in_it_already_is_filled_as_well(saved):
    net, path = saved
    twin = tnl.load(path, into=replaced())
    assert_same_state(twin, net)
    other = tnl.load(path, into=Net())
    assert_same_state(other, net)


def without_head(net):
    del net.head


def other_head(net):
    net.head = nn.Linear(12, 4)


def conv_inside(net):
    net.blocks[0].inner[2] = nn.Conv1d(24, 12, 1, bias=False)


def narrow(net):
    net.blocks[1].inner[0] = nn.Linear(12, 25)


def own_subclass(net):
    net.blocks[1].inner[0] = type("Mine", (nn.Linear,), {"forward": lambda self, x: x})(12, 24)


def without_block(net):
    del net.blocks[1]


def one_more(net):
    net.tail = nn.Linear(3, 3)


def doubles(net):
    net.double()


def tied_scale(net):
    net.head.bias = nn.Parameter(torch.zeros(3))
    net.blocks[1].norm.weight = net.blocks[0].norm.bias


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (without_head, r"2 of the file not in the model \(head.bias, head.weight\)"),
        (other_head, r"'head.bias' has shape \(3,\) in the file, \(4,\) here"),
        (conv_inside, r"'blocks.0.inner.2' takes the place of a Linear, but there is a Conv1d"),
        (own_subclass, r"'blocks.1.inner.0' takes the place of a Linear, but there is a Mine"),
        (narrow, r"in_features, out_features = \(12, 24\), but the module there has \(12, 25\)"),
        (without_block, r"'blocks.1.inner.0', but this Net has no module of that name; it has \['blocks.0.inner.0'"),
        (one_more, r"2 tensors of the model are not in the file \(tail.bias, tail.weight\)"),
        (doubles, r"is float32 in the file and float64 here.*model\.to\(torch\.float32\)"),
        (tied_scale, r"are one tensor in this model, but differ in the file"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(saved, change, part):
    _, path = saved
    into = Net()
    change(into)
    modules, before = dict(into.named_modules()), copy.deepcopy(into.state_dict())
    with pytest.raises(tnl.TNLayersError, match=part):
        tnl.load(path, into=into)
    assert dict(into.named_modules()) == modules
    assert list(before) == list(into.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in into.state_dict().items())


def test_a_module_without_into_says_what_to_pass(saved):
    _, path = saved
    with pytest.raises(tnl.TNLayersError, match=r"blocks\.0\.inner\.0.*tnl\.load\(path, into=model\)"):
        tnl.load(path)
    with pytest.raises(tnl.TNLayersError, match=r"Leave out into="):
        tnl.load(path, backend="numpy", into=Net())


def test_a_layer_is_not_loaded_into_a_module(tmp_path):
    tnl.save(tnl.build(MARKET["mpo-2"]), tmp_path / "layer")
    with pytest.raises(tnl.TNLayersError, match="Leave out into="):
        tnl.load(tmp_path / "layer", into=nn.Linear(12, 10))


def test_a_module_without_layers_of_ours_is_saved_too(tmp_path):
    net = Net()
    tnl.save(net, tmp_path / "net")
    assert tnl.io.header(tmp_path / "net").layers == ()
    assert_same_state(tnl.load(tmp_path / "net", into=Net()), net)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(12, 10)
        self.first = nn.Linear(10, 10)
        self.second = self.first
        self.third, self.fourth = nn.Linear(10, 10), nn.Linear(10, 10)
        self.out = nn.Linear(10, 12, bias=False)
        self.out.weight = self.embed.weight


def tied_model():
    model = Tied()
    model.first = model.second = network(10, 10, "mpo(in=2x5, out=5x2, bond=2)")
    model.third, model.fourth = (network(10, 10, "mpo(in=2x5, out=5x2, bond=2)", bias=False) for _ in range(2))
    model.fourth.core_0 = model.third.core_0
    return model


def test_what_is_one_tensor_is_stored_once_and_is_one_again(tmp_path):
    model, path = tied_model(), tmp_path / "tied"
    tnl.save(model, path)
    header = tnl.io.header(path)
    assert header.tied["out.weight"] == "embed.weight"
    assert header.tied["fourth.core_0"] == "third.core_0"
    assert [layer.paths for layer in header.layers] == [("first", "second"), ("third",), ("fourth",)]
    twin = tnl.load(path, into=Tied())
    assert_same_state(twin, model)
    assert twin.first is twin.second
    assert twin.fourth.core_0 is twin.third.core_0
    assert twin.fourth.core_1 is not twin.third.core_1
    assert twin.out.weight is twin.embed.weight
    assert len(list(twin.parameters())) == len(list(model.parameters()))


@torch_blames_itself
def test_of_a_compiled_model_the_model_is_saved(tmp_path):
    model = tnl.models.build("fc2", network="mpo(bond=2)", seed=0)
    tnl.save(torch.compile(model), tmp_path / "compiled")
    tnl.save(model, tmp_path / "plain")
    assert (tmp_path / "compiled").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_drop_in_class_loads_as_what_it_is(tmp_path):
    layer = tnl.nn.MPOLinear(12, 10, cores=2, bond_dim=2)
    tnl.save(layer, tmp_path / "layer")
    twin = tnl.load(tmp_path / "layer")
    assert type(twin) is tnl.nn.TNLinear  # MPOLinear is only another way to write one
    x = torch.randn(3, 12)
    assert torch.equal(twin(x), layer(x))
    assert [placed.paths for placed in layers_of(nn.Sequential(twin))] == [("0",)]
