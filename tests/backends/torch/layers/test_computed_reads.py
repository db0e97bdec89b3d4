"""Reads of a weight that is computed from cores: those of any tensor, also in compiled code; copies are free."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import opt_einsum
import pytest
from computed_layers import HOLDERS, LAYERS

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


ARRAYS = {
    "numpy": lambda w: w.detach().numpy(),
    "forced": lambda w: w.numpy(force=True),
    "asarray": lambda w: np.asarray(w.detach()),
    "slice": lambda w: w.detach()[1:].numpy(),
    "memoryview": lambda w: np.asarray(memoryview(w.detach().numpy())),
    "__array__": lambda w: w.detach().__array__(),
}


TAKERS = {
    "torch": lambda w: torch.from_dlpack(w),
    "numpy": lambda w: np.from_dlpack(w),
    "numpy without a copy": lambda w: np.from_dlpack(w, copy=False),
    "torch on a device": lambda w: torch.from_dlpack(w, device="cpu"),
    "capsule": lambda w: w.__dlpack__(),
    "capsule of version 1": lambda w: w.__dlpack__(max_version=(1, 0)),
}


@pytest.mark.parametrize("array", ARRAYS)
def test_arrays_of_it_are_read_only(array):
    layer = LAYERS["linear"]()
    found = ARRAYS[array](layer.weight)
    with pytest.raises(ValueError, match="read-only"):
        found[...] = 0
    expected = layer.weight.detach().numpy().copy()  # which is one's own
    expected[0] = 7.0
    assert expected[0, 0] == 7.0


@pytest.mark.parametrize("taker", TAKERS)
def test_its_memory_is_not_handed_out(taker):
    layer = LAYERS["linear"]()
    for part in (lambda w: w.detach(), lambda w: w.data, lambda w: w.detach()[1:].T):
        with pytest.raises(
            tnl.TNLayersError, match=r"from_dlpack writes there would be lost.*layer\.weight\.clone\(\)"
        ):
            TAKERS[taker](part(layer.weight))
    own = TAKERS[taker](layer.weight.detach().clone())
    if not taker.startswith("capsule"):
        own[...] = 0  # one's own


def test_a_copy_by_dlpack_is_free():
    jax = pytest.importorskip("jax")
    layer = LAYERS["linear"]()
    weight = layer.to_dense().detach()
    for copied in (
        torch.from_dlpack(layer.weight.detach(), copy=True),
        np.from_dlpack(layer.weight.detach(), copy=True),
    ):
        assert np.array_equal(copied, weight)
        copied[...] = 0
    assert np.array_equal(jax.numpy.asarray(layer.weight.detach()), weight)
    with pytest.raises(tnl.TNLayersError, match="from_dlpack"):
        jax.dlpack.from_dlpack(layer.weight.detach())
    assert torch.equal(layer.to_dense(), weight)


@pytest.mark.parametrize("kind", LAYERS)
def test_reads_are_those_of_any_tensor(kind):
    layer = LAYERS[kind]()
    weight, dense = layer.weight, LAYERS["linear"]().to_dense() if kind == "adapter" else layer.to_dense()
    if kind != "adapter":
        assert torch.equal(weight, dense)
    assert (weight.dtype, weight.device, weight.ndim) == (torch.float32, torch.device("cpu"), dense.ndim)
    assert weight.requires_grad
    for plain in (
        weight + 1,
        weight.norm(),
        weight.clone(),
        weight.double(),
        weight @ weight.mT,
        torch.stack([weight]),
    ):
        assert type(plain) is torch.Tensor
    assert weight.detach().numpy().shape == tuple(weight.shape)
    assert repr(weight).startswith("tensor(")
    assert opt_einsum.contract("ab,cb->ac", weight.flatten(1), weight.flatten(1)).shape == (len(weight), len(weight))
    weight.square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters() if p.requires_grad and p.ndim > 1)


def test_a_copy_is_free():
    layer = LAYERS["linear"]()
    with torch.no_grad():
        copies = [layer.weight.clone(), layer.to_dense(), copy.deepcopy(layer.weight)]
        for own in copies:
            own.zero_()
            own[0] = 1
    buffer = io.BytesIO()
    torch.save(layer.weight.detach(), buffer)
    buffer.seek(0)
    assert type(torch.load(buffer)) is torch.Tensor
    assert type(pickle.loads(pickle.dumps(layer.weight.detach()))) is torch.Tensor


def test_a_parameter_made_of_it_is_a_parameter():
    layer = LAYERS["linear"]()
    for given in (layer.weight, layer.weight.detach(), layer.weight.data):
        dense = nn.Linear(16, 16, bias=False)
        dense.weight = nn.Parameter(given)
        assert type(dense.weight) is nn.Parameter
        assert dense.weight.is_leaf
        x = torch.randn(3, 16)
        torch.testing.assert_close(dense(x), x @ layer.weight.mT)
        dense(x).sum().backward()
        torch.optim.SGD(dense.parameters(), lr=0.1).step()
        assert type(copy.deepcopy(dense).weight) is nn.Parameter
        assert not torch.equal(dense.weight, layer.weight)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own look
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # of torch's own first jvp
def test_compiled_and_transformed_code_reads_it():
    layer = LAYERS["linear"]()
    x = torch.randn(3, 16)
    expected = x @ layer.to_dense().mT

    def inside(x):
        return x @ layer.weight.mT

    def outside(x, w):
        return x @ w.mT

    torch.testing.assert_close(torch.compile(inside, backend="eager", fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.compile(outside, backend="eager")(x, layer.weight), expected)
    torch.testing.assert_close(torch.func.vmap(inside)(x), expected)
    torch.testing.assert_close(torch.func.vmap(outside, (0, None))(x, layer.weight), expected)
    found = torch.func.grad(lambda w: outside(x, w).sum())(layer.weight)
    torch.testing.assert_close(found, x.sum(0).expand(16, 16))
    torch.testing.assert_close(torch.func.jvp(lambda w: outside(x, w), (layer.weight,), (layer.weight,))[1], expected)
    with torch.inference_mode():
        torch.testing.assert_close(inside(x), expected)
    torch.testing.assert_close(torch.autograd.grad(outside(x, w := layer.weight).sum(), w)[0], x.sum(0).expand(16, 16))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("kind", [*LAYERS, *HOLDERS])
def test_scripting_is_refused_in_words(kind):
    layer = LAYERS[kind]() if kind in LAYERS else HOLDERS[kind][0]()
    for module in (layer, nn.Sequential(nn.Identity(), layer)):
        with pytest.raises(tnl.TNLayersError, match=r"torch\.jit\.script cannot compile .*torch\.export"):
            torch.jit.script(module)
