"""Writes the fixtures of tests/io/test_foreign.py: cores of other libraries, and the dense weights that they stand for.

It runs in an environment of its own, because the libraries ask for other versions than tnlayers does:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 numpy safetensors packaging tensorly==0.10.0 tensorly-torch==0.5.0
    peers/bin/pip install torchtt==0.5.0
    peers/bin/pip install --no-deps --ignore-requires-python torch-mpo==0.2.3
    peers/bin/python tests/data/make_foreign.py

torchtt builds a C++ extension where it can and goes without it where not. torch-mpo asks for Python 3.12 and for
packages that its layers do not use. The paper's code needs TensorFlow 1: its layer is repeated below in numpy, step for
step (github.com/zfgao66/deeplearning-mpo, FC2/fc2-mpo1/tt.py).
"""

from pathlib import Path

import numpy as np
import tltorch
import torch
import torchtt
import torchtt.nn
from safetensors.torch import save_file
from torch_mpo.layers import TTLinear

FOLDER = Path(__file__).parent


def drawn(module):
    """Parameters of size 1, so that no library's initialisation matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def write(name, state, dense, x, y):
    """Names of the library's own state dict, and "expected.*" beside them."""
    arrays = {key: value.detach().clone().contiguous() for key, value in state.items()}
    expected = {"expected.dense": dense, "expected.x": x, "expected.y": y}
    save_file(arrays | {key: value.detach().contiguous() for key, value in expected.items()}, FOLDER / name)


def of_tltorch():
    layer = drawn(
        tltorch.FactorizedLinear(
            (4, 3, 2), (2, 3, 5), factorization="BlockTT", rank=(1, 3, 4, 1), bias=True, dtype=torch.float64
        )
    )
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    write("foreign-tltorch.safetensors", layer.state_dict(), layer.weight.to_matrix(), x, layer(x))


def of_torch_mpo():
    layer = drawn(
        TTLinear(24, 30, inp_modes=[4, 3, 2], out_modes=[2, 3, 5], tt_ranks=[1, 3, 4, 1], dtype=torch.float64)
    )
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    write("foreign-torch-mpo.safetensors", layer.state_dict(), layer.to_matrix(), x, layer(x))


def of_torchtt():
    layer = drawn(torchtt.nn.LinearLayerTT([4, 3, 2], [2, 3, 5], [1, 3, 4, 1], dtype=torch.float64))
    x = torch.randn(3, 4, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dense = torchtt.TT([core.detach() for core in layer.cores]).full().reshape(30, 24)
    y = layer(x)
    write("foreign-torchtt.safetensors", layer.state_dict(), dense, x.reshape(3, 24), y.reshape(3, 30))


def tto(x, in_modes, out_modes, ranks, cores, biases):
    """The forward pass of the paper's code, the batch axis last at first, as `tto` has it."""
    out = x.reshape(-1, np.prod(in_modes)).T
    for k, core in enumerate(cores):
        out = core @ out.reshape(ranks[k] * in_modes[k], -1)
        out = out.reshape(out_modes[k], -1).T
    return out.reshape(-1, np.prod(out_modes)) + biases


def of_deeplearning_mpo():
    in_modes, out_modes, ranks = (4, 3, 2), (2, 3, 5), (1, 3, 4, 1)
    rng = np.random.default_rng(0)
    shapes = [(out_modes[k] * ranks[k + 1], ranks[k] * in_modes[k]) for k in range(3)]
    cores, biases = [rng.standard_normal(shape) for shape in shapes], rng.standard_normal(30)
    x = rng.standard_normal((3, 24))
    state = {f"tt_1/mat_core_{k + 1}:0": torch.from_numpy(core) for k, core in enumerate(cores)}
    state["tt_1/biases:0"] = torch.from_numpy(biases)
    dense = tto(np.eye(24), in_modes, out_modes, ranks, cores, 0.0).T
    y = tto(x, in_modes, out_modes, ranks, cores, biases)
    write("foreign-deeplearning-mpo.safetensors", state, *map(torch.from_numpy, (dense.copy(), x, y)))


if __name__ == "__main__":
    of_tltorch()
    of_torch_mpo()
    of_torchtt()
    of_deeplearning_mpo()
