"""Every kind of layer through everything that a layer goes through: a new kind is one row of `layer_rows.py`."""

import copy
import pickle

import pytest
import torch
from layer_rows import ROWS, Called
from tnlayers_backends.torch.layers.kinds import KINDS, find

import tnlayers as tnl


@pytest.fixture(params=ROWS)
def row(request):
    return ROWS[request.param]


def close(found, wanted, **rates):
    torch.testing.assert_close(found, wanted, **({"rtol": 1e-4, "atol": 1e-5} | rates))


def test_every_kind_has_a_row():
    assert {row.kind for row in ROWS.values()} == set(KINDS)


def test_from_dense_and_back(row):
    dense, layer, kind = row.dense(), row.layer(), KINDS[row.kind]
    wanted = dense(*row.inputs)
    close(layer(*row.inputs), wanted)
    back = kind.to_dense(layer)
    assert type(back) is type(dense)
    close(back(*row.inputs), wanted)
    close(kind.matrix(dense.weight), kind.matrix(back.weight))
    assert kind.matrix(dense.weight).shape == (layer.spec.out_features, layer.spec.in_features)
    assert find(layer) is kind
    assert type(dense) is kind.stands_for


def test_built_alike_from_a_spec(row):
    layer, kind = row.layer(bond_dim=2), KINDS[row.kind]
    keywords = {name: getattr(layer, name) for name in kind.keywords}
    twin = kind.build(layer.spec, seed=1, dtype=torch.float64, device="cpu", **keywords)
    assert twin(*map(wider, row.inputs)).shape == layer(*row.inputs).shape
    squares = (kind.matrix(twin.weight).square().mean(), kind.matrix(row.dense().weight).square().mean())
    assert 0.2 < squares[0] / squares[1] < 5  # drawn as torch draws the dense one


def wider(x):
    return x.double() if x.is_floating_point() else x


@pytest.mark.parametrize("network", ["cp(rank=3) + mpo(cores=2, bond=2)", "ring(cores=3, bond=2)"])
def test_networks_of_other_forms(row, network):
    """The layer against its own dense weight: sums, and networks with loops."""
    kind = KINDS[row.kind]
    settings = row.own or kind.settings(row.dense())
    inputs, outputs = kind.features(row.dense())
    spec = tnl.spec(kind.template(network, row.dense()), inputs, outputs)
    layer = kind.build(spec, seed=0, dtype=torch.float64, device="cpu", **settings)
    given = tuple(map(wider, row.inputs))
    close(layer(*given), kind.to_dense(layer)(*given))


def test_planned(row):
    layer = row.layer(bond_dim=2)
    cost = KINDS[row.kind].cost(layer, KINDS[row.kind].work(row.dense(), KINDS[row.kind].given(row.inputs, {})))
    assert cost.flops > 0


def test_trained(row):
    layer = row.layer(bond_dim=2)
    layer.reset_parameters(1)
    wanted = row.dense()(*row.inputs).detach()
    optimizer, losses = torch.optim.Adam(tnl.nn.parameter_groups(layer, lr=1e-2)), []
    for _ in range(30):
        loss = (layer(*row.inputs) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_gradients_are_those_of_the_dense_layer(row):
    layer = row.layer().double()
    given = tuple(map(wider, row.inputs))
    layer(*given).square().sum().backward()
    found = [core.grad.clone() for core in layer.cores.values()]
    layer.zero_grad()
    dense = KINDS[row.kind].to_dense(layer)
    dense(*given).square().sum().backward()
    layer.to_dense().backward(dense.weight.grad)
    close([core.grad for core in layer.cores.values()], found, rtol=1e-8, atol=1e-8)


def test_saved_and_loaded(row, tmp_path):
    layer = row.layer(bond_dim=2)
    tnl.save(layer, tmp_path / "layer")
    twin = tnl.load(tmp_path / "layer")
    assert str(twin) == str(layer)
    assert torch.equal(twin(*row.inputs), layer(*row.inputs))


def test_pickled_copied_and_moved(row):
    layer = row.layer(bond_dim=2)
    wanted = layer(*row.inputs)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(twin(*row.inputs), wanted)
    close(layer.double()(*map(wider, row.inputs)), wanted.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
@pytest.mark.parametrize("aware", [False, True])
def test_compressed_loaded_and_repaired(row, aware, tmp_path):
    model = row.model
    sample = row.inputs if aware else None
    result = tnl.compress(model, ratio=0.6, network="mpo(cores=2)", sample=sample)
    small = result.model
    assert isinstance(small.layer, KINDS[row.kind].classes if row.kind != "tensor_linear" else tnl.nn.TNLinear)
    assert result.report.layers[0].after.parameters < result.report.layers[0].before.parameters
    wanted = model(*row.inputs)
    tnl.save(small, tmp_path / "small")
    twin = tnl.load(tmp_path / "small", into=row.model)
    assert torch.equal(twin(*row.inputs), small(*row.inputs))
    before = (small(*row.inputs) - wanted).norm().item()
    batch = dict(zip("abc", row.inputs, strict=False))
    report = tnl.repair(small, model, [batch], sweeps=2, epochs=0, loss="mse", progress=False)
    assert list(report.layers) == ["layer"]
    assert (small(*row.inputs) - wanted).norm().item() <= before * (1 + 1e-6)


def test_loads_a_dense_checkpoint(row):
    model = row.model
    other = Called(row.layer())
    other.layer.reset_parameters(3)
    tnl.load_dense(other, model.state_dict())
    close(other(*row.inputs), model(*row.inputs))


def test_adapted(row):
    base = row.dense()
    wanted = base(*row.inputs).detach()
    adapter = tnl.nn.TNAdapter(base, "mpo(cores=2, bond=2)", seed=0)
    assert torch.equal(adapter(*row.inputs), wanted)
    for core in adapter.delta.cores.values():
        core.data.normal_()
    close(adapter.merge()(*row.inputs), adapter(*row.inputs))


def test_frozen(row):
    layer = row.layer(bond_dim=2)
    with torch.no_grad():
        wanted = layer(*row.inputs)
        close(layer.freeze()(*row.inputs), wanted)
    assert layer.frozen > 0
    layer.train()
    assert layer.frozen is None


def test_compiled(row):
    layer = row.layer(bond_dim=2)
    found = torch.compile(layer, backend="eager", fullgraph=True)(*row.inputs)
    close(found, layer(*row.inputs))


def test_described_and_drawn(row):
    layer = row.layer(bond_dim=2)
    text = repr(layer)
    assert str(layer.spec) in text
    assert all(str(getattr(layer, name)) in text for name in KINDS[row.kind].sizes[:2])
    assert "<svg" in layer.draw()._repr_html_()
    assert layer.spectra().bonds


def test_tools(row):
    layer = row.layer().double()
    given = tuple(map(wider, row.inputs))
    before = layer(*given).detach()
    close(layer.norm2(), layer.to_dense().square().sum())
    layer.canonicalise_()
    layer.balance_()
    close(layer(*given), before)
    layer.grow_(tuple(layer.spec.graph.sizes[i] for i in layer.spec.graph.summed))
    close(layer(*given), before)
    layer.round_(error=1e-9)
    close(layer(*given), before)
    tnl.nn.checkpointed(layer)(*given).sum().backward()
    tnl.nn.bond_dropout(layer, 0.5)
    assert not torch.allclose(layer(*given), before)
