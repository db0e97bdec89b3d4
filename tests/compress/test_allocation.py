"""Allocation: within the budget, the best of all choices where those can be counted, and never worse than by hulls."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promptly import assert_prompt

from tnlayers.compress import allocation
from tnlayers.compress.allocation import Option, allocate, exchanged


def option(cost, loss):
    return Option(spec=None, parameters=cost, cost=cost, loss=loss)


def cost(chosen):
    return sum(one.cost for one in chosen)


def loss(chosen):
    return sum(one.loss for one in chosen)


def cheapest(layers):
    return sum(min(one.cost for one in options) for options in layers)


def least(layers, limit):
    """The least loss of all choices within a limit."""
    return min((loss(one) for one in itertools.product(*layers) if cost(one) <= limit), default=float("inf"))


def by_hulls(layers, limit):
    """What steps along hulls, and single options after them, come to without the table."""
    return allocation._filled(layers, allocation._by_steps(layers, limit - cheapest(layers)), limit)


def models(costs):
    losses = st.integers(0, 64).map(lambda n: n / 64)  # their sums are exact
    return st.lists(st.lists(st.builds(option, costs, losses), min_size=3, max_size=6), min_size=2, max_size=4)


def between(layers, share):
    """A limit between the costs of the cheapest and of the dearest choice."""
    dearest = sum(max(one.cost for one in options) for options in layers)
    return cheapest(layers) + round(share * (dearest - cheapest(layers)))


@settings(max_examples=200)
@given(models(st.integers(1, 60)), st.floats(0, 1))
def test_small_problems_are_solved(layers, share):
    limit = between(layers, share)
    found = allocate(layers, limit)
    assert cost(found) <= limit
    assert all(one in options for one, options in zip(found, layers, strict=True))
    assert loss(found) == least(layers, limit)
    assert allocate(layers, cheapest(layers) - 1) is None


@settings(max_examples=200)
@given(models(st.integers(1, 10**9)), st.floats(0, 1))
def test_large_problems_are_solved_but_for_a_cell_a_layer(layers, share):
    limit = between(layers, share)
    found = allocate(layers, limit)
    cell = -((cheapest(layers) - limit) // 2048)
    assert cost(found) <= limit
    assert loss(found) <= least(layers, limit - len(layers) * cell)
    assert loss(found) <= loss(by_hulls(layers, limit))


def test_sizes_that_hulls_leave_out_are_seen():
    """Two equal layers of which neither can stay dense: 90 + 10 is what is left of steps that do not fit."""
    curve = [option(10, 0.5), option(50, 0.28), option(90, 0.24), option(100, 0.0)]
    assert [one.cost for one in allocation.hull(curve)] == [10, 100]
    assert [one.cost for one in by_hulls([curve, curve], 100)] == [90, 10]
    assert [one.cost for one in allocate([curve, curve], 100)] == [50, 50]


def test_curves_without_gaps_are_divided_near_the_best():
    layers = [[option(c, 1.0 / (k + c)) for c in range(1, 30)] for k in range(3)]
    found = allocate(layers, 40)
    assert cost(found) <= 40
    assert loss(found) == pytest.approx(least(layers, 40), rel=1e-12)
    assert allocate(layers, 2) is None


def test_hundreds_of_layers_take_less_than_a_second():
    rng = np.random.default_rng(0)
    layers = []
    for dense in rng.integers(10**4, 10**7, 300):
        costs = np.unique(np.geomspace(100, 0.99 * dense, 200).round().astype(int))
        losses = (1 - 0.9 * costs / dense) ** rng.uniform(0.5, 4)
        layers.append([*map(option, costs.tolist(), losses.tolist()), option(int(dense), 0.0)])
    limit = sum(options[-1].cost for options in layers) // 5
    assert_prompt(lambda: allocate(layers, limit), 1)
    found = allocate(layers, limit)
    assert 0.99 * limit < cost(found) <= limit
    assert loss(found) <= loss(by_hulls(layers, limit))


def test_an_exchange_uses_what_no_step_can():
    layers = [[option(10, 1.0), option(17, 0.5)], [option(10, 1.0), option(15, 0.4)]]
    chosen = [layers[0][0], layers[1][1]]
    assert [one.cost for one in exchanged(layers, chosen, room=3, near=1)] == [17, 10]
