"""Refusals of decompositions and spectra that no other file of tests raises."""

from dataclasses import replace

import numpy as np
import pytest

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.compress import decompose
from tnlayers.decompose import decomposition, spectra

WEIGHTS = {
    "a vector": (np.ones(4), r"two axes or a kernel's three to five; this one is \(4,\)"),
    "a number": (3, "no weight in a int: give an array, a layer, or a module's"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_spectra_of_no_weight(name):
    given, words = WEIGHTS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        tnl.spectra(given, "mpo(cores=2)")


def test_spectra_by_a_sum():
    with pytest.raises(tnl.TNLayersError, match=r"is a sum: a weight is cut by one network\. Give one of its terms"):
        tnl.spectra(np.ones((4, 4)), "mpo(bond=1) + lowrank(rank=1)")


@pytest.mark.parametrize(
    ("module", "ask"),
    [
        (decomposition, lambda: decompose(np.ones((4, 4)), "mpo(cores=2)", bond_dim=1)),
        (spectra, lambda: tnl.spectra(np.ones((4, 4)), "mpo(cores=2)")),
    ],
    ids=["decompose", "spectra"],
)
def test_a_backend_without_singular_values(monkeypatch, module, ask):
    ask()
    without = replace(backend("numpy"), name="plain", ops=object())
    monkeypatch.setattr(module, "backend_of", lambda array: without)
    with pytest.raises(tnl.TNLayersError, match="The backend 'plain' offers no singular value decomposition"):
        ask()


@tnl.network("without_size")
def without_size(in_modes, out_modes):
    net = tnl.Declaration()
    left, right = (net.core(f"core_{k}", inp=in_modes[k], out=out_modes[k], bond=2) for k in range(2))
    left["bond"] ^ right["bond"]
    return net.linear(inputs=[left["inp"], right["inp"]], outputs=[left["out"], right["out"]])


def test_a_type_without_a_size():
    with pytest.raises(tnl.TNLayersError, match=r"'without_size' has none of the keywords bond_dim, .*Give the spec"):
        decompose(np.ones((4, 4)), "without_size(cores=2)", ratio=0.5)
