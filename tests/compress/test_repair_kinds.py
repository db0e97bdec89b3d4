"""Least squares of cores for every layer kind that is linear in its weight, and repair of models of every form."""

import copy
import io

import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

import tnlayers as tnl
from tnlayers.compress.repair.least_squares import solve_cores
from tnlayers.compress.repair.pairs import moments
from tnlayers.files import progress as bars

IMAGES = (5, 6, 8, 7)
CONVOLUTIONS = {
    "plain": nn.Conv2d(6, 8, 3, padding=1),
    "grouped": nn.Conv2d(6, 8, 3, groups=2),
    "depthwise": nn.Conv2d(6, 12, 3, groups=6, padding=2),
    "dilated": nn.Conv2d(6, 8, 3, dilation=2, groups=2, padding=2, padding_mode="reflect"),
    "strided": nn.Conv2d(6, 9, (3, 2), stride=(2, 1), groups=3, bias=False),
}


def kinds():
    """Name, dense module, network layer of double precision, inputs."""
    torch.manual_seed(0)
    for name, dense in CONVOLUTIONS.items():
        dense = copy.deepcopy(dense).double()
        yield name, dense, tnl.nn.TNConv2d.from_conv(dense, "mpo(cores=2)", bond_dim=1), torch.randn(IMAGES).double()
    flat = nn.Conv2d(2, 3, 3, padding=1).double()
    made = tnl.nn.TNConv2d.from_conv(flat, view="flat", in_size=(4, 5), bond_dim=3, cores=2)
    yield "flat", flat, made, torch.randn(80, 2, 4, 5).double().cumsum(-1)
    line = nn.Conv1d(4, 6, 5, groups=2).double()
    yield "1-d", line, tnl.nn.TNConv1d.from_conv(line, "lowrank", bond_dim=1), torch.randn(3, 4, 40).double()
    table = nn.Embedding(30, 8, padding_idx=2).double()
    ids = torch.multinomial(1 / torch.arange(1.0, 31), 400, replacement=True).reshape(20, 20)  # as words are met
    yield "embedding", table, tnl.nn.TNEmbedding.from_embedding(table, "mpo(cores=2)", bond_dim=3), ids
    waves = nn.Linear(12, 10, dtype=torch.complex128)
    x = torch.randn(100, 12, dtype=torch.complex128) * torch.linspace(0.1, 3, 12)
    yield "complex", waves, tnl.nn.TNLinear.from_linear(waves, "mpo(cores=2)", bond_dim=2), x


KINDS = {name: rest for name, *rest in kinds()}


def off(layer, x, wanted):
    """The error of the outputs, from the outputs themselves."""
    with torch.no_grad():
        return float((layer(x) - wanted).norm() / wanted.norm())


def wanted_of(dense, x):
    with torch.no_grad():
        return dense(x)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_raises_the_error_of_the_outputs(kind):
    dense, layer, x = KINDS[kind]
    layer, wanted = copy.deepcopy(layer), wanted_of(dense, x)
    sums = moments(layer, x, wanted)
    errors = [off(layer, x, wanted)]
    for _ in range(2):
        for name in layer.cores:
            others = {*layer.cores} - {name}
            before, after = solve_cores(layer, sums, 1, others)
            assert before == pytest.approx(errors[-1], rel=1e-6)
            errors.append(off(layer, x, wanted))
            assert after == pytest.approx(errors[-1], rel=1e-6)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.999 * errors[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_outputs_error_vanishes_at_the_end(kind):
    """Autograd of the forward pass knows nothing of moments: at the optimum of a core it has to be (nearly) zero."""
    dense, layer, x = KINDS[kind]
    layer, wanted = copy.deepcopy(layer), wanted_of(dense, x)
    name = next(iter(layer.cores))

    def slope():
        layer.zero_grad()
        (layer(x) - wanted).abs().square().mean().backward()
        return float(getattr(layer, name).grad.norm())

    before = slope()
    sums = moments(layer, x, wanted)
    for _ in range(3):
        solve_cores(layer, sums, 1, {*layer.cores, "bias"} - {name})
    assert slope() < 1e-4 * before
    with torch.no_grad():
        getattr(layer, name).mul_(1.01)
    assert slope() > 1e-4 * before  # teeth


def test_moments_of_several_batches_add_up():
    dense, layer, x = KINDS["dilated"]
    wanted = wanted_of(dense, x)
    whole, parts = moments(layer, x, wanted), moments(layer, x[:2], wanted[:2]) + moments(layer, x[2:], wanted[2:])
    torch.testing.assert_close(parts.yx, whole.yx)
    torch.testing.assert_close(parts.xx, whole.xx)
    assert parts.count == whole.count


def test_where_rounding_would_make_it_worse_the_layer_stays():
    torch.manual_seed(0)
    layer = tnl.nn.TNLinear(12, 10, network="mpo(cores=2)", seed=0).bfloat16()
    x = torch.randn(50, 12).bfloat16()
    wanted = layer.double()(x.double()).detach() + 1e-5 * torch.randn(50, 10)  # nothing in bfloat16 is any closer
    before = copy.deepcopy(layer.bfloat16().state_dict())
    old, new = solve_cores(layer, moments(layer, x, wanted), 2)
    assert new == old < 1e-4
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


class Tagger(nn.Module):
    """A small transformer with Hugging Face's habits: keywords in, a mapping out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 6)

    def forward(self, input_ids, attention_mask=None, labels=None):
        assert labels is None, "labels are not looked at"
        padding = None if attention_mask is None else ~attention_mask
        hidden = self.encoder(self.embed(input_ids), src_key_padding_mask=padding)
        return {"hidden": hidden, "logits": self.head(hidden)}


def tagger_and_batches():
    torch.manual_seed(0)
    teacher = Tagger().eval()
    ids = [torch.randint(0, 40, (8, 10)) for _ in range(4)]
    mask = torch.ones(8, 10, dtype=torch.bool)
    batches = [{"input_ids": one, "attention_mask": mask, "labels": torch.zeros(8)} for one in ids]
    rules = {"head": None}
    return tnl.compress(teacher, ratio=0.5, network="mpo(cores=2)", rules=rules).model, teacher, batches


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_transformer_is_repaired_from_mappings(precision):
    model, teacher, batches = tagger_and_batches()
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    report = tnl.repair(model, teacher, batches, epochs=2, sweeps=1, fabric=fabric, progress=False)
    parts = {f"encoder.layers.0.self_attn.{name}_proj" for name in ("q", "k", "v", "out")}
    assert parts & set(report.layers) == parts & {name for name, _ in model.named_modules() if is_network(model, name)}
    assert "embed" in report.layers
    assert not report.skipped
    assert all(after <= before for before, after in report.layers.values())
    assert report.delivered < report.began


def test_the_output_of_attention_is_fitted_though_torch_does_not_call_its_layer():
    _, teacher, batches = tagger_and_batches()
    rules = {"*": None, "*.out_proj": {"network": "mpo(cores=2)", "bond_dim": 4}}
    model = tnl.compress(teacher, ratio=1.0, rules=rules).model
    report = tnl.repair(model, teacher, batches, sweeps=1, epochs=0, loss="mse", progress=False)
    ((name, (before, after)),) = report.layers.items()
    assert name == "encoder.layers.0.self_attn.out_proj"
    assert after < before
    assert not report.skipped


def is_network(model, name):
    return hasattr(model.get_submodule(name), "cores")


def test_labels_or_none_and_a_schedule_of_ones_own():
    model, teacher, batches = tagger_and_batches()
    seen = []

    def schedule(optimizer):
        assert type(optimizer) is torch.optim.SGD
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: seen.append(epoch) or 0.5**epoch)

    forms = (
        [one["input_ids"] for one in batches],
        [(one["input_ids"], one["labels"]) for one in batches],
        [({"input_ids": one["input_ids"]}, one["labels"]) for one in batches],
    )
    reports = [
        tnl.repair(
            copy.deepcopy(model),
            teacher,
            loader,
            sweeps=0,
            epochs=2,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
            scheduler=schedule,
            progress=False,
        )
        for loader in forms
    ]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].kept != "as it began"
    assert seen == [0, 1, 2] * 3


class Steps(nn.Module):
    """A recurrent cell run over a few steps."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(12, 16)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0]


def test_both_projections_of_a_recurrent_cell_are_fitted():
    torch.manual_seed(0)
    teacher = Steps()
    model = tnl.compress(teacher, ratio=0.4, network="mpo(cores=2)").model
    report = tnl.repair(model, teacher, [torch.randn(30, 4, 12)], sweeps=1, epochs=0, loss="mse", progress=False)
    assert set(report.layers) == {"cell.ih", "cell.hh"}
    assert report.delivered < report.began


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(12, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def test_a_whole_recurrent_layer_is_left_to_the_training_that_follows():
    torch.manual_seed(0)
    teacher = Reader()
    model = tnl.compress(teacher, ratio=0.4, network="mpo(cores=2)").model
    model.lstm.by_steps = lambda *_: True  # whichever way it runs
    report = tnl.repair(model, teacher, [torch.randn(30, 4, 12)], sweeps=1, epochs=1, loss="mse", progress=False)
    assert set(report.skipped) == {"lstm.ih_l0", "lstm.hh_l0"}
    assert "the steps inside an nn.LSTM do not show" in str(report)
    assert report.delivered < report.began


def test_what_is_left_alone_is_named_with_its_reason():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Conv1d(4, 4, 3, padding=1))
    made = [tnl.nn.TNLinear(8, 8, seed=0), tnl.nn.TNLinear(8, 8, seed=0), tnl.nn.TNConv1d(4, 4, 1, seed=0)]
    model = nn.Sequential(nn.Sequential(made[0]), made[1], made[2])
    report = tnl.repair(model, teacher, [torch.randn(4, 4, 8)], sweeps=1, epochs=0, loss="mse", progress=False)
    assert set(report.layers) == {"1"}
    assert report.skipped == {
        "0.0": "the teacher has no dense layer of this name",
        "2": "its kernel_size is (1,), that of the teacher's layer (3,)",
    }
    assert "0.0: left alone, the teacher has no dense layer of this name" in str(report)
    with pytest.raises(tnl.TNLayersError, match="No parameter of the model may be trained"):
        tnl.repair(model.requires_grad_(False), teacher, [torch.randn(4, 4, 8)], progress=False)


@pytest.mark.parametrize(("terminal", "wanted"), [(True, True), (True, False), (False, True)])
def test_a_bar_with_the_time_left_on_terminals_alone(monkeypatch, terminal, wanted):
    text = io.StringIO()
    monkeypatch.setattr(bars, "Console", lambda **_: Console(file=text, force_terminal=terminal, width=100))
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(8, 8))
    model = nn.Sequential(tnl.nn.TNLinear.from_linear(teacher[0], "lowrank", bond_dim=2))
    tnl.repair(model, teacher, [torch.randn(9, 8)] * 3, epochs=2, progress=wanted)
    assert ("21/21" in text.getvalue()) == (terminal and wanted)  # 3 measured, 3 + 3 layer by layer, 2 (3 + 3)
    assert ("epoch 2/2" in text.getvalue()) == (terminal and wanted)
    assert text.getvalue() == "" or "0:00:0" in text.getvalue()
