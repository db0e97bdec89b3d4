"""Calls of layers and modules on numpy and jax: by place or by name as on torch, and what does not fit is refused."""

import numpy as np
import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.forms.ordinary import Elementwise

torch = framework("torch")
nn = torch.nn
BACKENDS = ["numpy", "jax"]
NET = "mpo(cores=2, bond=2)"


def ones(*sizes):
    return np.ones(sizes, np.float32)


def random(*sizes):
    return np.random.default_rng(sum(sizes)).standard_normal(sizes).astype(np.float32)


def before_lowrank(*modules):
    """Modules of torch before a layer of 8 features or channels, so that the whole is a model of tnlayers."""
    last = tnl.nn.TNLinear(8, 8, network=NET) if isinstance(modules[0], (nn.Linear, nn.LayerNorm)) else None
    return nn.Sequential(*modules, last or tnl.nn.TNConv2d(8, 8, 1, network=NET)).eval()


KINDS = {
    "convolution": lambda: tnl.nn.TNConv2d(4, 8, 3, network=NET),
    "flat": lambda: tnl.nn.TNConv2d(2, 4, 3, network=NET, view="flat", in_size=(4, 4)),
    "tensor": lambda: tnl.nn.TNTensorLinear((2, 3), (4,), network=NET),
    "bilinear": lambda: tnl.nn.TNBilinear(4, 6, 5, network=NET),
    "embedding": lambda: tnl.nn.TNEmbedding(12, 8, network=NET),
    "bag": lambda: tnl.nn.TNEmbeddingBag(12, 8, mode="sum", network=NET),
    "cell": lambda: tnl.nn.TNGRUCell(4, 6, network=NET),
    "lstm": lambda: tnl.nn.TNLSTM(4, 6, network=NET),
    "attention": lambda: tnl.nn.TNMultiheadAttention(8, 2, network=NET),
    "dense linear": lambda: before_lowrank(nn.Linear(5, 8)),
    "dense convolution": lambda: before_lowrank(nn.Conv2d(4, 8, 3)),
    "batch norm": lambda: before_lowrank(nn.BatchNorm2d(8)),
    "layer norm": lambda: before_lowrank(nn.LayerNorm(8)),
    "pool": lambda: before_lowrank(nn.MaxPool2d(2)),
}


def made(kind, backend):
    torch.manual_seed(0)
    return tnl.to_backend(KINDS[kind](), backend)


WRONG_SHAPES = {
    "convolution": ([ones(2, 5, 6, 6)], r"takes \(batch, 4, \*positions\).*of any size"),
    "flat": ([ones(2, 2, 5, 5)], r"of size 4x4 \(view 'flat'\)"),
    "tensor": ([ones(5, 3, 2)], r"shape \(5, 3, 2\), but this layer takes \(\.\.\., 2, 3\)"),
    "bilinear": ([ones(3, 4), ones(2, 6)], "with equal leading axes"),
    "embedding": ([ones(3)], "Ids are int64 or int32 numbers, got float32"),
    "cell": ([ones(2, 3, 4)], "one step at a time"),
    "dense linear": ([ones(2, 7)], r"takes vectors \(\.\.\., 5\)"),
    "dense convolution": ([ones(2, 3, 6, 6)], r"this convolution takes \(batch, 4, \*positions\)"),
    "batch norm": ([ones(2, 3, 6, 6)], r"this normalisation takes \(batch, 8, \.\.\.\)"),
    "layer norm": ([ones(2, 3, 6)], r"this normalisation takes \(\.\.\., \(8,\)\)"),
    "pool": ([ones(6, 6)], r"this pooling takes \(batch, channels, \*positions\)"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", WRONG_SHAPES)
def test_a_shape_that_does_not_fit_is_refused(kind, backend):
    framework(backend)
    given, words = WRONG_SHAPES[kind]
    with pytest.raises(tnl.TNLayersError, match=words):
        made(kind, backend)(*given)


# By kind: inputs that are right, by place.
RIGHT = {
    "convolution": [random(2, 4, 6, 6)],
    "tensor": [random(5, 2, 3)],
    "bilinear": [random(3, 4), random(3, 6)],
    "embedding": [np.array([1, 7])],
    "bag": [np.array([1, 7, 3]), np.array([0, 2]), random(3)],
    "cell": [random(2, 4), random(2, 6)],
    "lstm": [random(5, 2, 4), (random(1, 2, 6), random(1, 3, 6)[:, :2])],
    "attention": [random(3, 2, 8), random(5, 2, 8), random(5, 2, 8), random(2, 5) > 0.9, True, random(3, 5)],
}
NAMES = {
    "bilinear": ["input1", "input2"],
    "embedding": ["ids"],
    "bag": ["input", "offsets", "per_sample_weights"],
    "cell": ["x", "hx"],
    "lstm": ["x", "hx"],
    "attention": ["query", "key", "value", "key_padding_mask", "need_weights", "attn_mask"],
}


def leaves(found):
    return [np.asarray(leaf) for part in found for leaf in leaves(part)] if isinstance(found, tuple) else [found]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(leaves(left), leaves(right), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", RIGHT)
def test_inputs_by_name_are_those_by_place(kind, backend):
    framework(backend)
    module, given, names = made(kind, backend), RIGHT[kind], NAMES.get(kind, ["x"])
    expected = module(*given)
    for places in range(len(given)):
        assert same(module(*given[:places], **dict(zip(names[places:], given[places:], strict=True))), expected)
    if len(given) > 1 and kind != "bilinear":  # teeth: what was given by name counts
        least = 2 if kind == "bag" else 3 if kind == "attention" else 1
        assert not same(module(*given[:least]), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", RIGHT)
def test_other_inputs_are_refused(kind, backend):
    framework(backend)
    module, given = made(kind, backend), RIGHT[kind]
    first = NAMES.get(kind, ["x"])[0]
    for places, names in (([], {}), (given + given * 3, {}), (given, {"other": given[0]}), (given, {first: given[0]})):
        with pytest.raises(tnl.TNLayersError, match=rf"takes {first}.*was called with {len(places)} inputs by place"):
            module(*places, **names)


def test_an_unknown_function_is_refused():
    with pytest.raises(tnl.TNLayersError, match="function='nothing' is none of relu, tanh"):
        Elementwise("nothing")
