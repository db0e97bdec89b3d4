"""Whole models saved from torch run on numpy and jax: the same logits, without torch, or a refusal in words."""

import json

import jax
import numpy as np
import pytest
import torch
from interpreter import run
from jax_cases import x64
from torch import nn
from torch.nn import functional

import tnlayers as tnl
from tnlayers.io.container import read, write

ON_NUMPY = [(name, "mpo") for name in ("fc2", "lenet5", "vgg16", "resnet8-k1", "resnet14-unit", "densenet40-12")]
ON_NUMPY += [(name, "dense") for name in ("fc2", "lenet5", "resnet8-k1")]
ON_JAX = ("fc2", "lenet5", "resnet8-k1")
DEEP = ("vgg16", "resnet20", "densenet40-12")  # forward alone: their gradients take long to compile


def trained(name, network):
    """A model in double precision whose batch normalisation has seen something."""
    model = tnl.models.build(name, network=network, seed=0).double()
    images = torch.randn(4, *tnl.models.find(name).image, generator=torch.Generator().manual_seed(1)).double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            rng = torch.Generator().manual_seed(2)
            module.running_mean.copy_(torch.randn(module.num_features, generator=rng) / 4)
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=rng))
            module.weight.data.mul_(1.25), module.bias.data.add_(0.125)
    return model.eval(), images[:2]


@pytest.mark.parametrize(("name", "network"), ON_NUMPY)
@torch.no_grad()
def test_logits_on_numpy(tmp_path, name, network):
    model, images = trained(name, network)
    tnl.save(model, tmp_path / "model")
    found = tnl.load(tmp_path / "model", backend="numpy")(images.numpy())
    expected = model(images).numpy()
    scale = np.abs(expected).max()
    assert found.dtype == np.float64
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-10)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found / scale, model(images + 1e-6).numpy() / scale, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ON_JAX)
@torch.no_grad()
def test_logits_and_gradients_on_jax(tmp_path, name):
    model, images = trained(name, "mpo")
    tnl.save(model, tmp_path / "model")
    with x64(True):
        twin = tnl.load(tmp_path / "model", backend="jax")
        y, pull = jax.vjp(lambda model: jax.jit(lambda model, x: model(x))(model, images.numpy()), twin)
        np.testing.assert_allclose(y, model(images).numpy(), rtol=1e-10, atol=1e-10)
        found = pull(jax.numpy.ones_like(y))[0].params
        tnl.save(twin, tmp_path / "again")
        again = tnl.load(tmp_path / "again", backend="numpy")
    np.testing.assert_allclose(again(images.numpy()), model(images).numpy(), rtol=1e-10, atol=1e-10)
    with torch.enable_grad():
        model(images).sum().backward()
    for key, parameter in model.named_parameters():
        np.testing.assert_allclose(found[key], parameter.grad.numpy(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", DEEP)
@torch.no_grad()
def test_logits_of_deep_models_on_both(tmp_path, name):
    model, images = trained(name, "mpo")
    tnl.save(model, tmp_path / "model")
    expected = model(images).numpy()
    scale = np.abs(expected).max()
    with x64(True):
        twin = tnl.load(tmp_path / "model", backend="jax")
        call = jax.jit(lambda model, x: model(x))
        found, other = (np.asarray(call(twin, images.numpy() + shift)) for shift in (0, 1e-6))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-10)
    assert np.abs(other - expected).max() > 1e-10 * scale
    served = tnl.load(tmp_path / "model", backend="numpy")(images.numpy())
    np.testing.assert_allclose(served / scale, expected / scale, rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", ["numpy", "jax"])
@pytest.mark.parametrize(("network", "tied"), [("mpo(bond=4)", False), ({"*.attention.*": "mpo(bond=2)"}, True)])
@torch.no_grad()
def test_a_language_model_gives_the_same_logits(tmp_path, network, tied, backend):
    model = tnl.models.gpt(network, width=16, depth=2, heads=2, context=8, vocabulary=11, tied=tied, seed=0).double()
    tokens = torch.randint(0, 11, (3, 8), generator=torch.Generator().manual_seed(1))
    tnl.save(model, tmp_path / "gpt")
    with x64(True):
        served = tnl.load(tmp_path / "gpt", backend=backend)
        call = jax.jit(served) if backend == "jax" else served
        for count in (8, 1):
            found, expected = call(tokens[:, :count].numpy()), model(tokens[:, :count]).numpy()
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
            assert not np.allclose(found, model(10 - tokens[:, :count]).numpy(), atol=1e-3)
        with pytest.raises(tnl.TNLayersError, match="reads 8 tokens at most, got 9"):
            served(np.zeros((1, 9), np.int64))
        with pytest.raises(tnl.TNLayersError, match=r"got \(2, 3\) of float64"):
            served(np.zeros((2, 3)))
        with pytest.raises(tnl.TNLayersError, match="out of range"):
            served(np.full((1, 2), 11))
    if backend == "numpy":
        tnl.save(served, tmp_path / "again")
        again = tnl.load(tmp_path / "again", backend="numpy")
        np.testing.assert_array_equal(again(tokens.numpy()), served(tokens.numpy()))


def test_positions_are_those_of_the_paper():
    """Sines and cosines of pos / 10000^(2i / width) (arXiv 1706.03762, Sec. 3.5), on torch in its own dtype."""
    from tnlayers_backends.torch.modules.causal import add_positions

    from tnlayers.forms.causal import sinusoids

    place, column = np.arange(3, 8)[:, None], np.arange(12)
    angle = place / 10_000 ** ((column - column % 2) / 12)
    expected = np.where(column % 2, np.cos(angle), np.sin(angle))
    np.testing.assert_allclose(sinusoids(3, 5, 12), expected, rtol=0, atol=1e-14)
    found = add_positions(torch.zeros(2, 5, 12), 3)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-7)


class Heads(nn.Module):
    """Axes are split and exchanged; a scale that is None by default is left out where its value is asked for."""

    def forward(self, x, scale=None):
        x = x.unflatten(-1, (2, -1)).transpose(0, -2)
        if scale:
            x = x * scale
        return torch.transpose(torch.unflatten(x, 1, (2, 1)), 1, 2)


def test_what_is_none_by_default_may_be_left_out():
    x = torch.randn(3, 2, 6)
    twin = tnl.to_backend(Heads(), "numpy")
    np.testing.assert_array_equal(twin(x.numpy()), Heads()(x).numpy())
    with pytest.raises(tnl.TNLayersError, match="takes 1 inputs by place; it was called with 2"):
        twin(x.numpy(), x.numpy())
    with pytest.raises(tnl.TNLayersError, match=r"5 entries cannot be split into \(2, -1\)"):
        twin(np.zeros((3, 2, 5)))


class Smooth(nn.Module):
    """Activations that are no primitives, as modules and as functions."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.SiLU())

    def forward(self, x):
        y = functional.gelu(x) + functional.gelu(x, approximate="tanh")
        return self.inner(y), functional.silu(y), functional.gelu(10 * x)


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_gelu_and_silu_are_those_of_torch(backend):
    x = 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()
    with x64(True):
        found = tnl.to_backend(Smooth(), backend)(x.numpy())
    for one, other in zip(found, Smooth()(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
        assert one.dtype == np.float64
    assert not np.allclose(functional.gelu(x), functional.gelu(x, approximate="tanh"), rtol=1e-6, atol=0)
    small = tnl.to_backend(nn.Sequential(nn.GELU()), "numpy")(x.numpy().astype(np.float32))
    assert small.dtype == np.float32


def test_a_model_is_served_without_torch(tmp_path):
    model, images = trained("lenet5", "mpo")
    tnl.save(model, tmp_path / "model")
    np.save(tmp_path / "images.npy", images.numpy())
    code = f"""
import sys
sys.modules["torch"] = sys.modules["jax"] = None  # as if they were not installed
import numpy as np, tnlayers as tnl
model = tnl.load({str(tmp_path / "model")!r}, backend="numpy")
print(np.argmax(model(np.load({str(tmp_path / "images.npy")!r})), 1).tolist())
"""
    assert run(code).strip() == str(model(images).argmax(1).tolist())


class Own(nn.Module):
    """A model of a user's: a compressed layer, a shortcut, tied weights, and functions between."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, stride=2, padding_mode="reflect")
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.LayerNorm(8)
        self.wide = tnl.nn.TNLinear(8, 12, network="mpo(cores=2, bond=2)")
        self.back = nn.Linear(12, 8)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(12, 8)
        self.out.weight = self.back.weight

    def forward(self, x):
        x = self.pool(torch.sigmoid(self.stem(x)))
        a = functional.avg_pool2d(x, 2, padding=1)
        x = torch.cat([self.mean(x).flatten(1), self.mean(a).view(a.shape[0], -1)], dim=-1)
        y = self.drop(self.back(torch.tanh(self.wide(self.norm(x)))) + x)
        return torch.softmax(self.out(functional.relu(self.wide(y), inplace=True)) - y * 2, dim=-1), a.size(0)


@torch.no_grad()
def test_a_model_of_a_users_is_followed(tmp_path):
    model = Own().double()  # in training mode: what is moved evaluates
    twin = tnl.to_backend(model, "numpy")
    x = torch.randn(5, 3, 9, 8).double()
    (expected, _), (found, size) = model.eval()(x), twin(x.numpy())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10, atol=1e-12)
    assert size == 5
    assert "out.weight" not in twin.arrays  # which is one with back.weight
    tnl.save(twin, tmp_path / "own")
    again = tnl.load(tmp_path / "own")
    np.testing.assert_array_equal(again(x.numpy())[0], found)
    assert again.arrays.keys() == twin.arrays.keys()
    model.train()
    tnl.to_backend(model, "numpy")
    assert all(module.training for module in model.modules())
    tnl.save(model, tmp_path / "torch")
    with pytest.raises(tnl.TNLayersError, match=r"class of its own: save tnl\.to_backend"):
        tnl.load(tmp_path / "torch", backend="numpy")


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 0)


REFUSED = {
    "module": (lambda: nn.Sequential(nn.Linear(3, 3), nn.PReLU()), r"'1' of this Sequential is a PReLU"),
    "function": (Odd, r"calls 'cumsum'"),
    "values": (Branches, r"cannot be followed step by step"),
    "statistics": (lambda: nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), r"'0'.*track_running_stats"),
    "ceil": (lambda: nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), r"'0'.*ceil_mode"),
    "padding": (lambda: nn.Sequential(nn.AvgPool2d(2, padding=1, count_include_pad=False)), r"count_include_pad"),
    "adaptive": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2)), r"pooling to 1"),
    "axis": (lambda: nn.Sequential(nn.Softmax(1)), r"dim=-1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_by_name(name, tmp_path):
    make, part = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=part) as caught:
        tnl.to_backend(make(), "numpy")
    assert 60 < len(str(caught.value)) < 2_000
    tnl.save(make(), tmp_path / "model")  # it is saved all the same
    with pytest.raises(tnl.TNLayersError, match="Load it with backend='torch', or save it again"):
        tnl.load(tmp_path / "model", backend="numpy")


def forged(path, change):
    """The file with another description of what its model does."""
    metadata, arrays = read(path)
    data = json.loads(metadata["tnlayers"])
    change(data["form"])
    write(path, json.dumps(data, sort_keys=True), arrays)


FORGED = {
    "kind": lambda form: form.update(kind="system"),
    "fields": lambda form: form["fields"].pop("inputs"),
    "function": lambda form: form["fields"]["steps"][0].update(do="__import__"),
    "reference": lambda form: form["fields"]["steps"][0].update(args=[{"ref": 99}, 1, -1]),
    "part": lambda form: form["fields"]["steps"][1].update(args=["fc9", {"ref": 0}]),
    "layer": lambda form: form["parts"][0].__setitem__(0, "fc7"),
    "text": lambda form: form.update(parts="fc1"),
    "step": lambda form: form["fields"].update(steps=[7]),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_description_is_refused(name, tmp_path):
    tnl.save(tnl.models.build("fc2", network="mpo(bond=2)", seed=0), tmp_path / "model")
    forged(tmp_path / "model", lambda form: None)
    tnl.load(tmp_path / "model", backend="numpy")
    forged(tmp_path / "model", FORGED[name])
    with pytest.raises(tnl.TNLayersError):
        tnl.load(tmp_path / "model", backend="numpy")
