"""Tied weights: one weight in several modules becomes one network, counted once, whose cores all of them hold."""

from __future__ import annotations

from copy import deepcopy

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


class Language(nn.Module):
    """A table tied to the output's layer, as language models have it."""

    def __init__(self, padding=None):
        super().__init__()
        self.table = nn.Embedding(120, 32, padding_idx=padding)
        self.inner = nn.Linear(32, 32)
        self.head = nn.Linear(32, 120)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.inner(self.table(ids))))


class Twins(nn.Module):
    """Two linear layers with one weight, and a bias that one of them shares with the model."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(48, 48), nn.Linear(48, 48)
        self.second.weight = self.first.weight
        self.shift = self.second.bias

    def forward(self, x):
        return self.second(torch.relu(self.first(x))) + self.shift


# Models this small meet a budget from below only.
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(model):
    return sum(p.numel() for p in model.parameters())


def ids():
    return torch.randint(0, 120, (4, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", ["mpo(cores=2)", "lowrank", "tucker(cores=2)", "ring(cores=2)"])
@pytest.mark.parametrize("inplace", [False, True])
def test_a_table_and_its_decoder_share_one_network(network, inplace):
    dense = Language().double()
    before = count(dense)
    bias = dense.head.bias
    made = tnl.compress(deepcopy(dense), ratio=0.5, network=network, rules={"inner": None}, inplace=inplace)
    model, (row, _) = made.model, made.report.layers
    assert row.name == "table, head"
    assert row.before.parameters == 120 * 32 + 120  # once
    assert made.report.before.parameters == before
    assert made.report.after.parameters == count(model) <= 0.5 * before
    assert made.report.others.parameters == 0
    assert all(model.head.cores[name] is core for name, core in model.table.cores.items())
    torch.testing.assert_close(model.head.bias, bias)
    twin = deepcopy(dense)
    with torch.no_grad():
        twin.table.weight.copy_(model.table.to_dense())
    torch.testing.assert_close(model(ids()), twin(ids()), rtol=1e-10, atol=1e-10)
    assert (model(ids()) - dense(ids())).abs().max() > 1e-4  # teeth
    model(ids()).square().sum().backward()
    twin(ids()).square().sum().backward()
    weight = model.table.to_dense()
    wanted = torch.autograd.grad(weight, list(model.table.cores.values()), twin.table.weight.grad)
    for core, gradient in zip(model.table.cores.values(), wanted, strict=True):
        torch.testing.assert_close(core.grad, gradient)


def test_layers_that_share_weight_and_bias_still_do():
    dense = Twins().double()
    x = torch.randn(5, 48, dtype=torch.float64)
    for inplace in (False, True):
        model = tnl.compress(deepcopy(dense), ratio=0.4, network="mpo(cores=2)", inplace=inplace).model
        assert all(model.second.cores[name] is core for name, core in model.first.cores.items())
        assert model.second.bias is model.shift is not model.first.bias
        assert count(model) <= 0.4 * count(dense)
        twin = deepcopy(dense)
        with torch.no_grad():
            twin.first.weight.copy_(model.first.to_dense())
        torch.testing.assert_close(model(x), twin(x), rtol=1e-10, atol=1e-10)


def test_the_inputs_of_all_that_share_a_weight_count():
    dense = Twins().double()
    x = torch.randn(400, 48, dtype=torch.float64) * torch.linspace(2, 0.01, 48, dtype=torch.float64)
    plain = tnl.compress(dense, ratio=0.3, network="mpo(cores=2)").model
    aware = tnl.compress(dense, ratio=0.3, network="mpo(cores=2)", sample=x)
    with torch.no_grad():
        y = torch.cat([x, torch.relu(dense.first(x))])
        errors = [float((y @ (w.to_dense() - dense.first.weight).mT).norm()) for w in (plain.first, aware.model.first)]
    assert errors[1] < 0.9 * errors[0]
    assert aware.report.layers[0].output_error is not None
    (both,) = (row for row in tnl.compress(Language(), ratio=0.5, sample=ids()).report.layers if "head" in row.name)
    assert both.output_error is None  # read both ways round


def test_repair_trains_what_it_cannot_fit_alone():
    teacher = Language()
    model = tnl.compress(teacher, ratio=0.5, rules={"inner": None}).model
    report = tnl.repair(model, teacher, [ids()] * 4, sweeps=1, epochs=1, loss="mse", progress=False)
    assert set(report.skipped) == {"table", "head"}
    assert "another layer holds the same cores" in str(report)
    assert report.delivered < report.began
    assert all(model.head.cores[name] is core for name, core in model.table.cores.items())


def test_saved_and_loaded_tied(tmp_path):
    dense = Language()
    model = tnl.compress(dense, ratio=0.5).model
    tnl.save(model, tmp_path / "tied.safetensors")
    again = tnl.load(tmp_path / "tied.safetensors", into=Language())
    assert torch.equal(again(ids()), model(ids()))
    assert all(again.head.cores[name] is core for name, core in again.table.cores.items())
    assert count(again) == count(model)


def test_ties_that_a_model_declares_by_name_are_those_of_the_cores(tmp_path):
    dense = Language()
    dense._tied_weights_keys = {"head.weight": "table.weight", "other.weight": "inner.weight"}
    dense.all_tied_weights_keys = {"head.weight": "table.weight"}
    model = tnl.compress(dense, ratio=0.5, rules={"inner": None}).model
    tnl.save(model, tmp_path / "tied.safetensors")
    for one in (model, tnl.load(tmp_path / "tied.safetensors", into=deepcopy(dense))):
        assert one.all_tied_weights_keys == {f"head.{name}": f"table.{name}" for name in model.table.cores}
        assert one._tied_weights_keys["other.weight"] == "inner.weight"
        assert one._tied_weights_keys["head.core_0$"] == "table.core_0$"
    assert list(dense.all_tied_weights_keys) == ["head.weight"]


def test_a_row_of_padding_that_is_not_zero_is_kept(tmp_path):
    dense = Language(padding=3)
    assert tnl.compress(dense, ratio=0.5).model.table.padding_idx == 3
    nn.init.normal_(dense.table.weight)
    model = tnl.compress(dense, ratio=0.9, network="lowrank").model
    row = dense.table.weight[3].detach()
    assert (model.table(torch.tensor(3)).detach() - row).norm() < 0.5 * row.norm()
    tnl.save(model, tmp_path / "padded.safetensors")
    again = tnl.load(tmp_path / "padded.safetensors", into=Language(padding=3))
    assert torch.equal(again(ids()), model(ids()))


def shared_with_raw():
    model = Language()
    model.raw = model.table.weight
    return model


def shared_with_recurrent():
    model = nn.ModuleDict({"cell": nn.RNNCell(16, 16), "linear": nn.Linear(16, 16), "more": nn.Linear(64, 64)})
    model["linear"].weight = model["cell"].weight_ih
    return model


def shared_with_derived():
    class Own(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.ModuleDict({"own": Own(16, 16), "linear": nn.Linear(16, 16), "more": nn.Linear(64, 64)})
    model["linear"].weight = model["own"].weight
    return model


def shared_bias():
    model = nn.ModuleDict({"one": nn.Linear(16, 16), "two": nn.Linear(16, 16), "more": nn.Linear(64, 64)})
    model["one"].bias = model["two"].bias
    return model


@pytest.mark.parametrize(
    ("make", "names", "message"),
    [
        (
            shared_with_raw,
            {"table, head"},
            r"tied: .raw and table.weight and head.weight are one parameter, which is not",
        ),
        (shared_with_recurrent, {"cell.ih", "cell.hh", "linear"}, r"tied: cell.weight_ih and linear.weight are one"),
        (shared_with_derived, {"own, linear"}, "Own is a class of its own"),
        (shared_bias, {"one", "two"}, "tied: one.bias and two.bias are one parameter, but not their weights"),
    ],
)
def test_what_cannot_be_one_network_stays_dense_and_tied(make, names, message):
    model = make()
    made = tnl.compress(model, ratio=0.9)
    rows = [row for row in made.report.layers if row.name in names]
    assert {row.name for row in rows} == names
    assert all(row.network == "dense" for row in rows)
    assert all(message in row.note for row in rows), [row.note for row in rows]
    assert made.report.before.parameters == count(model)
    assert made.report.after.parameters == count(made.model)


CHANGES = {
    "prune_": lambda layer: layer.prune_(0.9),
    "round_": lambda layer: layer.round_(bond_dim=2),
    "grow_": lambda layer: layer.grow_(24),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("loaded", [False, True])
def test_bonds_of_tied_cores_change_after_the_tie_has_ended(change, loaded, tmp_path):
    model = tnl.compress(Twins().double(), ratio=0.4, network="mpo(cores=2)").model
    if loaded:
        tnl.save(model, tmp_path / "tied.safetensors")
        model = tnl.load(tmp_path / "tied.safetensors", into=Twins().double())
    before = model.second.to_dense().detach()
    for layer in (model.first, deepcopy(model).second):
        with pytest.raises(tnl.TNLayersError, match=f"{change} gives this layer other cores, but another layer holds"):
            CHANGES[change](layer)
    model.first.untie_()
    assert torch.equal(model.first.to_dense(), before)
    CHANGES[change](model.first)
    assert model.first.spec != model.second.spec
    assert torch.equal(model.second.to_dense(), before)


def test_a_network_read_the_other_way_round_has_no_type_to_cut():
    model = tnl.compress(Language(), ratio=0.5, network="mpo(cores=2)").model
    model.head.untie_()
    with pytest.raises(tnl.TNLayersError, match="holds the cores of another layer and reads them the other way round"):
        model.head.round_(bond_dim=2)
