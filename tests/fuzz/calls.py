"""Public callables with right arguments, and wrong values for each: the campaign over arguments."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

import tnlayers as tnl

MPO = "mpo(in=4x4, out=4x4, bond=2)"
VALUES = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "2": 2,
    "64": 64,
    "nan": float("nan"),
    "10**18": 10**18,
    "10**400": 10**400,
    "text": "nope",
    "a long text": "a" * 5000,
    "bytes": b"x",
    "[]": [],
    "[1]": [1],
    "[[1]]": [[1]],
    "('a',)": ("a",),
    "{}": {},
    "{1: 2}": {1: 2},
    "an object": object(),
    "a class": int,
    "a function": lambda *_: 0,
    "an array": np.ones(3),
    "a tensor": torch.ones(2, 2),
    "a module": torch.nn.ReLU(),
    "complex": 1j,
}


@cache
def layer(kind="torch"):
    return tnl.build(MPO, backend=kind, seed=0)


def _recurrent(kind):
    return lambda **given: kind(**given)


def _forward(make):
    @cache
    def made():
        return make()

    return lambda x: made()(x)


CALLS = {
    "spec": (
        tnl.spec,
        {"network": "mpo", "in_features": 16, "out_features": 16, "bond_dim": 2, "cores": 2, "bias": True},
    ),
    "spec modes": (tnl.spec, {"network": "mpo", "in_modes": (4, 4), "out_modes": (4, 4), "pad_in": 1, "pad_out": 1}),
    "plan": (
        tnl.plan,
        {
            "spec": MPO,
            "batch": 4,
            "objective": "forward",
            "optimize": "greedy",
            "dtype": "float32",
            "memory_limit": 10**6,
            "tune": False,
            "device": "cpu",
        },
    ),
    "build": (tnl.build, {"spec": MPO, "backend": "torch", "seed": 0, "dtype": "float32"}),
    "build numpy": (tnl.build, {"spec": MPO, "backend": "numpy", "seed": 0, "dtype": "float32"}),
    "factorise": (tnl.factorise, {"size": 784, "order": 4, "pad": True}),
    "from_einsum": (tnl.from_einsum, {"equation": "ij,jk->ik", "shapes": [(2, 3), (3, 4)], "optimize": "auto"}),
    "einsum": (
        lambda a, b: tnl.from_einsum("ij,jk->ik", [(2, 3), (3, 4)])(a, b),
        {"a": np.ones((2, 3)), "b": np.ones((3, 4))},
    ),
    "spectra": (tnl.spectra, {"thing": layer(), "template": None}),
    "to_backend": (tnl.to_backend, {"layer": layer(), "backend": "numpy"}),
    "draw": (lambda thing, theme: tnl.draw(thing, theme=theme), {"thing": layer(), "theme": "auto"}),
    "draw_weights": (tnl.draw_weights, {"before": np.ones((3, 3)), "after": np.ones((3, 3)), "theme": "auto"}),
    "explore": (tnl.explore, {"thing": MPO, "batch": 1}),
    "load_dense": (tnl.load_dense, {"model": layer(), "state": {"weight": torch.ones(16, 16)}}),
    "load": (tnl.load, {"path": "nowhere", "backend": "numpy", "into": None}),
    "load_network": (tnl.load_network, {"path": "nowhere"}),
    "network": (tnl.network, {"name": "own", "cores": 4, "split": None}),
    "models.build": (tnl.models.build, {"name": "fc2", "network": "mpo", "seed": 0}),
    "compress": (
        lambda **given: tnl.compress(torch.nn.Sequential(torch.nn.Linear(8, 8)), **given),
        {
            "ratio": 0.5,
            "network": "mpo",
            "rules": None,
            "sample": None,
            "batch": 1,
            "ratio_of": "model",
            "search": 0.0,
            "dry_run": True,
            "error": None,
            "max_params": None,
            "max_flops": None,
        },
    ),
    "compress what": (tnl.compress, {"model": torch.nn.Sequential(torch.nn.Linear(8, 8)), "ratio": 0.5}),
    "TNLinear": (
        tnl.nn.TNLinear,
        {
            "in_features": 16,
            "out_features": 16,
            "bias": True,
            "device": "cpu",
            "dtype": torch.float32,
            "network": "mpo",
            "in_modes": None,
            "out_modes": None,
            "seed": 0,
            "variance": None,
        },
    ),
    "MPOLinear": (
        tnl.nn.MPOLinear,
        {"in_features": 16, "out_features": 16, "bond_dim": 2, "cores": 2, "bias": True, "seed": 0},
    ),
    "TNConv2d": (
        tnl.nn.TNConv2d,
        {
            "in_channels": 4,
            "out_channels": 4,
            "kernel_size": 3,
            "stride": 1,
            "padding": 0,
            "dilation": 1,
            "groups": 1,
            "bias": True,
            "padding_mode": "zeros",
            "network": "mpo",
            "view": "kernel",
            "in_size": None,
            "seed": 0,
            "device": "cpu",
            "dtype": torch.float32,
        },
    ),
    "TNEmbedding": (
        tnl.nn.TNEmbedding,
        {
            "num_embeddings": 16,
            "embedding_dim": 16,
            "padding_idx": 1,
            "max_norm": None,
            "norm_type": 2.0,
            "scale_grad_by_freq": False,
            "sparse": False,
            "unique": False,
            "network": "mpo",
            "seed": 0,
        },
    ),
    "TNTensorLinear": (
        tnl.nn.TNTensorLinear,
        {"in_shape": (2, 3), "out_shape": (3, 2), "bias": True, "network": "mpo"},
    ),
    "TNMultiheadAttention": (
        tnl.nn.TNMultiheadAttention,
        {
            "embed_dim": 16,
            "num_heads": 2,
            "dropout": 0.0,
            "bias": True,
            "add_bias_kv": False,
            "add_zero_attn": False,
            "kdim": None,
            "vdim": None,
            "batch_first": False,
            "network": "mpo",
            "networks": None,
            "seed": 0,
        },
    ),
    **{
        kind.__name__: (
            kind,
            {
                "input_size": 8,
                "hidden_size": 8,
                "num_layers": 2,
                "bias": True,
                "batch_first": False,
                "dropout": 0.0,
                "bidirectional": False,
                "network": "mpo",
                "networks": None,
                "seed": 0,
            }
            | ({"proj_size": 4} if kind is tnl.nn.TNLSTM else {})
            | ({"nonlinearity": "tanh"} if kind is tnl.nn.TNRNN else {}),
        )
        for kind in (tnl.nn.TNLSTM, tnl.nn.TNGRU, tnl.nn.TNRNN)
    },
    **{
        kind.__name__: (kind, {"input_size": 8, "hidden_size": 8, "bias": True, "network": "mpo", "seed": 0})
        for kind in (tnl.nn.TNLSTMCell, tnl.nn.TNGRUCell, tnl.nn.TNRNNCell)
    },
    "TNAdapter": (tnl.nn.TNAdapter, {"base": torch.nn.Linear(8, 8), "network": "mpo(bond=2)", "seed": 0}),
    "bond_dropout": (tnl.nn.bond_dropout, {"module": tnl.nn.MPOLinear(8, 8, cores=2, bond_dim=2), "p": 0.5}),
    "parameter_groups": (
        tnl.nn.parameter_groups,
        {"model": layer(), "lr": 0.1, "optimizer": "adam", "base_width": 256},
    ),
    "round_": (lambda **given: tnl.build(MPO, seed=0).round_(**given), {"bond_dim": 1}),
    "grow_": (lambda **given: tnl.build(MPO, seed=0).grow_(**given), {"bond_dim": 3}),
    "prune_": (lambda **given: tnl.build(MPO, seed=0).prune_(**given), {"tolerance": 0.1}),
    "plan_for": (layer().plan_for, {"batch": 4, "objective": "forward"}),
    "use_plan": (lambda plan: tnl.build(MPO, seed=0).use_plan(plan), {"plan": None}),
    "linear forward": (_forward(layer), {"x": torch.ones(2, 16)}),
    "numpy forward": (lambda x: layer("numpy")(x), {"x": np.ones((2, 16), np.float32)}),
    "conv forward": (_forward(lambda: tnl.nn.TNConv2d(4, 4, 3)), {"x": torch.ones(1, 4, 5, 5)}),
    "embedding forward": (_forward(lambda: tnl.nn.TNEmbedding(16, 16)), {"x": torch.ones(2, dtype=torch.long)}),
    "tensor_linear forward": (_forward(lambda: tnl.nn.TNTensorLinear((2, 3), (3, 2))), {"x": torch.ones(1, 2, 3)}),
    "lstm forward": (_forward(lambda: tnl.nn.TNLSTM(8, 8)), {"x": torch.ones(3, 2, 8)}),
    "gru cell forward": (_forward(lambda: tnl.nn.TNGRUCell(8, 8)), {"x": torch.ones(2, 8)}),
    "attention forward": (
        lambda q: _attention()(q, torch.ones(3, 2, 16), torch.ones(3, 2, 16)),
        {"q": torch.ones(3, 2, 16)},
    ),
    "Spec.from_json": (tnl.Spec.from_json, {"text": "{}"}),
    "Spec.from_yaml": (tnl.Spec.from_yaml, {"text": "{}"}),
    "Plan.from_json": (tnl.Plan.from_json, {"text": "{}"}),
}


@cache
def _attention():
    return tnl.nn.TNMultiheadAttention(16, 2)


def cases():
    """Every callable, each of its arguments, each wrong value: names and what to call."""
    for name, (function, right) in CALLS.items():
        for argument in right:
            for label, value in VALUES.items():
                yield (name, argument, label), (lambda f=function, r=right, a=argument, v=value: f(**{**r, a: v}))
