"""What planning takes, as counted work: products priced and layouts tried, which do not depend on the machine's day."""

import random

import pytest
from absent import framework
from specs import chain

import tnlayers as tnl
from tnlayers.planning import conv_choice
from tnlayers.planning import paths as search
from tnlayers.planning.choosing import _cached_search
from tnlayers.planning.grouping import Rough
from tnlayers.program.layout import assemble
from tnlayers.program.pair_layouts import PairLayouts

torch = framework("torch")


@pytest.fixture
def work(monkeypatch):
    """Counts of products priced by the rough search and of steps that the layout search tried."""
    _cached_search.cache_clear()
    assemble.cache_clear()
    counts = {"priced": 0, "tried": 0}
    priced, product = Rough.priced, PairLayouts.product

    def counted_priced(self, *args):
        counts["priced"] += 1
        return priced(self, *args)

    def counted_product(self, *args):
        counts["tried"] += 1
        return product(self, *args)

    monkeypatch.setattr(Rough, "priced", counted_priced)
    monkeypatch.setattr(PairLayouts, "product", counted_product)
    return counts


def wild(operands, extra, seed=3):
    """A random connected graph: a tree with more edges between cores, each with an input or an output mode."""
    draw, edges = random.Random(seed), []
    edges += [(draw.randrange(k), k) for k in range(1, operands)]
    edges += [tuple(draw.sample(range(operands), 2)) for _ in range(extra)]
    legs = [{"inp": 2 - k % 2, "out": 1 + k % 2} for k in range(operands)]
    for number, (a, b) in enumerate(edges):
        legs[a][f"edge_{number}"] = legs[b][f"edge_{number}"] = 2
    net = tnl.Declaration()
    cores = [net.core(f"core_{k}", **own) for k, own in enumerate(legs)]
    for number, (a, b) in enumerate(edges):
        cores[a][f"edge_{number}"] ^ cores[b][f"edge_{number}"]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])


@pytest.mark.parametrize(("cores", "priced", "tried"), [(8, 500, 900), (29, 9500, 3000)])
@pytest.mark.parametrize("objective", ["training", "inference"])
def test_chains(work, cores, priced, tried, objective):
    tnl.plan(chain(cores), 128, objective=objective)
    assert 0 < work["priced"] <= priced
    assert 0 < work["tried"] <= tried
    before = dict(work)
    tnl.plan(chain(cores), 128, objective=objective)
    assert work == before  # asked twice, searched once


def test_a_random_graph_of_thirty_operands(work):
    plan = tnl.plan(wild(29, 8), 64, objective="training")
    assert len(plan.path) == 29
    assert work["tried"] <= 2500


def test_a_layer_never_searches_twice_for_a_bucket(work):
    layer = tnl.build(chain(4), backend="numpy")
    for batch in (3, 4):
        layer.plan_for(batch)
    before = dict(work)
    layer.plan_for(4)
    assert work == before
    layer.plan_for(5)
    assert work["tried"] > before["tried"]


def test_a_build_plans_only_what_will_run(work):
    """On torch the plan of traced code; a batch's when it is seen, with and without a cache; on jax, nothing."""
    spec = chain(6)
    before = optimise_calls()
    layer = tnl.build(spec, seed=0)
    assert optimise_calls() == before + 1
    with torch.no_grad():
        layer(torch.zeros(3, layer.in_features))
        layer(torch.zeros(4, layer.in_features))
    assert optimise_calls() == before + 3
    layer(torch.zeros(3, layer.in_features)).sum().backward()
    assert optimise_calls() == before + 4
    tnl.build(spec, backend="jax", seed=0)
    assert optimise_calls() == before + 4


def optimise_calls():
    """How many plans have been searched."""
    return _cached_search.cache_info().misses


def test_a_convolution_of_ten_cores_searches_few_orders(monkeypatch):
    """Of the many sets of cores that could be left for last, only a kernel that is chosen gets its best order."""
    asked, ask = [], search._ask
    monkeypatch.setattr(
        search, "_ask", lambda contraction, optimize: asked.append(optimize) or ask(contraction, optimize)
    )
    conv_choice.plan_convolution.cache_clear()
    layer = tnl.nn.TNConv2d(128, 128, 3, padding=1, network="cp(rank=16)", seed=0)
    _cached_search.cache_clear()
    asked.clear()
    plan = layer.plan_for((8, 128, 16, 16))
    assert len(layer.cores) == 10
    assert plan.routes
    assert asked.count("dp") < 250
