"""Layers whose `weight` is computed from cores, and layers that hold such layers."""

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn

LAYERS = {
    "linear": lambda: tnl.nn.MPOLinear(16, 16, bond_dim=3, cores=2),
    "conv": lambda: tnl.nn.TNConv2d(8, 8, 3, network="mpo(cores=2, bond=3)"),
    "embedding": lambda: tnl.nn.TNEmbedding(16, 8, network="mpo(cores=2, bond=3)"),
    "tensor": lambda: tnl.nn.TNTensorLinear((4, 4), (4, 4), network="mpo(bond=3)"),
    "adapter": lambda: tnl.nn.TNAdapter(nn.Linear(16, 16), "mpo(bond=2, cores=2)"),
}

# Layers that hold others, and the names that they compute.
HOLDERS = {
    "cell": (lambda: tnl.nn.TNGRUCell(8, 8, network="mpo(cores=2, bond=2)"), ["weight_ih", "weight_hh"]),
    "lstm": (lambda: tnl.nn.TNLSTM(8, 8, network="mpo(cores=2, bond=2)"), ["weight_ih_l0", "weight_hh_l0"]),
    "attention": (lambda: tnl.nn.TNMultiheadAttention(8, 2, network="mpo(cores=2, bond=2)"), ["in_proj_weight"]),
}
