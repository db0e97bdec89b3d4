"""Parameter groups by maximal-update scaling: the rule in numbers, and features that move alike at every width."""

from math import log, prod, sqrt

import pytest
import torch
from specs import MARKET, SUMS
from tnlayers_backends.torch.modules.learning_rates import fans

import tnlayers as tnl

ROWS = MARKET | SUMS


def rates(model, lr, optimizer="adam", **keywords):
    groups = tnl.nn.parameter_groups(model, lr, optimizer, **keywords)
    return {name: group["lr"] for group in groups for name in group["names"]}


@pytest.mark.parametrize("name", ROWS)
def test_fans_share_out_what_an_output_sums_over(name):
    """Each input mode and each summed index ends at one core; each output mode and summed index begins at one."""
    for graph in tnl.spec(ROWS[name]).graphs:
        found = fans(graph)
        assert list(found) == list(graph.shapes)
        shared = prod(graph.sizes[i] for i in graph.shared)
        alone = [i for i in graph.summed if sum(i in core.indices for core in graph.cores) == 1]  # traces only end
        summed = prod(graph.sizes[i] for i in graph.summed)
        assert prod(fan_in for fan_in, _ in found.values()) == prod(graph.in_modes) // shared * summed
        begun = summed // prod(graph.sizes[i] for i in alone)
        assert prod(fan_out for _, fan_out in found.values()) == prod(graph.out_modes) // shared * begun


def test_fans_in_numbers():
    assert fans(tnl.spec("cp(in=3x4, out=5, rank=7)").graph) == {"in_0": (3, 7), "in_1": (4, 1), "out_0": (7, 5)}
    assert fans(tnl.spec("monarch(in=3x4, out=5x2)").graph) == {"first": (4, 2), "second": (3, 5)}
    embedding = tnl.spec("mpo(in=10x20, out=4x2, bond=8)").graph
    assert fans(embedding, one_hot=True) == {"core_0": (1, 32), "core_1": (8, 2)}


def test_the_rule_in_numbers():
    """A square dense matrix of the base width has `lr`; a core of variance 1/(sqrt(3) fan_in) has lr * base / it."""
    layer = tnl.nn.TNLinear(12, 10, network="mpo(in=3x4, out=2x5, bond=3)", seed=0)
    for core, fan_in in ((layer.core_0, 3), (layer.core_1, 12)):
        core.data.mul_((sqrt(3) * fan_in * core.data.square().mean()) ** -0.5)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Conv1d(4, 8, 5), layer, torch.nn.Embedding(7, 32))
    found = rates(model, 0.1, base_width=64)
    expected = {
        "0.weight": 0.1,
        "0.bias": 0.1,
        "1.weight": 0.1 * 64 / 20,
        "1.bias": 0.1,
        "2.core_0": 0.1 * 64 / 3,
        "2.core_1": 0.1 * 64 / 12,
        "2.bias": 0.1,
        "3.weight": 0.1,
    }
    assert found == pytest.approx(expected, rel=1e-6)
    found = rates(model, 0.1, "sgd", base_width=64)
    expected = {
        "0.weight": 0.1,
        "0.bias": 0.1,
        "1.weight": 0.1 * 8 / 20,
        "1.bias": 0.1 * 8 / 64,
        "2.core_0": 0.1 * 6 / 3,
        "2.core_1": 0.1 * 5 / 12,
        "2.bias": 0.1 * 10 / 64,
        "3.weight": 0.1 * 32 / 64,
    }
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["mpo-4", "ring", "cp", "monarch", "tree-3", "tucker", "low-rank"])
def test_fresh_cores_are_a_gauge_of_those_of_the_rule(name):
    """The product of all g is 1 at initialisation, whatever the network."""
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    found = rates(layer, 1.0, base_width=1)
    inside = fans(layer.spec.graph)
    assert prod(found[core] * fan_in for core, (fan_in, _) in inside.items()) == pytest.approx(1, rel=1e-9)


def test_rates_follow_the_gauge():
    """A core ten times larger needs Adam's steps ten times larger; SGD's, whose gradient is a tenth, 100 times."""
    layer = tnl.build(MARKET["mpo-2"], seed=5)
    before = {kind: rates(layer, 0.1, kind) for kind in ("adam", "sgd")}
    with torch.no_grad():
        layer.core_0.mul_(10)
        layer.core_1.div_(10)
    for kind, factor in (("adam", 10), ("sgd", 100)):
        after = rates(layer, 0.1, kind)
        assert after["core_0"] == pytest.approx(factor * before[kind]["core_0"], rel=1e-5)
        assert after["core_1"] == pytest.approx(before[kind]["core_1"] / factor, rel=1e-5)


def test_every_parameter_is_in_one_group():
    layer = tnl.nn.TNLinear(16, 16, network="mpo(cores=2, bond=2)", seed=0)
    model = torch.nn.Sequential(layer, torch.nn.LayerNorm(16), layer, tnl.nn.TNEmbedding(50, 8, network="cp", seed=0))
    groups = tnl.nn.parameter_groups(model, 1e-3)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    torch.optim.AdamW(groups).step()


def moved(network, width, lr, kind, scaled):
    """How far three steps move the outputs of a hidden layer at the inputs that it had (root mean square)."""
    torch.manual_seed(0)
    hidden = tnl.nn.TNLinear(width, width, network=network, seed=0)
    first, last = torch.nn.Sequential(torch.nn.Linear(32, width), torch.nn.ReLU()), torch.nn.Linear(width, 1)
    last.weight.data.div_(sqrt(width))
    model = torch.nn.Sequential(first, hidden, torch.nn.ReLU(), last)
    groups = tnl.nn.parameter_groups(model, lr, kind, base_width=64) if scaled else model.parameters()
    optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind](groups, lr=lr)
    x, target = torch.randn(64, 32), torch.randn(64, 1)
    with torch.no_grad():
        features = first(x)
        before = hidden(features)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        return float((hidden(features) - before).square().mean().sqrt())


@pytest.mark.parametrize(("kind", "lr", "plain_slope"), [("adam", 1e-3, 0.4), ("sgd", 0.1, 1.0)])
def test_coordinate_check(kind, lr, plain_slope):
    """From width 128 to 2048 features move alike with the groups; with one learning rate they move ever further."""
    slopes = {}
    for scaled in (False, True):
        sizes = [moved("lowrank(rank=8)", width, lr, kind, scaled) for width in (128, 2048)]
        slopes[scaled] = log(sizes[-1] / sizes[0]) / log(2048 / 128)
    assert abs(slopes[True]) < 0.15
    assert slopes[False] > plain_slope


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda layer: tnl.nn.parameter_groups(layer, 0.1, "lion"), "optimizer='lion': .* 'adam'"),
        (lambda layer: tnl.nn.parameter_groups(layer, 0), "lr=0 .*a number from .* is needed"),
        (lambda layer: tnl.nn.parameter_groups(layer.apply(zero), 0.1), "'core_0' has a mean square of 0.0"),
    ],
)
def test_refusals(ask, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        ask(tnl.build(MARKET["mpo-2"]))


@torch.no_grad()
def zero(layer):
    layer.core_0.zero_()
