"""What a plan for inference may prepare, on random graphs with loops and hyperedges.

`TNLAYERS_GRAPHS=1000` tries a thousand, minutes of work, as `make fuzz` does.
"""

import os
import random
from dataclasses import replace

import pytest

import tnlayers as tnl
from tnlayers.planning import choosing as optimise
from tnlayers.planning.bounds import MEMORY, WORK, within
from tnlayers.pricing import limits
from tnlayers.pricing.limits import PREPARED_LIMIT

GRAPHS = int(os.environ.get("TNLAYERS_GRAPHS", "160"))
PAGES = 4  # tests that share them


@pytest.fixture(autouse=True)
def without_files(monkeypatch):
    """Plans are searched, not read."""
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "0")


def loopy(seed):
    """A connected graph with more edges than a tree, and a hyperedge in two of five."""
    draw = random.Random(seed)
    n, size = draw.randint(3, 8 if seed % 20 == 0 else 3 + seed % 2), draw.choice((2, 3, 4, 8))
    edges = [(draw.randrange(k), k) for k in range(1, n)]
    edges += [tuple(draw.sample(range(n), 2)) for _ in range(draw.randint(1, n))]
    legs = [{"inp": draw.choice((1, 2, 2, 3, 4)), "out": draw.choice((2, 2, 3, 4))} for _ in range(n)]
    for number, pair in enumerate(edges):
        for k in pair:
            legs[k][f"edge_{number}"] = size
    shared = draw.sample(range(n), draw.randint(3, n)) if draw.random() < 0.4 else []
    for k in shared:
        legs[k]["hyper"] = size
    net = tnl.Declaration()
    cores = [net.core(f"core_{k}", **own) for k, own in enumerate(legs)]
    for number, (a, b) in enumerate(edges):
        cores[a][f"edge_{number}"] ^ cores[b][f"edge_{number}"]
    if shared:
        node = net.copy(size, len(shared))
        for leg, k in enumerate(shared):
            cores[k]["hyper"] ^ node[leg]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])


def complete(cores=8, bond=4):
    """Each core joined to each, as in the worst graph that was found."""
    net = tnl.Declaration()
    own = [
        net.core(f"core_{k}", inp=2, out=3, **{f"to_{j}": bond for j in range(cores) if j != k}) for k in range(cores)
    ]
    for k in range(cores):
        for j in range(k):
            own[k][f"to_{j}"] ^ own[j][f"to_{k}"]
    return net.linear(inputs=[c["inp"] for c in own], outputs=[c["out"] for c in own])


def assert_bounded(plan, forward):
    """The bounds as the page states them, by the counts that plans show."""
    kept = plan.prepared if plan.prepared <= PREPARED_LIMIT else 0
    assert plan.cost.flops <= 100 * (forward.cost.flops + kept / 4)
    assert plan.memory <= 4 * (forward.memory + kept)


@pytest.mark.parametrize("page", range(PAGES))
def test_random_graphs(page, monkeypatch):
    """The plan for "forward" is the one that the search for "inference" compared with, asked for again now and then."""
    found, search = [], optimise._forward
    monkeypatch.setattr(optimise, "_forward", lambda asked: found.append(search(asked)) or found[-1])
    for seed in range(page, GRAPHS, PAGES):
        graph, batch = loopy(seed), random.Random(seed).choice((1, 8, 128))
        found.clear()
        plan = tnl.plan(graph, batch, objective="inference")
        forward = next((one for one in found if one is not None), None) or tnl.plan(graph, batch)
        assert seed % 10 or forward == tnl.plan(graph, batch)
        assert_bounded(plan, forward)


@pytest.mark.parametrize("batch", [1, 8, 1024])
def test_the_worst_graph(batch):
    graph = complete()
    assert_bounded(tnl.plan(graph, batch, objective="inference"), tnl.plan(graph, batch))


def test_the_bounds_bind(monkeypatch):
    """Without them, and with preparing for nothing, there are graphs whose plans exceed them: the tests can fail."""
    monkeypatch.setattr(optimise, "within", lambda plan, forward: True)
    monkeypatch.setattr("tnlayers.pricing.seconds.CALLS", 10**12)
    monkeypatch.setattr("tnlayers.planning.grouping.CALLS", 10**12)
    optimise._cached_search.cache_clear()
    exceeding = 0
    for seed in range(0, 1000, 10):
        graph, batch = loopy(seed), random.Random(seed).choice((1, 8, 128))
        plan, forward = tnl.plan(graph, batch, objective="inference"), tnl.plan(graph, batch)
        exceeding += not within(plan, forward)
    optimise._cached_search.cache_clear()
    assert exceeding > 0


def test_what_pays_is_kept_still():
    """The whole weight of small layers, whose preparing is repaid by a few calls."""
    for text in ("ring(bond=8)",):
        plan = tnl.plan(tnl.spec(text, 784, 256), 1, objective="inference")
        assert len(plan.sweep.chain.links) == 1
        assert plan.prepared == 4 * 784 * 256


def test_a_limit_of_memory_and_the_bounds_hold_together():
    graph = loopy(77)
    free = tnl.plan(graph, 8, objective="inference")
    tight = tnl.plan(graph, 8, objective="inference", memory_limit=free.memory // 2)
    assert tight.memory <= free.memory // 2
    assert_bounded(tight, tnl.plan(graph, 8))


def test_the_bounds_are_those_of_the_page():
    assert (WORK, MEMORY, limits.CALLS) == (100, 4, 100)
    plan = tnl.plan("mpo(in=4x4, out=4x4, bond=4)", 8)
    assert within(replace(plan, objective="inference"), plan)
