"""ONNX files of every layer kind, by both exporters: right at other batch sizes, and they hold cores, not weights."""

import io
import warnings
from collections import Counter
from math import prod

import numpy as np
import pytest
import torch

import tnlayers as tnl
from tnlayers.program.program import Multiply

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = [
    pytest.mark.usefixtures("onnx_table"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class SelfAttention(torch.nn.Module):
    """The attention layer of one input."""

    def __init__(self):
        super().__init__()
        self.attention = tnl.nn.TNMultiheadAttention(64, 4, batch_first=True, network="mpo(bond=2)", seed=0)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


def images(channels, size=8):
    return lambda: torch.randn(2, channels, size, size)


# How a layer is made, its input, and the bytes of the dense weights that it replaces.
KINDS = {
    "linear": (lambda: tnl.nn.MPOLinear(64, 192, bond_dim=4, seed=0), lambda: torch.randn(2, 64), 4 * 64 * 192),
    "linear-long": (lambda: tnl.nn.MPOLinear(784, 256, bond_dim=4, seed=0), lambda: torch.randn(2, 784), 4 * 784 * 256),
    "conv": (
        lambda: tnl.nn.TNConv2d(64, 64, 3, padding=1, network="mpo(bond=4)", seed=0),
        images(64),
        4 * 9 * 64 * 64,
    ),
    "conv-strided-groups": (
        lambda: tnl.nn.TNConv2d(64, 64, 3, stride=2, groups=2, network="mpo(bond=4)", seed=0),
        images(64),
        4 * 9 * 64 * 32,
    ),
    "conv-1d": (
        lambda: tnl.nn.TNConv1d(64, 64, 5, network="cp(rank=8)", seed=0),
        lambda: torch.randn(2, 64, 9),
        4 * 5 * 64 * 64,
    ),
    "conv-flat": (
        lambda: tnl.nn.TNConv2d(4, 4, 3, padding=1, view="flat", in_size=(6, 6), network="mpo(bond=2)", seed=0),
        images(4, 6),
        4 * 144 * 144,
    ),
    "embedding": (
        lambda: tnl.nn.TNEmbedding(1000, 64, network="mpo(bond=4)", seed=0),
        lambda: torch.randint(0, 1000, (2, 5)),
        4 * 1000 * 64,
    ),
    "attention": (SelfAttention, lambda: torch.randn(2, 5, 64), 4 * 4 * 64 * 64),
}


def dynamo(model, x):
    pytest.importorskip("onnxscript")
    sizes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    return torch.onnx.export(
        model, (x,), dynamo=True, dynamic_shapes=sizes, verbose=False
    ).model_proto.SerializeToString()


def classic(model, x):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and warns of sizes that it takes as they are
        torch.onnx.export(model, (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    return file.getvalue()


def constants(file):
    """Bytes of all numbers in a file."""
    graph = onnx.load_from_string(file).graph
    attributes = [a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    found = [*graph.initializer, *attributes]
    return sum(prod(one.dims) * onnx.helper.tensor_dtype_to_np_dtype(one.data_type).itemsize for one in found)


def outputs(file, x):
    session = onnxruntime.InferenceSession(file)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.mark.parametrize("export", [dynamo, classic])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_cores_and_gives_what_the_layer_gives(kind, export):
    torch.manual_seed(0)
    make, draw, dense = KINDS[kind]
    model = make().eval()
    file = export(model, draw())
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    assert constants(file) <= parameters + 1500  # shapes and axes beside them
    assert parameters + 1500 < dense
    x = torch.cat([draw(), draw(), draw()])[:5]
    with torch.no_grad():
        np.testing.assert_allclose(outputs(file, x), model(x).numpy(), rtol=1e-4, atol=1e-5)


NETWORKS = ["mpo(cores=3, bond=4)", "tucker(cores=2, bond=2)"]


@pytest.mark.parametrize("export", [dynamo, classic])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_file_has_the_products_of_the_plan_and_no_others(network, export):
    layer = tnl.nn.TNLinear(24, 20, bias=False, network=network, seed=0).eval()
    plan = layer.plan_for(128)  # which traced code closes over
    products = sum(isinstance(step, Multiply) for step in plan.program.steps)
    assert products >= 2
    nodes = onnx.load_from_string(export(layer, torch.randn(2, 24))).graph.node
    kinds = Counter(node.op_type for node in nodes)
    assert sum(kinds[kind] for kind in ("MatMul", "Gemm", "Einsum", "FusedMatMul")) == products
    # Each product has two operands and a result to lay out, each core the zero that keeps it a core; the zero is four.
    moved = sum(kinds[kind] for kind in ("Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze"))
    assert moved <= 6 * products + 4
    others = {"MatMul", "Gemm", "Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Constant"}
    assert sum(count for kind, count in kinds.items() if kind not in others) <= len(layer.cores) + 8


@pytest.mark.parametrize("export", [dynamo, classic])
def test_numbers_that_are_none_do_not_reach_the_cores(export):
    """The zero that is added to cores is one whatever the input: other rows stay right beside NaN and infinity."""
    model = KINDS["linear"][0]().eval()
    file = export(model, torch.randn(2, 64))
    x = torch.randn(3, 64)
    x[0, 0], x[1, 3] = float("nan"), float("inf")
    with torch.no_grad():
        np.testing.assert_allclose(outputs(file, x)[2], model(x).numpy()[2], rtol=1e-4, atol=1e-5)


def test_without_the_zero_the_file_is_dense(monkeypatch):
    """The sizes above have teeth."""
    from tnlayers_backends.torch.layers import exported

    monkeypatch.setattr(exported, "_unknown", lambda cores, x: cores)
    make, draw, dense = KINDS["conv"]
    assert constants(dynamo(make().eval(), draw())) >= dense
