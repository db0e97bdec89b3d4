"""The penalty on bonds, and pruning: dead values go, the function stays, the spec says what is built."""

import numpy as np
import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_weight
from specs import MARKET, SUMS

import tnlayers as tnl
from tnlayers.declare import registry

ROWS = MARKET | SUMS
PRUNED = [name for name in ROWS if name != "mera-6"]  # planning its smaller twin takes seconds and shows nothing new


def slices(layer, graph, bond):
    """The slices of every core at each value of a bond: (core name, axis)."""
    return [(c.name, c.indices.index(bond)) for c in graph.cores if bond in c.indices]


@torch.no_grad()
def shrink(layer, factor):
    """Multiply the middle value of every bond by a factor, on one core."""
    for graph in layer.spec.graphs:
        for bond in graph.summed:
            if graph.sizes[bond] > 1:
                name, axis = slices(layer, graph, bond)[0]
                layer.cores[name].movedim(axis, 0)[graph.sizes[bond] // 2].mul_(factor)


def sizes(spec):
    return [graph.sizes[i] for graph in spec.graphs for i in graph.summed]


@pytest.mark.parametrize("name", ROWS)
def test_penalty(name):
    """Products of the norms of slices, written out."""
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    cores = dict(zip(layer.cores, values(layer)[0], strict=True))
    expected = 0.0
    for graph in layer.spec.graphs:
        for bond in graph.summed:
            for value in range(graph.sizes[bond]):
                weight = 1.0
                for core in graph.cores:
                    if bond in core.indices:
                        at = tuple(value if i == bond else slice(None) for i in core.indices)
                        weight *= np.linalg.norm(cores[core.name][at])
                expected += weight
    found = tnl.nn.bond_penalty(layer)
    assert abs(float(found.detach()) - expected) <= 1e-13 * max(expected, 1)
    if expected:
        found.backward()
        assert all(core.grad is None or bool(core.grad.isfinite().all()) for core in layer.cores.values())


def test_the_penalty_does_not_see_the_gauge_of_a_bond_and_stands_zeros():
    layer = tnl.build(MARKET["cp"], seed=5, dtype="float64")
    before = float(tnl.nn.bond_penalty(layer).detach())
    with torch.no_grad():
        layer.in_0.mul_(torch.tensor([2.0, 5.0, 0.1]))
        layer.out_1.div_(torch.tensor([2.0, 5.0, 0.1]))
    assert float(tnl.nn.bond_penalty(layer).detach()) == pytest.approx(before, rel=1e-14)
    with torch.no_grad():
        layer.in_0[:, 1] = 0
    tnl.nn.bond_penalty(layer).backward()
    assert all(bool(core.grad.isfinite().all()) for core in layer.cores.values())
    assert float(tnl.nn.bond_penalty(tnl.build(MARKET["blocks"])).detach()) == 0


@pytest.mark.parametrize("name", PRUNED)
def test_dead_values_go_and_the_weight_stays(name):
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    shrink(layer, 0)
    before = oracle_weight(layer.spec, values(layer)[0])
    old, count = sizes(layer.spec), layer.spec.parameters
    report = layer.prune_(0)
    assert_close(layer.to_dense(), before, dtype="float64")
    assert {key: tuple(core.shape) for key, core in layer.cores.items()} == layer.spec.shapes
    assert tnl.spec(str(layer.spec)) == layer.spec
    x = torch.from_numpy(inputs(layer.spec, (3,), "float64"))
    twin = tnl.build(str(layer.spec), seed=0, dtype="float64")
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), twin(x))
    assert [bond.before for bond in report.bonds] == old
    assert [bond.after for bond in report.bonds] == sizes(layer.spec)
    assert [bond.dead for bond in report.bonds] == [int(size > 1) for size in old]
    assert report.parameters == (count, layer.spec.parameters)
    assert report.error == 0
    held = name.startswith(("traced", "tucker-kernel"))  # `traced` has no number for its trace
    assert held or sizes(layer.spec) == [size - (size > 1) for size in old]


@pytest.mark.parametrize("name", ["mpo-4", "mpo-padded", "ring", "cp", "star", "sum-2", "peps-4", "block-term"])
def test_the_change_stays_within_the_tolerance(name):
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    shrink(layer, 1e-3)
    before, old = layer.to_dense().detach(), sizes(layer.spec)
    report = layer.prune_(0.05)
    change = float((layer.to_dense().detach() - before).norm() / before.norm())
    assert 1e-6 < change <= report.error * (1 + 1e-9)
    assert report.error <= 0.05
    assert sizes(layer.spec) == [size - (size > 1) for size in old]
    assert layer.prune_(1e-6).bonds == tuple(  # what is left is alive
        type(bond)(cores=bond.cores, before=bond.after, dead=0, after=bond.after) for bond in report.bonds
    )


def test_one_number_for_all_bonds_keeps_what_the_largest_needs():
    layer = tnl.build("tree(in=2x3x2, out=2x2x3, bond=3)", seed=5, dtype="float64")
    with torch.no_grad():
        layer.leaf_0[..., 1:] = 0
    before = oracle_weight(layer.spec, values(layer)[0])
    report = layer.prune_(0)
    assert [bond.dead for bond in report.bonds] == [2, 0, 0]
    assert str(layer.spec) == "tree(in=2x3x2, out=2x2x3, bond=3)"
    assert_close(layer.to_dense(), before, dtype="float64")


def test_bonds_that_their_cores_cannot_fill_any_more_shrink_too():
    layer = tnl.build("mpo(in=4x2x4, out=4x2x4, bond=8)", seed=5, dtype="float64")
    with torch.no_grad():
        layer.core_0[..., 1:] = 0
    before = oracle_weight(layer.spec, values(layer)[0])
    report = layer.prune_(0)
    assert str(layer.spec) == "mpo(in=4x2x4, out=4x2x4, bond=1-4)"  # core_1 is now 1 x 2 x 2 x 4
    assert_close(layer.to_dense(), before, dtype="float64")
    assert str(report) == (
        "core_0 - core_1: 8 -> 1 (7 dead)\ncore_1 - core_2: 8 -> 4 (0 dead)\n"
        "512 -> 96 parameters, relative change of W at most 0"
    )


def test_parameters_that_keep_their_shape_stay_and_training_goes_on():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-4"], seed=5), 0.1)
    layer.use_plan(tnl.plan(layer.spec, 8))
    with torch.no_grad():
        layer.core_0[..., 3] = 0
    last, first = layer.core_3, layer.core_0
    layer.prune_(0)
    assert layer.core_3 is last
    assert layer.core_0 is not first
    optimizer = torch.optim.Adam(layer.parameters())
    x = torch.from_numpy(inputs(layer.spec, (4,), "float32"))
    before = layer.core_0.detach().clone()
    layer(x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(before, layer.core_0)


def test_an_optimizer_goes_on_with_new_groups():
    """As docs/training.md says: the pruned parameters in the place of the old ones, and no state."""
    layer = tnl.build(MARKET["mpo-4"], seed=5)
    x = torch.from_numpy(inputs(layer.spec, (4,), "float32"))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    for pruned in (False, True):
        if pruned:
            with torch.no_grad():
                layer.core_0[..., 3] = 0
            layer.prune_(0)
            optimizer.param_groups[0]["params"] = list(layer.parameters())
            optimizer.state.clear()
        before = [core.detach().clone() for core in layer.cores.values()]
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()
        assert not any(torch.equal(old, new) for old, new in zip(before, layer.cores.values(), strict=True))


def test_the_penalty_thresholds_singular_values_and_what_is_below_dies():
    """Minimising |W - T|^2 / 2 + c * penalty gives T with its singular values less c (none below 0): a nuclear norm."""
    u, _, vh = torch.linalg.svd(torch.randn(10, 12, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    values = torch.tensor([8.0, 5.0, 0.3, 0.2, 0.1, 0.05])
    u, vh = u[:, :6], vh[:6]
    found = {}
    for strength in (0.0, 0.5):
        layer = tnl.nn.TNLinear(12, 10, bias=False, network="lowrank(rank=6)", seed=0)
        (a, b), root = layer.cores.values(), values.sqrt()
        with torch.no_grad():
            a.copy_(vh.T * root)
            b.copy_((u * root).T)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
        for _ in range(600):
            optimizer.zero_grad()
            loss = (layer.to_dense() - u * values @ vh).square().sum() / 2
            (loss + strength * tnl.nn.bond_penalty(layer)).backward()
            optimizer.step()
        expected = u * (values - strength).clamp(min=0) @ vh
        assert float((layer.to_dense().detach() - expected).norm()) < 1e-3 * float(expected.norm())
        layer.prune_(1e-3)
        found[strength] = sizes(layer.spec)
    assert found == {0.0: [6], 0.5: [2]}


def test_a_loaded_layer_needs_its_type_to_become_smaller(tmp_path, monkeypatch):
    layer = tnl.build(MARKET["hand-mpo"], seed=5)
    tnl.save(layer, tmp_path / "layer.safetensors")
    known = dict(registry._TYPES)
    known.pop("hand_mpo")
    monkeypatch.setattr(registry, "_TYPES", known)
    loaded = tnl.load(tmp_path / "layer.safetensors")
    assert all(bond.dead == 0 for bond in loaded.prune_(0).bonds)
    with torch.no_grad():
        loaded.site_0[..., 1] = 0
    before = [core.detach().clone() for core in loaded.cores.values()]
    with pytest.raises(tnl.TNLayersError, match="no network type 'hand_mpo'"):
        loaded.prune_(0)
    assert all(torch.equal(old, new) for old, new in zip(before, loaded.cores.values(), strict=True))


@pytest.mark.parametrize("tolerance", [1, -0.1, True, "0.1"])
def test_wrong_tolerances_are_refused(tolerance):
    with pytest.raises(tnl.TNLayersError, match=rf"tolerance={tolerance!r}: .* from 0 to below 1"):
        tnl.build(MARKET["mpo-2"]).prune_(tolerance)
