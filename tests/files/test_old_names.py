"""Modules that the documentation named before 0.2, and those that pickles of layers name, are found by these names."""

import base64
import importlib
import pickle
import warnings

import pytest
from interpreter import run

import tnlayers as tnl
from tnlayers.files.old_names import MOVED

torch = pytest.importorskip("torch")

# pickle.dumps(tnl.spec("mpo(in=2x2, out=2x2, bond=2)")) by 0.1.0
SPEC = (
    "gASVTgAAAAAAAACMDXRubGF5ZXJzLnNwZWOUjARTcGVjlJOUKYGUXZQojANtcG+USwJLAoaUSwJLAoaU"
    "jAhib25kX2RpbZRLAoaUhZRLAEsATokpKSllYi4="
)


@pytest.mark.parametrize("name", MOVED)
def test_every_old_name_leads_to_a_module(name):
    old, new = importlib.import_module(name), importlib.import_module(MOVED[name])
    public = [each for each in vars(new) if not each.startswith("_")]
    assert public
    assert all(getattr(old, each) is getattr(new, each) for each in public)
    with pytest.raises(AttributeError, match="no_such_name"):
        old.no_such_name  # noqa: B018


def test_what_the_guide_to_backends_imported():
    code = """
from tnlayers.initialise import default_variance, draw_bias, draw_layer
from tnlayers.layer import LinearMap
from tnlayers.program import Primitives
from tnlayers_backends.base import Backend
import tnlayers_backends.torch.module, tnlayers.spec, tnlayers.plan
import tnlayers as tnl
assert tnl.layer.LinearMap is LinearMap
assert (tnl.plan.__module__, tnl.spec.__module__) == ("tnlayers.cores.layer_plan", "tnlayers.declare.spec")
print(tnl.plan(tnl.spec("mpo(in=4x7, out=2x5, bond=3)"), 8).batch, LinearMap.__module__)
"""
    assert run(code).split() == ["8", "tnlayers.cores.linear_map"]


def test_a_pickled_spec_of_an_older_version_loads():
    assert pickle.loads(base64.b64decode(SPEC)) == tnl.spec("mpo(in=2x2, out=2x2, bond=2)")


def as_older(data):
    """A pickle of protocol 2 as an older version would write it, with the modules' old names."""
    for old, new in MOVED.items():
        data = data.replace(f"c{new}\n".encode(), f"c{old}\n".encode())
    return data


@pytest.mark.parametrize(
    "make",
    [
        lambda: tnl.nn.MPOLinear(28, 10, bond_dim=2),
        lambda: tnl.nn.TNEmbedding(16, 8, network="mpo(cores=2, bond=2)"),
        lambda: tnl.nn.TNConv2d(4, 4, 3, network="mpo(cores=2, bond=2)"),
        lambda: tnl.nn.TNLSTM(4, 4),
        lambda: tnl.nn.TNMultiheadAttention(8, 2),
    ],
)
def test_layers_pickled_under_old_names_load(make):
    layer = make()
    older = as_older(pickle.dumps(layer, protocol=2))
    assert b"tnlayers.spec\n" in older
    assert b"tnlayers.declare" not in older
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = pickle.loads(older)
    assert type(loaded) is type(layer)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), loaded.parameters(), strict=True))
