"""Recurrent layers under `torch.compile`, before they were ever called: one graph, and the gradients of eager mode."""

import pytest
import torch

import tnlayers as tnl

LAYERS = {
    "lstm": lambda: tnl.nn.TNLSTM(6, 4, network="lowrank(rank=2)", seed=0),
    "gru": lambda: tnl.nn.TNGRU(6, 4, batch_first=True, network="lowrank(rank=2)", seed=0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_compiles_into_one_graph_with_the_gradients_of_eager_mode(name):
    layer, x = LAYERS[name](), torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    grads = []
    for run in (compiled, layer):
        layer.zero_grad()
        y = run(x)[0]
        y.square().sum().backward()
        grads.append([y.detach(), *(p.grad.clone() for p in layer.parameters())])
    for found, wanted in zip(*grads, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
