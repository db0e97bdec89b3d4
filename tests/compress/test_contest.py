"""Without a named network: low rank, an MPO and their sum are compared by measured errors, and the report says so."""

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:.*the nearest below is")  # single small weights have coarse sizes


def planted(kind: str) -> nn.Linear:
    """A weight that one type holds at a tenth of its parameters, and the others do not."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 64, bias=False)
    low = torch.randn(64, 2) @ torch.randn(2, 64)
    chain = torch.einsum("abr,rcd->acbd", torch.randn(8, 8, 2), torch.randn(2, 8, 8)).reshape(64, 64)
    weight = {"lowrank": low, "mpo": chain, "mpo + lowrank": chain / chain.norm() + low / low.norm()}[kind]
    with torch.no_grad():
        layer.weight.copy_(weight + 1e-3 * weight.std() * torch.randn(64, 64))
    return layer


def error(made: tnl.compress, dense: nn.Linear) -> float:
    """Of the delivered weight."""
    with torch.no_grad():
        return float((made.model[0].to_dense() - dense.weight).norm() / dense.weight.norm())


@pytest.mark.parametrize(("kind", "ratio"), {"lowrank": 0.08, "mpo": 0.08, "mpo + lowrank": 0.17}.items())
def test_each_weight_takes_the_type_that_holds_it(kind, ratio):
    dense = planted(kind)
    made = tnl.compress(nn.Sequential(dense), ratio=ratio)
    (row,) = made.report.layers
    network = tnl.spec(row.network)
    assert " + ".join(part.network for part in network.parts) == kind
    assert made.report.ratio <= ratio
    one_type = [
        tnl.compress(nn.Sequential(dense), ratio=ratio, network=one).report.layers[0].error
        for one in ("mpo", "lowrank")
    ]
    assert row.error <= min(one_type) * (1 + 1e-6)
    assert error(made, dense) == pytest.approx(row.error, rel=1e-3)
    assert "measured" not in tnl.compress(nn.Sequential(dense), ratio=ratio, network="mpo").report.layers[0].note


def test_outputs_decide_where_there_is_a_sample():
    dense = planted("mpo")
    x = torch.randn(300, 64) * torch.linspace(3, 0.01, 64)
    made = tnl.compress(nn.Sequential(dense), ratio=0.3, sample=x)
    (row,) = made.report.layers
    assert row.note.count("measured") == 1
    named = [tnl.compress(nn.Sequential(dense), ratio=0.3, sample=x, network=one) for one in ("mpo", "lowrank")]
    assert row.output_error <= min(one.report.layers[0].output_error for one in named) * (1 + 1e-6)


def test_a_dry_run_tells_what_a_run_delivers():
    model = nn.Sequential(planted("lowrank"), nn.ReLU(), planted("mpo"))
    dry, real = tnl.compress(model, ratio=0.1, dry_run=True), tnl.compress(model, ratio=0.1)
    assert dry.model is None
    assert [row.network for row in dry.report.layers] == [row.network for row in real.report.layers]


def test_the_first_line_tells_what_rises():
    report = tnl.compress(nn.Sequential(nn.Linear(64, 64)), ratio=0.9, network="mpo(cores=3)").report
    before, after = report.before.flops, report.after.flops
    assert after > before
    first = str(report).splitlines()[0]
    assert f"Flops rise {after / before:.2f}x." in first
    assert "slower than dense" in first
    plain = tnl.compress(nn.Sequential(nn.Linear(64, 64)), error=0.0, rules={"*": None}).report
    assert "rise" not in plain.title()
