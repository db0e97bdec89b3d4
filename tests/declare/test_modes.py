"""Laws of `factorise`."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnlayers as tnl

sizes = st.integers(1, 5000)
orders = st.integers(1, 8)


@given(sizes, orders)
def test_factors_multiply_to_the_size_and_its_padding(size, order):
    modes = tnl.factorise(size, order)
    assert len(modes) == order
    assert min(modes) >= 1
    assert prod(modes) == size + modes.padding
    assert 0 <= modes.padding <= 0.05 * size
    assert modes == tnl.factorise(size, order=order)
    if modes.padding:
        assert f"padded by {modes.padding} to {prod(modes)}" in modes.note
    if order == 1:
        assert tuple(modes) == (size,)


@given(sizes, orders)
def test_the_largest_factors_sit_in_the_middle(size, order):
    modes = tnl.factorise(size, order)
    top = modes.index(max(modes))
    assert list(modes[: top + 1]) == sorted(modes[: top + 1])
    assert list(modes[top:]) == sorted(modes[top:], reverse=True)
    ends = (modes[0], modes[-1])
    assert sorted(ends) == sorted(modes)[: len(ends)] or order == 1


@given(st.lists(st.sampled_from([2, 3, 5, 7]), min_size=1, max_size=5))
def test_sizes_with_small_factors_are_split_exactly(factors):
    modes = tnl.factorise(prod(factors), len(factors))
    assert sum(modes) <= 2 * sum(factors)  # at least as even as the factors given, up to the price of padding
    assert modes.padding == 0 or sum(modes) < sum(factors)


@pytest.mark.parametrize(
    ("size", "order", "expected"),
    [
        (784, 4, (4, 7, 7, 4)),
        (256, 4, (4, 4, 4, 4)),
        (10, 4, (1, 5, 2, 1)),
        (1, 3, (1, 1, 1)),
        (1009, 4, (4, 8, 8, 4)),
        (4096, 3, (16, 16, 16)),
        (12, 1, (12,)),
    ],
)
def test_known_splits(size, order, expected):
    assert tnl.factorise(size, order) == expected


@pytest.mark.parametrize("prime", [97, 997, 1009, 10_007, 50_021, 1_000_003])
def test_primes_do_not_blow_up_and_say_so(prime):
    modes = tnl.factorise(prime, 4)
    assert max(modes) <= 3 * prime**0.25
    assert modes.note == f"{prime} has no balanced split into 4: padded by {modes.padding} to {prod(modes)}"


@pytest.mark.parametrize("prime", [2, 5, 11, 19])
def test_small_primes_are_left_whole_and_say_so(prime):
    modes = tnl.factorise(prime, 4)
    assert sorted(modes) == [1, 1, 1, prime]
    assert modes.note == f"{prime} has fewer than 4 useful factors: 3 of them are 1"


def test_modes_survive_copies():
    import copy
    import pickle

    modes = tnl.factorise(1009, 4)
    for twin in (copy.deepcopy(modes), pickle.loads(pickle.dumps(modes))):
        assert (twin, twin.size, twin.padding, twin.note) == (modes, 1009, 15, modes.note)


@pytest.mark.parametrize(
    ("size", "order", "part"),
    [
        (0, 2, "size=0"),
        (-4, 2, "size=-4"),
        (4.0, 2, "4.0"),
        ("4", 2, "'4'"),
        (True, 2, "True"),
        (4, 0, "order=0"),
    ],
)
def test_wrong_arguments(size, order, part):
    with pytest.raises(tnl.TNLayersError, match=part):
        tnl.factorise(size, order)
