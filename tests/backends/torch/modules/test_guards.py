"""Refusals of torch modules that no other file of tests raises."""

import numpy as np
import pytest
import torch
from tnlayers_backends.base import Parts, check_linear
from tnlayers_backends.torch.layers.expert_stack import stack_of
from tnlayers_backends.torch.measure.rates import measure
from tnlayers_backends.torch.modules.storage import STORAGE
from torch import nn

import tnlayers as tnl


class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = tnl.nn.TNLinear(8, 8, network="mpo(cores=2, bond=2)", seed=0)

    def forward(self, x):
        return torch.softmax(self.layer(x), dim=0)


class Sliced(Softmax):
    def forward(self, x):
        return self.layer(x)[:, 0]


class Tabled(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(8, 8, max_norm=1.0), Softmax().layer)


def parts(**changes):
    found = STORAGE.take_apart(Softmax().layer)
    return found._replace(arrays={**found.arrays, **changes})


def without(name):
    found = STORAGE.take_apart(Softmax().layer)
    return found._replace(arrays={key: array for key, array in found.arrays.items() if key != name})


def bag():
    return tnl.nn.TNEmbeddingBag(12, 8, network="mpo(bond=2)", dtype=torch.complex64)


ELSEWHERE = {
    "softmax": (Softmax, "softmax along axis 0 has no form on other backends"),
    "slice": (Sliced, "has the argument 'slice\\(None, None, None\\)', which no file could hold"),
    "max_norm": (Tabled, "max_norm rewrites its table, which has no form on other backends"),
}
REFUSALS = {
    "complex bags": (lambda: bag()(torch.tensor([[1]])), r"of torch\.complex64: torch reduces bags of real rows only"),
    "too few experts": (lambda: stack_of(3, False, {"0": nn.Linear(2, 2)}), "A stack of 3 experts needs a weight for"),
    "another device": (lambda: measure("tpu9"), "torch knows no device 'tpu9': use cpu, cuda"),
    "no module to quantise": (lambda: tnl.quantise(3), r"model=3 \(int\): a torch module is needed"),
    "an absent array": (lambda: STORAGE.put_together(without("bias")), "core_1, bias, but given are core_0, core_1"),
    "another shape": (
        lambda: STORAGE.put_together(parts(bias=torch.ones(3))),
        r"'bias' has shape \(3,\); it needs",
    ),
    "another kind": (
        lambda: check_linear(Parts("conv2d", {}, tnl.spec("mpo(in=4, out=4, bond=1)"), {}), "mine"),
        "a layer of kind 'conv2d' with keywords .*mine has only 'linear'",
    ),
    "other arrays": (
        lambda: check_linear(Parts("linear", {}, tnl.spec("mpo(in=4, out=4, bond=1)"), {"a": np.ones(1)}), "mine"),
        "has the arrays core_0, but given are a",
    ),
    "8 bits": (
        lambda: tnl.compress(nn.Sequential(nn.Linear(4, 4)).to(torch.float8_e4m3fn), ratio=0.5),
        r"0\.weight is kept in 8 bits, in which nothing can be computed",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused(name):
    ask, words = REFUSALS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_other_backends_cannot_do_is_not_moved(name):
    make, words = ELSEWHERE[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        tnl.to_backend(make().eval(), "numpy")


def test_an_expert_out_of_range_is_none():
    stack = stack_of(2, False, {"0": nn.Linear(2, 2), "1": nn.Linear(2, 2)})
    assert [stack[k].expert for k in (0, 1, -1)] == [0, 1, 1]
    for k in (2, -3):
        with pytest.raises(IndexError, match=f"expert {k} of 2"):
            stack[k]
