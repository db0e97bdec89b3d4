"""Schedules as the paper and `fast` have them, the averages of weights, and L2 on matrices."""

import pytest
import torch
from torch import nn

from tnlayers import models
from tnlayers.train import TrainConfig
from tnlayers.train.average import WeightAverage
from tnlayers.train.data_names import IMAGES
from tnlayers.train.loop import make_optimizer
from tnlayers.train.recipe import Recipe
from tnlayers.train.recipes import CIFAR_FAST, CIFAR_PAPER, MODELS, RECIPES, find_recipe

# paper.json, cifar10_common: the learning rate of epochs [first, last)
PAPER_RATES = {0: 0.1, 50: 0.0316228, 100: 0.01, 150: 0.00316228, 200: 0.001, 250: 0.000316228, 300: 0.0001}


@pytest.mark.parametrize("model", [name for name in MODELS if name.startswith(("vgg", "resnet", "densenet"))])
def test_every_cifar_model_has_both_recipes(model):
    assert find_recipe(model, "cifar10") == CIFAR_PAPER
    assert find_recipe(model, "cifar10", "fast") == CIFAR_FAST


def test_the_models_that_can_be_trained_are_those_that_can_be_built():
    assert models.names() == MODELS


def test_the_papers_cifar_recipe():
    steps = 50000 // CIFAR_PAPER.batch
    assert CIFAR_PAPER.epochs * steps == 162_500
    for epoch, rate in PAPER_RATES.items():
        for step in (epoch * steps, (epoch + 20) * steps, (epoch + 25) * steps - 1):
            assert CIFAR_PAPER.lr_at(step, steps_per_epoch=steps) == pytest.approx(rate, rel=1e-5)
    assert (CIFAR_PAPER.momentum, CIFAR_PAPER.nesterov, CIFAR_PAPER.l2, CIFAR_PAPER.l2_on) == (0.9, True, 2e-4, "all")
    assert (CIFAR_PAPER.average, CIFAR_PAPER.normalise, CIFAR_PAPER.augment) == (0.9, "pixel", True)


@pytest.mark.parametrize(
    ("model", "data", "count"),
    [("fc2", "digits", 152), ("lenet5", "mnist", 5000), ("fc2", "fashion-mnist", 5000), ("vgg16", "cifar10", 5000)],
)
def test_images_are_held_out_by_default_and_none_by_the_papers_selection(model, data, count):
    assert TrainConfig.resolve(None, model=model, data=data).recipe.validation == count
    assert TrainConfig.resolve(None, model=model, data=data, paper_selection=True).recipe.validation == 0
    of_images = [recipe for (_, data), known in RECIPES.items() if data in IMAGES for recipe in known.values()]
    assert len(of_images) > 10
    assert all(recipe.validation for recipe in of_images)


def test_a_trapezoid_rises_stays_and_falls():
    recipe = Recipe(epochs=10, batch=1, lr=2.0, warmup=0.1, cooldown=0.4)
    rates = [recipe.lr_at(step, steps_per_epoch=10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 + 0.2 * step for step in range(10)])
    assert rates[10:60] == [2.0] * 50
    assert rates[60:] == pytest.approx([2.0 * (39.5 - step) / 40 for step in range(40)])
    assert min(rates) > 0
    assert recipe.depends_on_length


def test_averages_follow_the_formula():
    model = nn.Linear(2, 1, bias=False)
    average = WeightAverage(model, 0.5)
    expected = model.weight.detach().clone()
    for step in range(1, 9):
        with torch.no_grad():
            model.weight.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
        assert not torch.equal(model.weight, torch.full((1, 2), 8.0))
    assert torch.equal(model.weight, torch.full((1, 2), 8.0))
    average.put_in()
    torch.testing.assert_close(model.weight.detach(), expected)


def test_l2_on_matrices_spares_biases_and_normalisation():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    recipe = Recipe(epochs=1, batch=1, lr=0.1, l2=0.5, l2_on="matrices")
    optimizer = make_optimizer(model, recipe)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        factor = 0.95 if name in ("0.weight", "3.weight") else 1.0
        torch.testing.assert_close(weight.detach(), factor * before[name])
