"""The paper's FC2 and LeNet-5 (arXiv 1904.06194, Sec. III.A, Fig. 2, Table I; init of the authors' code, c345b9f)."""

from math import erf, exp, pi, prod, sqrt

import pytest
import torch
from variance import weight_variance

import tnlayers as tnl
from tnlayers.models.sites import glorot_shape

# Fig. 2: bond of the first layer -> weights of both layers with uniform bonds, and with bonds at their exact maximum.
FIG_2 = {
    2: (1024, 1024),
    4: (1760, 1760),
    6: (2944, 2944),
    8: (4576, 4576),
    10: (6656, 6656),
    12: (9184, 9184),
    14: (12160, 12160),
    16: (15584, 15584),
    18: (19456, 17376),
    20: (23776, 19168),
    22: (28544, 20960),
}
# Per replaced layer: the mpo's weights, its bias, the dense weights, the std of W that the authors' init implies,
# and the shapes of the cores as their code stores them, (out x right bond, left bond x in).
LAYERS = {
    ("fc2", "fc1"): (14848, 256, 200704, 0.02139, [(64, 4), (64, 112), (64, 112), (4, 64)]),
    ("fc2", "fc2"): (736, 10, 2560, 0.081992, [(4, 4), (4, 16), (40, 16), (1, 16)]),
    ("lenet5", "conv3"): (1792, 120, 48000, 0.05164, [(8, 2), (20, 40), (24, 40), (2, 8)]),
    ("lenet5", "fc1"): (944, 84, 10080, 0.078446, [(8, 2), (12, 20), (28, 24), (2, 8)]),
    ("lenet5", "fc2"): (124, 10, 840, 0.149071, [(2, 2), (10, 6), (4, 14), (1, 4)]),
}
# Whole networks: weights and all trainable numbers, mpo and dense; rho over the replaced layers.
TOTALS = {
    "fc2": ((15584, 15850), (203264, 203264), 15584, 203264, 0.0766688),
    "lenet5": ((5410, 5646), (61470, 61612), 2860, 58920, 0.0485404),
}


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")  # bonds above 16 are clipped
@pytest.mark.parametrize("bond", FIG_2)
def test_fc2_at_every_bond_of_fig_2(bond):
    uniform, capped = FIG_2[bond]
    network = f"mpo(bond={bond})"
    report = tnl.models.describe("fc2", network=network)
    assert report.replaced == {"mpo": capped, "dense": 203264}
    assert report.rho == capped / 203264
    assert sum(layer.uniform_parameters for layer in report.layers) == uniform
    assert 4 * 4 * bond * 2 + 2 * 7 * 4 * bond**2 + 736 == uniform  # Eq. 6
    assert bool(report.layers[0].notes) == (bond > 16)
    with torch.device("meta"):
        model = tnl.models.FC2(network)
    weights = {name: p.numel() for name, p in model.named_parameters() if not name.endswith("bias")}
    assert sum(weights.values()) == capped


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    mpo, dense, replaced, original, rho = TOTALS[name]
    report = tnl.models.describe(name)
    assert report.total == {
        "mpo": {"weights": mpo[0], "trainable": mpo[1]},
        "dense": {"weights": dense[0], "trainable": dense[1]},
    }
    assert report.replaced == {"mpo": replaced, "dense": original}
    assert report.rho == pytest.approx(rho, abs=5e-8)
    for network, trainable in (("mpo", mpo[1]), ("dense", dense[1])):
        model = tnl.models.build(name, network=network, seed=0)
        assert sum(p.numel() for p in model.parameters()) == trainable


@pytest.mark.parametrize(("model", "name"), LAYERS)
def test_replaced_layers(model, name):
    weights, bias, dense, _, _ = LAYERS[model, name]
    (layer,) = (layer for layer in tnl.models.describe(model).layers if layer.name == name)
    assert (layer.parameters, layer.bias, layer.dense_weights) == (weights, bias, dense)
    assert layer.uniform_parameters == weights  # nothing is clipped at the paper's bonds
    assert layer.notes == ()


@pytest.mark.parametrize(("model", "name"), LAYERS)
def test_initial_weights_have_the_size_of_the_authors(model, name):
    """Cores: normal of sigma^2 = 2.6 / (rows + columns), cut at two sigma, which leaves 0.7737 of the variance."""
    *_, std, shapes = LAYERS[model, name]
    layer = getattr(tnl.models.build(model, seed=0), name)
    graph = layer.spec.graph
    assert [glorot_shape(graph, k) for k in range(len(shapes))] == shapes
    left = 1 - 2 * 2 * exp(-2) / sqrt(2 * pi) / erf(sqrt(2))  # of the variance of a normal cut at two sigma
    norms = {}
    for (core, shape), (rows, columns) in zip(graph.shapes.items(), shapes, strict=True):
        norms[core] = sqrt(prod(shape) * left * 2.6 / (rows + columns))
        # The drawn core: inside the cut, and of that size within five standard errors.
        drawn = layer.cores[core].detach()
        assert drawn.abs().max() <= 2 * sqrt(2.6 / (rows + columns)) + 1e-6
        assert float(drawn.norm()) == pytest.approx(norms[core], rel=5 / sqrt(2 * prod(shape)) + 1e-6)
    # The table takes 2 / (rows + columns) for a core's variance; 2.6 * 0.7737 is 2.012.
    summed = prod(graph.sizes[i] for i in graph.summed)
    assert sqrt(prod(2 / (rows + columns) for rows, columns in shapes) * summed) == pytest.approx(std, rel=1e-4)
    assert sqrt(weight_variance(graph, norms)) == pytest.approx(std * (1.3 * left) ** (len(shapes) / 2), rel=1e-4)
    assert not layer.bias.any()


def test_dense_twins_start_with_std_a_tenth():
    model = tnl.models.build("fc2", network="dense", seed=0)
    assert model.fc1.weight.abs().max() <= 0.2
    assert float(model.fc1.weight.std().detach()) == pytest.approx(0.1 * sqrt(0.7737), rel=0.01)
    assert model.fc1.bias is None


@pytest.mark.parametrize("network", ["mpo", "dense", "mpo(bond=2)"])
@pytest.mark.parametrize("name", ["fc2", "lenet5"])
def test_forward_shapes(name, network):
    model = tnl.models.build(name, network=network, seed=0)
    for batch in (1, 5):
        logits = model(torch.rand(batch, 1, 28, 28))
        assert logits.shape == (batch, 10)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["fc2", "lenet5"])
def test_seeds_decide_models(name):
    x = torch.rand(2, 1, 28, 28)
    one, same, other = (tnl.models.build(name, seed=seed)(x) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_dense_conv3_as_a_matrix_is_the_convolution():
    model = tnl.models.build("lenet5", network="dense", seed=0).double()
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    x = torch.relu(torch.nn.functional.max_pool2d(model.conv1(images), 2))
    x = torch.relu(torch.nn.functional.max_pool2d(model.conv2(x), 2))
    x = torch.relu(model.conv3(x).flatten(1))
    torch.testing.assert_close(model(images), model.fc2(torch.relu(model.fc1(x))))


def test_the_mpo_conv3_as_a_kernel_is_the_convolution():
    """Its 400 inputs are (height, width, channel): the same weight as a kernel (120, 16, 5, 5) does the same."""
    model = tnl.models.build("lenet5", seed=0).double()
    x = torch.rand(3, 16, 5, 5, dtype=torch.float64)
    kernel = model.conv3.to_dense().reshape(120, 5, 5, 16).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(x, kernel, model.conv3.bias).flatten(1)
    torch.testing.assert_close(model.conv3(x.permute(0, 2, 3, 1).flatten(1)), expected)


def test_unknown_models_and_networks_are_refused():
    for use in (tnl.models.build, tnl.models.describe):
        with pytest.raises(tnl.TNLayersError, match=r"no model 'vgg'. Did you mean 'vgg1\d'\?.*fc2, lenet5"):
            use("vgg")
        with pytest.raises(tnl.TNLayersError, match="'mpq'"):
            use("fc2", network="mpq")
    with pytest.raises(tnl.TNLayersError, match=r"depth 21.*6n \+ 2.*Nearest: resnet20"):
        tnl.models.build("resnet21")
    with pytest.raises(tnl.TNLayersError, match="factors for width 4 alone"):
        tnl.models.describe("resnet20-k1-unit")
