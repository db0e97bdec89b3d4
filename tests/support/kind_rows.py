"""Every kind of layer of `tnl.nn` in double precision, with the shape of its input."""

import numpy as np
import torch

import tnlayers as tnl

OPTIONS = {"seed": 0, "dtype": torch.float64}
CELL, SEQUENCE = (5, 6), (5, 3, 6)
# Layer kind -> a layer in float64, and the shape of its input.
KINDS = {
    "TNLinear": (lambda: tnl.nn.TNLinear(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), (5, 12)),
    "MPOLinear": (lambda: tnl.nn.MPOLinear(12, 10, in_modes=(3, 4), out_modes=(2, 5), bond_dim=3, **OPTIONS), (5, 12)),
    "TNConv1d": (lambda: tnl.nn.TNConv1d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5)),
    "TNConv2d": (lambda: tnl.nn.TNConv2d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5, 5)),
    "TNConv3d": (lambda: tnl.nn.TNConv3d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5, 5, 5)),
    "TNEmbedding": (lambda: tnl.nn.TNEmbedding(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "rows"),
    "TNEmbeddingBag": (lambda: tnl.nn.TNEmbeddingBag(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "rows"),
    "TNBilinear": (lambda: tnl.nn.TNBilinear(3, 4, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "pair"),
    "TNTensorLinear": (lambda: tnl.nn.TNTensorLinear((3, 4), (2, 5), network="mpo(bond=3)", **OPTIONS), (5, 3, 4)),
    "TNMultiheadAttention": (lambda: tnl.nn.TNMultiheadAttention(12, 3, network="mpo(cores=2)", **OPTIONS), "three"),
    "TNRNNCell": (lambda: tnl.nn.TNRNNCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNLSTMCell": (lambda: tnl.nn.TNLSTMCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNGRUCell": (lambda: tnl.nn.TNGRUCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNRNN": (lambda: tnl.nn.TNRNN(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNLSTM": (lambda: tnl.nn.TNLSTM(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNGRU": (lambda: tnl.nn.TNGRU(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNAdapter": (lambda: tnl.nn.TNAdapter(torch.nn.Linear(12, 10).double(), "mpo(cores=2, bond=3)", seed=0), (5, 12)),
}


def inputs(shape):
    rng = np.random.default_rng(1)
    if shape == "pair":
        return rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
    if shape == "three":
        return tuple(rng.standard_normal((5, 3, 12)) for _ in range(3))
    return (rng.integers(0, 12, (5, 3)) if shape == "rows" else rng.standard_normal(shape),)


def leaves(value):
    """The arrays of what a module gives, as numpy's."""
    if isinstance(value, tuple):
        return [one for part in value for one in leaves(part)]
    return [] if value is None else [np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)]
