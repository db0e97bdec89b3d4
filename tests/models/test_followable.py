"""What a trace does not see is refused: hooks, forwards of objects, values read after they were changed in place."""

import numpy as np
import pytest
import torch
from torch import nn

import tnlayers as tnl

X = torch.linspace(-1, 1, 32).reshape(2, 16)


class Net(nn.Module):
    """Two layers, and a step between them that a test gives."""

    def __init__(self, between):
        super().__init__()
        self.a, self.b = tnl.nn.TNLinear(16, 16, seed=0), nn.Linear(16, 16)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.between = between

    def forward(self, x):
        return self.b(self.between(self, self.a(x)))


def kept(net, y):
    z = y
    y += 1
    return y * z


def kept_by_a_view(net, y):
    z = y.reshape(-1, 4, 4)
    y *= 2
    return y + z.flatten(1)


def kept_by_dropout(net, y):
    z = net.drop(y)  # the same tensor in evaluation
    return net.relu(y) + z


def kept_by_a_function(net, y):
    return nn.functional.relu(y, inplace=True) + y


def kept_before_a_difference(net, y):
    z = torch.flatten(y, 1)
    y -= 0.5
    return z * y


def changed_and_forgotten(net, y):
    y += net.relu(y * 2)
    y *= 3
    return net.relu(y)


def read_before(net, y):
    z = torch.tanh(y)
    y -= 1
    return z + y


def plain(net, y):
    return torch.relu(y)


OVERWRITTEN = [kept, kept_by_a_view, kept_by_dropout, kept_by_a_function, kept_before_a_difference]


@pytest.mark.parametrize("between", OVERWRITTEN)
def test_a_value_read_after_a_change_in_place_is_refused(between):
    with pytest.raises(tnl.TNLayersError, match="changes a value in place"):
        tnl.to_backend(Net(between).eval(), "numpy")


@pytest.mark.parametrize("between", [changed_and_forgotten, read_before, plain])
@torch.no_grad()
def test_a_change_in_place_that_nobody_sees_is_followed(between):
    net = Net(between).double().eval()
    x = X.double()
    np.testing.assert_allclose(tnl.to_backend(net, "numpy")(x.numpy()), net(x).numpy(), rtol=0, atol=1e-12)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(tnl.to_backend(net, "numpy")(x.numpy()), net(x).numpy() + 1e-9, rtol=0, atol=1e-12)


WAYS = {
    "hook": lambda one: one.register_forward_hook(lambda module, inputs, y: y * 2),
    "hook with keywords": lambda one: one.register_forward_hook(lambda m, i, k, y: y * 2, with_kwargs=True),
    "hook that is always called": lambda one: one.register_forward_hook(lambda m, i, y: y * 2, always_call=True),
    "hook before": lambda one: one.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 3,)),
    "forward of the object": lambda one: setattr(one, "forward", lambda x: x * 0),
}
PLACES = {"a layer": lambda net: net.a, "a dense one": lambda net: net.b, "the model": lambda net: net}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_what_is_called_beside_the_class_is_refused(way, place, backend):
    net = Net(plain).eval()
    WAYS[way](PLACES[place](net))
    with pytest.raises(tnl.TNLayersError, match=r"forward hook|forward of its own"):
        tnl.to_backend(net, backend)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_does_not_say_what_a_model_with_hooks_does(way, tmp_path):
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
    WAYS[way](model[0])
    tnl.save(model, tmp_path / "model")
    with pytest.raises(tnl.TNLayersError, match=r"forward hook|forward of its own"):
        tnl.load(tmp_path / "model", backend="numpy")
    tnl.load(tmp_path / "model", into=nn.Sequential(nn.Linear(16, 16), nn.ReLU()))  # its arrays are there


def test_a_hook_that_was_removed_is_no_obstacle():
    net = Net(plain).eval()
    handle = WAYS["hook"](net.a)
    handle.remove()
    assert tnl.to_backend(net, "numpy")(X.numpy()).shape == (2, 16)
