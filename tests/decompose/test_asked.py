"""Sizes are checked in one place: whoever asks for one, a wrong one is refused in the same words."""

import numpy as np
import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.compress.budgets import Budget
from tnlayers.compress.rules import rules_for
from tnlayers.decompose.decomposition import decompose

framework("torch")

WRONG = [
    ("ratio", -0.1),
    ("ratio", 1.5),
    ("ratio", float("nan")),
    ("ratio", True),
    ("error", -1),
    ("error", "0.1"),
    ("max_params", 1.5),
    ("max_params", True),
    ("max_params", -3),
]


NO_BUDGET = dict.fromkeys(("ratio", "max_params", "max_flops", "error"))
ASKS = {
    "weight": lambda size: decompose(np.eye(6), **size),
    "model": lambda size: Budget.of(**NO_BUDGET | size),
    "rule": lambda size: rules_for([["a"]], ["mpo"], {"a": {"network": "mpo", **size}}),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_size_is_refused_by_whoever_is_asked(key, value, ask):
    with pytest.raises(tnl.TNLayersError, match=f"^{key}=.*(must be|is more than)"):
        ASKS[ask]({key: value})


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")  # no network of 6 x 6 has just so many parameters
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("size", [{"ratio": 1}, {"error": 0.5}, {"max_params": 36}])
def test_a_right_one_is_not(size, ask):
    """It reaches what was asked: of a weight the bound is met, a budget or a rule holds it as it was given."""
    found = ASKS[ask](size)
    if ask == "weight":
        assert found.parameters <= 36
        assert found.error <= 0.5
    elif ask == "model":
        assert {found.key: found.value} == size
    else:
        assert [rule.size for rule in found] == [size]
