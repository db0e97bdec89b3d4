"""Spectra and entropies of bonds, of live layers from the cores and of dense weights, and their pictures."""

from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_weight
from specs import MARKET

import tnlayers as tnl
from tnlayers.cores.canonical import moves_to
from tnlayers.draw.theme import COLOURS


def cut(weight, graph, left):
    """The singular values of a weight between some cores and the others, in numpy."""
    axes = [*graph.outputs, *graph.inputs]
    tensor = weight.reshape(*graph.out_modes, *graph.in_modes)
    rows = [k for k, i in enumerate(axes) if any(i in graph.cores[c].indices for c in left)]
    columns = [k for k in range(len(axes)) if k not in rows]
    matrix = tensor.transpose(*rows, *columns)
    return np.linalg.svd(matrix.reshape(np.prod([tensor.shape[k] for k in rows], dtype=int), -1), compute_uv=False)


@pytest.mark.parametrize("row", ["mpo-2", "mpo-4"])
@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_spectra_from_the_cores_are_those_of_the_rebuilt_weight(row, backend):
    layer = tnl.build(MARKET[row], backend=backend, seed=1, dtype="float64")
    graph = layer.spec.graph
    cores = [np.asarray(core.detach() if backend == "torch" else core) for core in layer.cores.values()]
    expected = oracle_weight(layer.spec, cores)
    found = tnl.spectra(layer)
    assert len(found.bonds) == len(moves_to(graph, 0))
    for k, bond in enumerate(found.bonds):
        wanted = cut(expected.value, graph, range(k + 1))[: len(bond.values)]
        scale = type(expected)(wanted, expected.scale * len(wanted), expected.terms)
        assert_close(np.array(bond.values), scale, dtype="float64")
        with pytest.raises(AssertionError):
            assert_close(np.array(bond.values) * 1.001, scale, dtype="float64")
        shares = wanted[wanted > 0] ** 2 / np.sum(wanted**2)
        assert bond.entropy == pytest.approx(-np.sum(shares * np.log(shares)), rel=1e-9)
        assert bond.entropy <= bond.bound + 1e-12


def test_a_template_cuts_dense_weights_kernels_and_other_layers():
    dense = torch.nn.Linear(30, 14)  # padded or prime sizes of modes are the template's matter
    found = tnl.spectra(dense, "mpo(cores=3)")
    weight = dense.weight.detach().double().numpy()
    assert [sum(v**2 for v in bond.values) for bond in found.bonds] == pytest.approx([np.sum(weight**2)] * 2)
    kernel = tnl.spectra(torch.nn.Conv2d(4, 8, 3, groups=2), "mpo")
    assert all(bond.values for bond in kernel.bonds)
    ring = tnl.build("ring(in=4x4x4, out=4x4x4, bond=2)")
    with pytest.raises(tnl.TNLayersError, match=r"form a loop.*tnl.spectra\(layer, 'mpo"):
        ring.spectra()
    assert len(ring.spectra("mpo(cores=3)").bonds) == 2
    with pytest.raises(tnl.TNLayersError, match="give a template"):
        tnl.spectra(weight)


def test_advice_keeps_its_promise_and_no_more_than_needed():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 64)) @ np.diag(0.8 ** np.arange(64)) @ rng.standard_normal((64, 64))
    found = tnl.spectra(weight, "mpo(in=4x4x4, out=4x4x4)")
    for error in (0.3, 0.1, 0.03):
        bonds = found.advice(error)
        from tnlayers.compress import decompose

        assert decompose(weight, "mpo(in=4x4x4, out=4x4x4)", bond_dim=bonds).error <= error
    assert found.advice(0) == tuple(len(bond.values) for bond in found.bonds)
    with pytest.raises(tnl.TNLayersError, match="error=1"):
        found.advice(1)


def test_zero_has_no_entropy_and_complex_layers_have_real_spectra():
    assert tnl.spectra(np.zeros((16, 16)), "mpo(in=4x4, out=4x4)").entropies == (0.0,)
    layer = tnl.build("mpo(in=4x4, out=4x4, bond=3)", seed=0, dtype="complex64")
    assert len(layer.spectra().bonds[0].values) == 3


def test_the_recorder_sees_training():
    layer = tnl.build("mpo(in=4x4, out=4x4, bond=4)", seed=0)
    recorder = tnl.SpectraRecorder(layers={"fc": layer})
    with pytest.raises(tnl.TNLayersError, match="Nothing was recorded"):
        recorder.draw()
    recorder(0)
    with torch.no_grad():
        layer.core_0[..., 1:] = 0
    recorder(1)
    (before,), (after,) = recorder.entropies["fc"]
    assert before > 0.5
    assert after == pytest.approx(0, abs=1e-9)
    ElementTree.fromstring(recorder.draw(theme="dark").svg)


def test_pictures_are_vector_and_say_what_they_show():
    layer = tnl.build("mpo(in=4x4x4, out=4x4x4, bond=8)", seed=0)
    picture = tnl.draw(layer.spectra(), theme="dark")
    root = ElementTree.fromstring(picture.svg)
    texts = " ".join(node.text or "" for node in root.iter() if node.tag.endswith("text"))
    assert "core_0 - core_1 (8)" in texts
    assert "ln(bond)" in texts
    assert "ln(bond)" in tnl.draw(tnl.spectra(np.eye(16), "mpo(cores=2)")).svg  # a single bond
    assert COLOURS["output"][1] in picture.svg
    weights = tnl.draw_weights(layer.to_dense(), torch.zeros(64, 64))
    assert "relative error 1" in weights.title
    with pytest.raises(tnl.TNLayersError, match=r"one shape.*\(2, 2\) and \(3, 2\)"):
        tnl.draw_weights(np.ones((2, 2)), np.ones((3, 2)))
    with pytest.raises(tnl.TNLayersError, match="beside spectra only"):
        tnl.draw(layer.spectra(), layer)
    assert layer.spectra()._repr_html_().startswith("<div")
