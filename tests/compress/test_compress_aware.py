"""Data-aware allocation: what a layer's error counts, and what its sizes are said to leave, are both of outputs."""

from __future__ import annotations

from math import log

import pytest

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.compress.curves import curve
from tnlayers.decompose.sizes import Scale
from tnlayers.decompose.target import Method, Target

torch = pytest.importorskip("torch")
nn = torch.nn


def learnt(features: int, out: int, seed: int) -> tuple[nn.Linear, torch.Tensor]:
    """A layer whose weight and inputs have one large direction in common, and a sample."""
    rng = torch.Generator().manual_seed(seed)
    direction = nn.functional.normalize(torch.randn(features, generator=rng), dim=0)
    layer = nn.Linear(features, out, bias=False)
    weight = torch.randn(out, features, generator=rng)
    layer.weight = nn.Parameter(weight + 3 * torch.outer(torch.randn(out, generator=rng), direction))
    x = torch.randn(500, features, generator=rng) + 4 * torch.randn(500, 1, generator=rng) * direction
    return layer, x


class Sum(nn.Module):
    """Two layers on two halves of the input, added up."""

    def __init__(self, one: nn.Linear, other: nn.Linear) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        return self.one(x[:, : self.one.in_features]) + self.other(x[:, self.one.in_features :])


def relative(model, wanted, x):
    """The squared error of a model's outputs over those that are wanted."""
    with torch.no_grad():
        return float((model(x) - wanted).square().sum() / wanted.square().sum())


def test_a_layer_that_is_the_whole_model_counts_its_own_output_error_once():
    from tnlayers.compress.cache import Memory
    from tnlayers.compress.modules.sites import sites_of
    from tnlayers.compress.observing import watch

    layer, x = learnt(12, 2000, seed=0)
    model = nn.Sequential(layer)
    blind, aware = (
        watch(model, sites_of(model), x, data_aware=sees, memory=Memory(folder=None)).sensitivity[0]
        for sees in (False, True)
    )
    spread = (2 / layer.out_features) ** 0.5  # of the noise that is tried, where the inputs were one direction only
    assert abs(aware - 1) < 4 * spread
    assert abs(blind - 1) > 4 * spread


def short(layer, x, rank):
    """The best of a rank for the outputs on a sample."""
    return tnl.nn.TNLinear.from_linear(layer, "lowrank", bond_dim=rank, covariance=x.T @ x / len(x))


def test_the_budget_goes_where_the_outputs_of_the_model_gain_most():
    one, x = learnt(16, 24, seed=1)
    torch.manual_seed(2)
    other, y, ranks = nn.Linear(16, 24, bias=False), 6 * torch.randn(500, 16), 6
    model, sample = Sum(one, other), torch.cat([x, y], 1)
    wanted, ratio = model(sample).detach(), ranks * (16 + 24) / (2 * 16 * 24)
    made = tnl.compress(model, ratio=ratio, network="lowrank", sample=sample, data_aware=True, progress=False).model
    splits = [(rank, ranks - rank) for rank in range(1, ranks)]
    errors = [relative(Sum(short(one, x, a), short(other, y, b)), wanted, sample) for a, b in splits]
    assert relative(made, wanted, sample) == pytest.approx(min(errors), rel=1e-4)
    assert min(errors) < min(errors[0], errors[-1])


@pytest.mark.parametrize("network", ["mpo(cores=2)", "tucker"])
def test_losses_of_sizes_are_nearer_to_fits_than_their_bounds(network):
    layer, x = learnt(36, 36, seed=4)
    target = Target(backend("torch").ops, layer.weight.detach(), x.T @ x / len(x), Method())
    message, bounds = (curve(target, Scale.of(network, 36, 36), bounds=only).options for only in (False, True))
    for option, bound in list(zip(message, bounds, strict=True))[:: len(message) // 4]:
        measured = target.measure(target.fitted(option.spec)) ** 2
        assert measured < bound.loss
        assert abs(log(option.loss / measured)) < log(bound.loss / measured)
    smallest = target.measure(target.fitted(message[0].spec)) ** 2
    assert message[0].loss == pytest.approx(smallest, rel=1e-6)
