"""TNBilinear beside nn.Bilinear: modes that divide between the inputs and modes that do not, plans, shapes, fits."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import tnlayers as tnl


def twin(layer):
    return layer.to_bilinear()


NETWORKS = ["mpo(bond=2)", "mpo(cores=3, bond=3)", "lowrank(rank=3)", "tucker(cores=1, bond=4)", "tree(bond=3)"]
NETWORKS += ["ring(bond=2)", "cp(rank=3) + lowrank(rank=1)", "kronecker", "blockdiag(blocks=2)", "monarch"]
NETWORKS += ["mpo(in=8x15, out=2x4)"]


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_layer_is_its_dense_weight(network):
    layer = tnl.nn.TNBilinear(12, 10, 8, network=network, seed=0, dtype=torch.float64)
    for leading in ((), (5,), (2, 3), (0,)):
        a, b = torch.randn(*leading, 12).double(), torch.randn(*leading, 10).double()
        torch.testing.assert_close(layer(a, b), twin(layer)(a, b), rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 7), st.integers(1, 5), st.integers(0, 5))
@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_any_sizes(first, second, out, cores, batch):
    assume(first * second * out > 1)
    layer = tnl.nn.TNBilinear(first, second, out, network=f"mpo(cores={cores}, bond=2)", seed=0, dtype=torch.float64)
    a, b = torch.randn(batch, first).double(), torch.randn(batch, second).double()
    torch.testing.assert_close(layer(a, b), twin(layer)(a, b), rtol=1e-9, atol=1e-9)


def test_the_outer_product_is_formed_only_where_a_mode_spans_both():
    layer = tnl.nn.TNBilinear(64, 32, 16, network="mpo(cores=4, bond=2)", seed=0)
    (plan,) = layer.plan_for(100)
    assert plan.contraction.names[-2:] == ("first", "second")
    assert plan.cost.result < 100 * 64 * 32 * 4
    spanning = tnl.nn.TNBilinear(4, 6, 8, network="mpo(in=8x3, out=2x4, bond=2)", seed=0)
    assert spanning._pairs.borders is None
    assert spanning.plan_for(100)[0].contraction.names[-1] != "second"


def test_drawn_as_torch_draws_its_own():
    torch.manual_seed(0)
    dense, layer = nn.Bilinear(40, 30, 50), tnl.nn.TNBilinear(40, 30, 50, network="lowrank(rank=20)", seed=0)
    assert float(layer.weight.detach().std() / dense.weight.detach().std()) == pytest.approx(1, abs=0.2)
    assert float(layer.bias.detach().abs().max()) <= 40**-0.5
    assert float(layer.bias.detach().abs().max()) > 0.5 * 40**-0.5


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((5, 12), (5, 9)), r"takes \(\.\.\., 12\) and \(\.\.\., 10\)"),
        (((5, 12), (4, 10)), r"equal leading axes"),
        (((12,), (1, 10)), r"equal leading axes"),
        (((5, 10), (5, 12)), r"\(5, 10\) and \(5, 12\)"),
    ],
)
def test_inputs_of_other_shapes_are_refused(shapes, words):
    layer = tnl.nn.TNBilinear(12, 10, 8, network="mpo(cores=2)", seed=0)
    with pytest.raises(tnl.TNLayersError, match=words):
        layer(*(torch.zeros(shape) for shape in shapes))
    with pytest.raises(tnl.TNLayersError, match="needs a torch tensor"):
        layer(torch.zeros(12), None)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(tnl.TNLayersError, match="in1_features=0"):
        tnl.nn.TNBilinear(0, 10, 8)
    with pytest.raises(tnl.TNLayersError, match="120"):
        tnl.nn.TNBilinear(12, 10, 8, network="mpo(in=11x11, out=2x4)")
    with pytest.raises(tnl.TNLayersError, match=r"from_bilinear takes an nn\.Bilinear, got a Linear"):
        tnl.nn.TNBilinear.from_bilinear(nn.Linear(3, 4))


def test_a_sample_lowers_the_error_of_the_outputs():
    torch.manual_seed(0)
    dense = nn.Bilinear(8, 6, 10)
    a, b = torch.randn(400, 8) * torch.logspace(-2, 0, 8), torch.randn(400, 6) * torch.logspace(0, -2, 6)
    asked = {"network": "lowrank", "bond_dim": 3}
    plain = tnl.nn.TNBilinear.from_bilinear(dense, **asked)
    aware = tnl.nn.TNBilinear.from_bilinear(dense, **asked, sample=(a, b))
    batches = [(a[:100], b[:100]), (a[100:], b[100:])]
    again = tnl.nn.TNBilinear.from_bilinear(dense, **asked, sample=batches)
    wanted = dense(a, b).detach()
    off = [float((layer(a, b).detach() - wanted).norm()) for layer in (plain, aware, again)]
    assert off[1] < 0.9 * off[0]
    assert off[2] == pytest.approx(off[1], rel=1e-3)


def test_spectra_of_a_dense_one_are_those_of_its_network():
    torch.manual_seed(0)
    dense = nn.Bilinear(6, 8, 10)
    layer = tnl.nn.TNBilinear.from_bilinear(dense, "mpo(cores=4)", error=0)
    own, cut, again = tnl.spectra(layer), tnl.spectra(dense, "mpo(cores=4)"), tnl.spectra(layer, "mpo(cores=4)")
    for one, two, three in zip(own.bonds, cut.bonds, again.bonds, strict=True):
        assert one.values == pytest.approx(two.values[: len(one.values)], abs=1e-5)
        assert two.values == pytest.approx(three.values, abs=1e-5)
