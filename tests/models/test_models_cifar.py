"""VGG, ResNet and DenseNet of the paper (arXiv 1904.06194, Tables I and II, Fig. 3; layers of its code, c345b9f)."""

import json
import warnings
from math import erf, exp, pi, prod, sqrt

import pytest
import torch
from torch import nn

import tnlayers as tnl
from tnlayers.models.differences import DIFFERENCES, PICOGPT
from tnlayers.models.sites import glorot_shape

# Whole networks, (weights, all trainables with biases and normalisation) of dense and mpo; replaced weights; the
# paper's rho as printed.
TOTALS = {
    "vgg16": ((28907200, 28922832), (5284224, 5307014), (23633920, 10944), "0.0005"),
    "vgg19": ((38934208, 38952400), (15311232, 15328390), (23633920, 10944), "0.0005"),
    "resnet14": ((2745264, 2748890), (2742980, 2747108), (2560, 276), "0.11"),
    "resnet20": ((4293552, 4298970), (4291268, 4297188), (2560, 276), "0.11"),
    "resnet26": ((5841840, 5849050), (5839556, 5847268), (2560, 276), "0.11"),
    "resnet32": ((7390128, 7399130), (7387844, 7397348), (2560, 276), "0.11"),
    "resnet38": ((8938416, 8949210), (8936132, 8947428), (2560, 276), "0.11"),
    "resnet44": ((10486704, 10499290), (10484420, 10497508), (2560, 276), "0.11"),
    "resnet50": ((12034992, 12049370), (12032708, 12047588), (2560, 276), "0.11"),
    "resnet56": ((13583280, 13599450), (13580996, 13597668), (2560, 276), "0.11"),
    "resnet86": ((21324720, 21349850), (21322436, 21348068), (2560, 276), "0.11"),
    "resnet104": ((25969584, 26000090), (25967300, 25998308), (2560, 276), "0.11"),
    "resnet110": ((27517872, 27550170), (27515588, 27548388), (2560, 276), "0.11"),
    "resnet116": ((29066160, 29100250), (29063876, 29098468), (2560, 276), "0.11"),
    "resnet56-unit": ((13583280, 13599450), (12404484, 12486180), (1182208, 3412), None),
    "densenet40-12": ((1001616, 1019722), (997712, 1016704), (4480, 576), "0.129"),
    "densenet40-24": ((3842448, 3877402), (3834432, 3871136), (8800, 784), "0.089"),
    "densenet100-12": ((6964728, 7083538), (6953792, 7074944), (11760, 824), "0.070"),
    "densenet100-24": ((29066208, 29313322), (29043272, 29295176), (24000, 1064), "0.044"),
}
# Per replaced layer: the mpo's weights, its bias, the dense weights, and the std of W that the authors' initialisation
# implies.
LAYERS = {
    ("vgg16", "conv5_1"): (3104, 2048, 2359296, 0.017678),
    ("vgg16", "conv5_2"): (3104, 2048, 2359296, 0.017678),
    ("vgg16", "fc1"): (1376, 4096, 2097152, 0.021517),
    ("vgg16", "fc2"): (2432, 4096, 16777216, 0.0125),
    ("vgg16", "fc3"): (928, 0, 40960, 0.028809),
    ("vgg19", "conv5_3"): (3104, 2048, 2359296, 0.017678),
    ("vgg19", "conv5_4"): (3104, 2048, 2359296, 0.017678),
    ("vgg19", "fc1"): (1376, 0, 2097152, 0.021517),
    ("vgg19", "fc2"): (2432, 0, 16777216, 0.0125),
    ("vgg19", "fc3"): (928, 0, 40960, 0.028809),
    ("resnet56-unit", "stage3.8.conv1"): (1568, 16384, 589824, 0.00625),
    ("resnet56-unit", "stage3.8.conv2"): (1568, 16384, 589824, 0.00625),
    ("resnet20", "fc"): (276, 0, 2560, 0.098833),
    ("densenet40-12", "fc"): (576, 0, 4480, 0.076222),
    ("densenet40-24", "fc"): (784, 0, 8800, 0.060166),
    ("densenet100-12", "fc"): (824, 0, 11760, 0.054433),
    ("densenet100-24", "fc"): (1064, 0, 24000, 0.043134),
}
# Biases, and scales and shifts of normalisations, of dense and mpo: `totals` of paper.json.
BIASES_AND_NORMS = {
    "fc2": ((0, 0), (266, 0)),
    "lenet5": ((142, 0), (236, 0)),
    "vgg16": ((8202, 7430), (12288, 10502)),
    "vgg19": ((8202, 9990), (4096, 13062)),
    "resnet20": ((10, 5408), (0, 5920)),
    "resnet56": ((10, 16160), (0, 16672)),
    "resnet56-unit": ((10, 16160), (32768, 48928)),
    "densenet40-12": ((10, 18096), (0, 18992)),
    "densenet40-24": ((10, 34944), (0, 36704)),
    "densenet100-12": ((10, 118800), (0, 121152)),
    "densenet100-24": ((10, 247104), (0, 251904)),
}
SMALLEST = ["vgg16", "resnet8", "resnet14-unit", "densenet40-12"]


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    dense, mpo, (original, replaced), printed = TOTALS[name]
    report = tnl.models.describe(name)
    assert report.total == {
        "mpo": {"weights": mpo[0], "trainable": mpo[1]},
        "dense": {"weights": dense[0], "trainable": dense[1]},
    }
    assert report.replaced == {"mpo": replaced, "dense": original}
    assert report.rho == replaced / original
    if printed is not None:
        assert f"{report.rho:.{len(printed) - 2}f}" == printed
    assert name in tnl.models.names()


@pytest.mark.parametrize("name", BIASES_AND_NORMS)
def test_biases_and_normalisations_are_those_of_the_paper(name):
    for network, expected in zip(("dense", "mpo"), BIASES_AND_NORMS[name], strict=True):
        with torch.device("meta"):
            model = tnl.models.find(name).make(network)
        norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
        normalising = {parameter for module in norms for parameter in module.parameters()}
        named = [pair for pair in model.named_parameters() if pair[1] not in normalising]
        biases = sum(parameter.numel() for key, parameter in named if key.endswith("bias"))
        assert (biases, sum(parameter.numel() for parameter in normalising)) == expected
        everything = sum(parameter.numel() for parameter in model.parameters())
        assert tnl.models.describe(name).total[network] == {
            "weights": everything - sum(expected),
            "trainable": everything,
        }


@pytest.mark.parametrize(("model", "name"), LAYERS)
def test_replaced_layers(model, name):
    weights, bias, dense, std = LAYERS[model, name]
    (layer,) = (layer for layer in tnl.models.describe(model).layers if layer.name == name)
    assert (layer.parameters, layer.bias, layer.dense_weights) == (weights, bias, dense)
    assert layer.uniform_parameters == weights  # nothing is clipped at the paper's bonds
    with torch.device("meta"):
        built = tnl.models.find(model).make("mpo").get_submodule(name)
    graph = built.spec.graph
    summed = prod(graph.sizes[i] for i in graph.summed)
    variances = [2 / sum(glorot_shape(graph, k)) for k in range(len(graph.cores))]
    assert sqrt(prod(variances) * summed) == pytest.approx(std, rel=1e-4)


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_the_densenet_row_that_cannot_be_reproduced():
    """The paper prints 0.497; its factors give 40,720 by the formula and 31,888 with bonds clipped."""
    report = tnl.models.describe("densenet40-12-conv")
    assert report.replaced == {"mpo": 31888 + 576, "dense": 47088 + 4480}
    assert report.rho == pytest.approx(0.629538, abs=5e-7)
    assert sum(layer.uniform_parameters for layer in report.layers) / 51568 == pytest.approx(0.800807, abs=5e-7)
    assert "densenet_conv_497" in {point.key for point in report.differences}
    model = tnl.models.build("densenet40-12-conv", seed=0)
    assert model.block3[11].conv.spec.in_features == 8 * 8 * 436
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_other_networks_at_equal_parameters():
    """No neighbouring size of the type is nearer to the paper's MPO."""
    for kind in ("cp", "ring", "tucker", "mpo", "lowrank"):
        report = tnl.models.describe("densenet40-12", network=f"{kind}(equal)")
        assert 576 / 1.5 < report.replaced[kind] < 576 * 1.5, kind
    lenet = {kind: tnl.models.describe("lenet5", network=f"{kind}(equal)").replaced[kind] for kind in ("ring", "cp")}
    assert lenet == {"ring": 1888 + 1040 + 132, "cp": 1794 + 957 + 126}  # the MPO's are 1792 + 944 + 124
    (site, *_) = tnl.models.LeNet5.sites
    found = site.spec("cp(equal)")
    for rank in (45, 47):
        other = site.spec(f"cp(rank={rank})").parameters
        assert abs(found.parameters - 1792) < abs(other - 1792)
    vgg = tnl.models.describe("vgg16", network="lowrank(equal)")  # rank 1 of 2048 x 2048 has more than the mpo
    assert [layer.parameters for layer in vgg.layers][:2] == [4096, 4096]
    assert "4,096 parameters for the 3,104 of the paper's MPO" in vgg.layers[0].notes
    assert tnl.models.describe("resnet14-unit", network="cp(equal)").layers[0].parameters == 1568


@pytest.mark.parametrize("network", ["dense", "mpo", "ring(bond=2)"])
@pytest.mark.parametrize("name", SMALLEST)
def test_forward_and_backward(name, network):
    model = tnl.models.build(name, network=network, seed=0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert torch.isfinite(value.grad).all(), parameter
    model.eval()
    assert torch.equal(model(images[:1]), model(images[:1]))  # no dropout, no batch statistics


def test_a_replaced_convolution_is_one_linear_map_of_the_flattened_map():
    model = tnl.models.build("resnet14-unit", seed=0).double()
    layer = model.stage3[1].conv1
    x = torch.randn(2, 256, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cores = [core.detach() for core in layer.cores.values()]
    flat = x.permute(0, 2, 3, 1).reshape(2, 1, 1, -1)  # height, width, channel; then (batch, done outputs, bond, rest)
    for k, core in enumerate(cores):
        core = core[None] if k == 0 else core[..., None] if k == len(cores) - 1 else core
        left, inputs, _, right = core.shape
        y = flat.reshape(2, -1, left, inputs, flat.shape[-1] // inputs)
        flat = torch.einsum("bolir,lijd->bojdr", y, core).reshape(2, -1, right, y.shape[-1])
    expected = flat.reshape(2, 8, 8, 256).permute(0, 3, 1, 2)
    assert float(expected.detach().abs().max()) > 0.1
    torch.testing.assert_close(layer(x), expected)  # its bias is zero at the start


def test_normalisation_after_a_replaced_convolution_is_of_every_feature():
    features = {
        network: tnl.models.build("vgg16", network=network, seed=0).norm5_2(torch.randn(4, 512, 2, 2))
        for network in ("dense", "mpo")
    }
    assert features["dense"].shape == features["mpo"].shape
    with torch.device("meta"):
        mpo, dense = (tnl.models.find("vgg16").make(network) for network in ("mpo", "dense"))
    assert (mpo.norm5_2.norm.num_features, dense.norm5_2[0].num_features) == (2048, 512)
    assert isinstance(mpo.norm5_3, type(dense.norm5_3))  # the map has its channels again
    assert dense.norm5_2[0].eps == 1e-3


def test_dense_weights_start_as_glorot_draws_them():
    model = tnl.models.build("vgg16", network="dense", seed=0)
    left = 1 - 2 * 2 * exp(-2) / sqrt(2 * pi) / erf(sqrt(2))  # of the variance of a normal cut at two sigma
    for name, fans in {"conv4_2": 9 * 1024, "fc1": 512 + 4096}.items():
        weight = model.get_submodule(name).weight.detach()
        assert float(weight.std()) == pytest.approx(sqrt(left * 2.6 / fans), rel=0.01)
        assert float(weight.abs().max()) <= 2 * sqrt(2.6 / fans) + 1e-6
    assert not model.fc1.bias.any()


@pytest.mark.parametrize(("name", "network"), [("resnet8", "dense"), ("resnet14-unit", "mpo"), ("resnet8-k1", "mpo")])
def test_models_come_back_bit_for_bit(tmp_path, name, network):
    model = tnl.models.build(name, network=network, seed=3)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model(images)  # moves the running means
    tnl.save(model.eval(), tmp_path / "model")
    twin = tnl.load(tmp_path / "model").eval()
    assert tnl.io.header(tmp_path / "model").model == name == twin.name
    assert torch.equal(twin(images), model(images))


def test_a_dense_model_with_a_layer_replaced_by_hand_comes_back(tmp_path):
    """The classifier's network stands without the normalisation that the paper's form of the model has before it."""
    model = tnl.models.build("resnet8", network="dense", seed=0).eval()
    model.fc = tnl.nn.MPOLinear.from_linear(model.fc, bond_dim=4, cores=2)
    tnl.save(model, tmp_path / "model")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tnl.load(tmp_path / "model").eval()(images), model(images))


def test_every_point_is_told_of_the_models_that_it_touches():
    assert len(DIFFERENCES) == len({point.key for point in DIFFERENCES}) == 23
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        message = {name: {p.key for p in tnl.models.describe(name).differences} for name in tnl.models.names()}
    assert set().union(*message.values()) == {point.key for point in (*DIFFERENCES, *PICOGPT)}
    assert "vgg19_bias" in message["vgg19"]
    assert "vgg19_bias" not in message["resnet20"]


def test_the_command_tells_counts_and_differences(capsys):
    from tnlayers.__main__ import main

    with pytest.raises(SystemExit, match="0"):
        main(["describe", "vgg16", "--network", "mpo", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["replaced"] == {"mpo": 10944, "dense": 23633920}
    assert found["total"]["mpo"] == {"weights": 5284224, "trainable": 5307014}
    assert {"vgg_dropout_eval", "rho_excludes"} <= {point["key"] for point in found["differences"]}
    with pytest.raises(SystemExit, match="0"):
        main(["describe", "vgg16", "--notes"])
    assert "In the code dropout stays on when the model is evaluated." in " ".join(capsys.readouterr().out.split())


def test_no_module_of_a_model_is_of_an_unknown_kind():
    """`reset` draws linear layers and convolutions; whatever else holds parameters must be a normalisation."""
    for name in SMALLEST:
        for module in tnl.models.find(name).make("mpo").modules():
            if any(True for _ in module.parameters(recurse=False)):
                kinds = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, tnl.nn.TNLinear, tnl.nn.TNConv2d)
                assert type(module) in kinds
