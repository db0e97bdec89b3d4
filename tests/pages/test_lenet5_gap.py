"""What `lenet5_gap.py` measures is what a small step on the cores does."""

import pytest
import torch
from scripts import script

import tnlayers as tnl

gap = script("lenet5_gap")


@pytest.mark.parametrize("wrong", [False, True])
def test_a_small_step_moves_the_weight_as_measured(wrong):
    torch.manual_seed(0)
    model = tnl.models.build("lenet5", seed=1)
    images, labels = torch.randn(30, 1, 28, 28), torch.randint(0, 10, (30,))
    rows = gap.measured(model, images, labels)  # leaves the gradients of the cores
    assert [row["layer"] for row in rows] == ["conv3", "fc1", "fc2"]
    step = 1e-5
    for row in rows:
        layer = model.get_submodule(row["layer"])
        before = layer.to_dense().detach().clone().requires_grad_()
        gradient = by_weight(model, row["layer"], before, images, labels)
        with torch.no_grad():
            for core in layer.parameters():
                core -= step * core.grad * (1.5 if wrong else 1.0)
            moved = (before - layer.to_dense()) / step
            for core in layer.parameters():
                core += step * core.grad * (1.5 if wrong else 1.0)
        rate = float((gradient * moved).sum() / (gradient * gradient).sum())
        aligned = float((gradient * moved).sum() / gradient.norm() / moved.norm())
        assert (rate == pytest.approx(row["rate"], rel=1e-3)) is not wrong
        assert aligned == pytest.approx(row["aligned"], rel=1e-3)
        assert row["decay"] * row["rate"] == pytest.approx(len(row["cores"])) == 4


def by_weight(model, name, weight, images, labels):
    """The gradient of the loss by the dense weight in the place of a layer."""
    layer = model.get_submodule(name)
    handle = layer.register_forward_hook(lambda _, x, __: torch.nn.functional.linear(x[0], weight, layer.bias))
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(images.double()), labels), weight)
    handle.remove()
    return gradient
