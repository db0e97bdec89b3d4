"""What no layer computes with: tensors of other layouts, refused, and of other dtypes, never rounded to."""

import pytest
import torch
from kind_rows import KINDS, inputs

import tnlayers as tnl

LAYOUTS = {
    "sparse_coo": (lambda x: x.to_sparse(), r"to_dense\(\)"),
    "sparse_csr": (lambda x: x.flatten(0, -2).to_sparse_csr(), r"to_dense\(\)"),
    "quantized": (lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8), r"dequantize\(\)"),
    "nested": (lambda x: torch.nested.nested_tensor([*x]), r"to_padded_tensor"),
    "nested, jagged": (lambda x: torch.nested.nested_tensor([*x], layout=torch.jagged), r"to_padded_tensor"),
    "mkldnn": (lambda x: x.float().to_mkldnn(), r"to_dense\(\)"),
}
SUPPORTED = [kind for kind in KINDS if kind != "TNAdapter"]  # whose dense layer is called first, and refuses


def made(kind):
    make, shape = KINDS[kind]
    return make().eval(), tuple(map(torch.as_tensor, inputs(shape)))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, on what is in beta or on its way out
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", SUPPORTED)
def test_other_layouts_are_refused(kind, layout):
    layer, given = made(kind)
    change, mend = LAYOUTS[layout]
    changed = tuple(change(x.double() if kind.startswith("TNEmbedding") else x) for x in given)
    with pytest.raises(tnl.TNLayersError, match=rf"is called with \w+ as a {layout.partition(',')[0]} tensor.*{mend}"):
        layer(*changed)
    layer(*given)  # and nothing was lost


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.int64])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("TNEmbedding")])
def test_no_layer_rounds_its_weights_to_the_inputs_dtype(kind, dtype):
    layer, given = made(kind)
    with pytest.raises((RuntimeError, ValueError, tnl.TNLayersError)):
        layer(*(x.to(dtype) for x in given))
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError, tnl.TNLayersError)):
        layer(*(x.to(dtype) for x in given))


@pytest.mark.parametrize("kind", ["TNRNN", "TNLSTM", "TNGRU"])
def test_sequences_say_which_dtype_they_take(kind):
    layer, (x,) = made(kind)
    packed = torch.nn.utils.rnn.pack_sequence([*x.float().transpose(0, 1)])
    for given in (x.float(), packed):
        with pytest.raises(
            tnl.TNLayersError, match=r"parameters of torch.float64 and is called with torch.float32.*x.to"
        ):
            layer(given)
    with torch.autocast("cpu", torch.bfloat16):
        layer.float()(x.float())
