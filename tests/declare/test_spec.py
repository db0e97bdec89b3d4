"""Specs: values that travel as strings, JSON and YAML, and tell what was adjusted."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from specs import MARKET

import tnlayers as tnl


def forms(spec):
    yield tnl.spec(str(spec))
    yield tnl.Spec.from_json(spec.to_json())
    yield tnl.Spec.from_yaml(spec.to_yaml())
    yield tnl.spec(spec.to_dict())
    yield tnl.spec(json.loads(json.dumps(spec.to_dict())))
    yield tnl.spec(yaml.safe_load(spec.to_yaml()))
    yield tnl.spec(spec)


@pytest.mark.parametrize("name", MARKET)
def test_round_trips(name):
    spec = tnl.spec(MARKET[name])
    for twin in forms(spec):
        assert twin == spec
        assert hash(twin) == hash(spec)
        assert str(twin) == str(spec)
        assert twin.graph == spec.graph
    assert repr(spec) == f"Spec({str(spec)!r})"


modes = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


@st.composite
def random_specs(draw):
    n = draw(st.integers(1, 5))
    side = st.lists(st.integers(2, 6), min_size=n, max_size=n).map(tuple)
    bond = st.integers(1, 40) if n == 1 else st.one_of(st.integers(1, 40), st.tuples(*[st.integers(1, 40)] * (n - 1)))
    keywords = {"in_modes": draw(side), "out_modes": draw(side), "bond_dim": draw(bond), "bias": draw(st.booleans())}
    pads = {"pad_in": draw(st.integers(0, 1)), "pad_out": draw(st.integers(0, 1))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        return tnl.spec("mpo", **keywords, **pads)


@given(random_specs())
def test_random_specs_round_trip(spec):
    """A spec is clipped once: reading it back changes nothing and warns of nothing."""
    for twin in forms(spec):
        assert twin == spec
    assert spec.sized
    assert {spec: 1}[tnl.spec(str(spec))] == 1


@given(
    st.fixed_dictionaries(
        {},
        optional={"cores": st.integers(1, 8), "bond": st.integers(1, 64), "bias": st.booleans(), "pad_in": st.just(0)},
    )
)
def test_random_templates_round_trip(keywords):
    template = tnl.spec("mpo", **keywords)
    assert not template.sized
    for twin in forms(template):
        assert twin == template


def test_specs_are_frozen_values():
    spec = tnl.spec("mpo(in=4x7, out=2x5, bond=3)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.bias = True
    assert spec == tnl.spec("mpo", in_modes=[4, 7], out_modes=[2, 5], bond_dim=3)
    assert spec == tnl.spec("mpo(bond=3)", in_modes=(4, 7), out_modes=(2, 5))
    assert spec == tnl.spec({"network": "mpo", "in": [4, 7], "out": [2, 5], "bond": 3})
    assert spec == tnl.spec("mpo(bond=9)", in_modes=(4, 7), out_modes=(2, 5), bond=3)  # keywords win
    assert spec != tnl.spec(spec, bond_dim=2)
    assert len({spec, tnl.spec(str(spec)), tnl.spec(spec, bias=True)}) == 2


def test_the_same_size_on_every_bond_is_one_number():
    one, each = (tnl.spec("mpo", in_modes=(2, 3, 2), out_modes=(2, 2, 2), bond_dim=b) for b in (3, (3, 3)))
    assert one == each
    assert str(each) == "mpo(in=2x3x2, out=2x2x2, bond=3)"
    pair = tnl.spec("mpo", in_modes=(2, 3), out_modes=(3, 2), bond_dim=(4,))
    assert pair == tnl.spec(str(pair)) == tnl.spec("mpo(in=2x3, out=3x2, bond=4)")


def test_numbers_of_a_spec():
    spec = tnl.spec("mpo(in=4x7x7x4, out=4x4x4x4, bond=16, bias=true)")
    assert (spec.in_features, spec.out_features) == (784, 256)
    assert spec.parameters == 4 * 4 * 16 + 16 * 7 * 4 * 16 * 2 + 16 * 4 * 4  # the bias is not counted
    assert (spec.dense_parameters, spec.rho) == (200704, 14848 / 200704)
    assert spec.bond_dim == 16
    assert tnl.spec("mpo(in=4x7, out=2x5)").bond_dim == 8  # the default of 16, clipped


def test_sizes_are_split():
    spec = tnl.spec("mpo(cores=4, bond=8)", 784, 256)
    assert str(spec) == "mpo(in=4x7x7x4, out=4x4x4x4, bond=8)"
    assert tnl.spec("mpo(in=4x7x7x4, bond=8)", out_features=256) == spec
    with pytest.warns(tnl.TNLayersWarning):
        head = tnl.spec("mpo(bond=4)", 84, 10)
    assert head.out_modes == (1, 5, 2, 1)
    assert any("fewer than 4 useful factors" in note for note in head.notes)


def test_cores_of_modes_1_are_dropped_and_told():
    spec = tnl.spec("mpo(cores=4, bond=1)", 6, 6)
    assert (spec.in_modes, spec.out_modes) == ((3, 2), (3, 2))
    assert "2 of 4 cores would have had only modes of 1 and were dropped" in spec.notes


def test_padding_is_told_once():
    with pytest.warns(tnl.TNLayersWarning, match="1009 has no balanced split into 4: padded by 15 to 1024") as caught:
        spec = tnl.spec("mpo(cores=4, bond=4)", 1009, 256)
    assert len(caught) == 1
    assert (spec.pad_in, spec.in_features) == (15, 1009)
    tnl.plan(spec)  # warnings are errors here: nothing is told twice
    tnl.build(spec, "numpy")


def test_clipped_bonds_are_told():
    with pytest.warns(tnl.TNLayersWarning, match="clipped") as caught:
        spec = tnl.spec("mpo(in=4x7x7x4, out=4x4x4x4, bond=18)")
    assert spec.bond_dim == (16, 18, 16)
    assert str(spec) == "mpo(in=4x7x7x4, out=4x4x4x4, bond=16-18-16)"
    assert spec.parameters == 17376 - 736  # of which 736 are FC2's second layer
    assert spec.notes[:2] == (
        "bond core_0 - core_1 clipped from 18 to 16, its exact maximum",
        "bond core_2 - core_3 clipped from 18 to 16, its exact maximum",
    )
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the caller


def test_bonds_per_edge():
    spec = tnl.spec("mpo(in=4x7x7x4, out=4x4x4x4, bond=4-8-4)")
    assert list(spec.graph.shapes.values()) == [(4, 4, 4), (4, 7, 4, 8), (8, 7, 4, 4), (4, 4, 4)]
    with pytest.warns(tnl.TNLayersWarning, match="from 9 to 6"):
        assert tnl.spec("mpo(in=2x3x2, out=3x2x2, bond=9-3)").bond_dim == (6, 3)


@given(st.lists(st.integers(2, 4), min_size=2, max_size=4), st.integers(0, 2**30), st.data())
def test_bonds_at_their_maximum_are_all_used(ins, seed, data):
    """An MPO at full bond has unfoldings of full rank: nothing smaller would do, so clipping loses nothing."""
    outs = data.draw(st.lists(st.integers(1, 3), min_size=len(ins), max_size=len(ins)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        spec = tnl.spec("mpo", in_modes=tuple(ins), out_modes=tuple(outs), bond_dim=10**6)
    layer = tnl.build(spec, "numpy", seed=seed, dtype="float64")
    n = len(ins)
    w = layer.to_dense().reshape(*outs, *ins).transpose([axis for k in range(n) for axis in (k, n + k)])
    sides = [i * o for i, o in zip(ins, outs, strict=True)]
    bonds = (spec.bond_dim,) * (n - 1) if isinstance(spec.bond_dim, int) else spec.bond_dim
    for cut, bond in enumerate(bonds, start=1):
        left, right = np.prod(sides[:cut]), np.prod(sides[cut:])
        assert bond == min(left, right)
        assert np.linalg.matrix_rank(w.reshape(left, right)) == bond


def test_hyperedges_are_clipped_at_the_rank_of_any_tensor():
    with pytest.warns(tnl.TNLayersWarning, match="from 50 to 24"):
        spec = tnl.spec("cp_by_hand(in=2x3x2, out=2x4, rank=50)")
    assert dict(spec.options)["rank"] == 24  # 2*3*2*2*4 over the largest mode, 4


def test_templates_are_refused_where_sizes_are_needed():
    template = tnl.spec("mpo(bond=8)")
    assert not template.sized
    for use in (
        tnl.plan,
        tnl.build,
        lambda s: s.graph,
        lambda s: s.in_features,
        lambda s: s.parameters,
        lambda s: s.rho,
    ):
        with pytest.raises(tnl.TNLayersError, match=r"mpo\(bond=8\) is a template.*tnl\.spec\('mpo\(bond=8\)'"):
            use(template)


def test_a_network_without_bond_dim_says_so():
    with pytest.raises(tnl.TNLayersError, match="'blocks' has no bond_dim"):
        _ = tnl.spec(MARKET["blocks"]).bond_dim


@pytest.mark.parametrize("keyword", ["bond_dim", "bond", "cores", "bias", "in_modes", "out_modes", "pad_in"])
def test_none_leaves_what_the_text_says(keyword):
    made = tnl.spec("mpo(in=4x4, out=2x8, bond=3, bias=true)")
    assert tnl.spec(made, **{keyword: None}) == tnl.spec(str(made), **{keyword: None}) == made
