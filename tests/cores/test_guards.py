"""Refusals of layers, plans and einsums that no other file of tests raises."""

import numpy as np
import pytest

import tnlayers as tnl
from tnlayers.cores.bags import bag_keywords

PRODUCT = "ij,jk->ik"
SHAPES = [(2, 3), (3, 4)]


def layer():
    return tnl.build("mpo(in=4x4, out=4x4, bond=2)", backend="numpy", seed=0)


REFUSALS = {
    "a text for an array": (
        lambda: tnl.from_einsum(PRODUCT, SHAPES)("a", np.ones((3, 4))),
        "takes arrays, and got 'a'",
    ),
    "too few shapes": (lambda: tnl.from_einsum(PRODUCT, SHAPES[:1]), r"no einsum equation for .*2, must be equal"),
    "an output of nothing": (lambda: tnl.from_einsum("ij,jk->il", SHAPES), "'l' did not appear in the input"),
    "an output twice": (lambda: tnl.from_einsum("ij,jk->ii", SHAPES), "'i' appeared more than once"),
    "a number for a plan": (lambda: layer().use_plan(3), r"plan=3 \(int\): a plan is needed, such as tnl\.plan"),
    "a text for a batch": (lambda: layer().plan_for("8"), r"batch='8' \(str\): an integer is needed"),
    "half a batch": (lambda: layer().plan_for(2.5), r"batch=2\.5 \(float\): an integer is needed"),
    "a negative batch": (lambda: layer().plan_for(-3), r"batch=-3 \(int\): a number of vectors is needed, at least 0"),
    "another reduction": (lambda: bag_keywords(3, "median", None, False), "mode='median': bags are reduced by"),
    "padding above": (lambda: bag_keywords(3, "sum", 3, False), "padding_idx=3 is no id: the table has 3 rows"),
    "padding below": (lambda: bag_keywords(3, "sum", -4, False), "padding_idx=-4 is no id: the table has 3 rows"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused(name):
    ask, words = REFUSALS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()


def test_an_empty_batch_has_the_plan_of_one_vector():
    one = layer()
    assert one.plan_for(0) == one.plan_for(1)
    assert one(np.ones((0, 16), np.float32)).shape == (0, 16)


@pytest.mark.parametrize("padding", [-3, 0, 2, None])
def test_padding_of_the_table_is_accepted(padding):
    assert bag_keywords(3, "sum", padding, False)["padding_idx"] == (None if padding is None else padding % 3)
