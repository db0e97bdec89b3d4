"""The loop against a plain one written out here, and its refusals."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import tnlayers as tnl
from tnlayers.errors import TNLayersError
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.history import without_times
from tnlayers.train.loop import Loop, fit, make_optimizer, steps_per_epoch
from tnlayers.train.memory_format import channels_last
from tnlayers.train.progress import Silent
from tnlayers.train.randomness import epoch_order
from tnlayers.train.recipe import Recipe

RECIPE = Recipe(epochs=3, batch=20, lr=0.1, lr_decay_per_epoch=0.8, momentum=0.9, l2=1e-2)


def run(fabric, model, data, path, *, recipe=RECIPE, seed=0):
    checkpoint = Checkpoint(path=path, fingerprint={"seed": seed}, every_seconds=0)
    return fit(fabric, model, data, recipe, seed=seed, label="", checkpoint=checkpoint, progress=Silent())


def plain(model, data, recipe, *, seed):
    """SGD with momentum and L2 in the loss, by hand, in the memory format the model comes in."""
    velocity = [torch.zeros_like(weight) for weight in model.parameters()]
    steps = len(data.train.labels) // recipe.batch
    losses = []
    for epoch in range(1, recipe.epochs + 1):
        order = epoch_order(len(data.train.labels), seed=seed, epoch=epoch)
        total = 0.0
        for step in range(steps):
            lr = recipe.lr * recipe.lr_decay_per_epoch ** (epoch - 1 + step / steps)
            mine = order[step * recipe.batch : (step + 1) * recipe.batch]
            loss = functional.cross_entropy(model(data.train.images[mine]), data.train.labels[mine])
            penalty = 0.5 * recipe.l2 * sum(weight.square().sum() for weight in model.parameters())
            gradients = torch.autograd.grad(loss + penalty, list(model.parameters()))
            with torch.no_grad():
                for weight, gradient, v in zip(model.parameters(), gradients, velocity, strict=True):
                    v.mul_(recipe.momentum).add_(gradient)
                    weight -= lr * v
            total += loss.item()
        losses.append(total / steps)
    return losses


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_a_plain_loop(fabric, small_data, small_model, tmp_path, memory_format):
    ours, theirs = small_model(), small_model().to(memory_format=memory_format)
    for model in (ours, theirs):
        model[3].p = 0.0  # no dropout: it would draw differently in the two loops
    history = run(fabric, ours, small_data, tmp_path / "a.ckpt")
    losses = plain(theirs, small_data, RECIPE, seed=0)
    found = [record.train_loss for record in history]
    assert found == pytest.approx(losses, rel=1e-4)
    assert found != pytest.approx(plain(small_model().eval(), small_data, RECIPE, seed=1), rel=1e-4)
    weights = torch.cat([weight.flatten() for weight in ours.parameters()])
    expected = torch.cat([weight.flatten() for weight in theirs.parameters()])
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)
    assert [record.lr for record in history] == pytest.approx([0.1 * 0.8 ** (k - 0.1) for k in (1, 2, 3)])


def test_tests_on_every_image(fabric, small_data, small_model):
    model = small_model()
    loop = make_loop(fabric, model, small_data)
    loss, accuracy = loop.test(small_data.test)
    model.eval()
    with torch.no_grad():
        logits = model(small_data.test.images)
    assert accuracy == (logits.argmax(1) == small_data.test.labels).sum().item() / 57
    assert loss == pytest.approx(functional.cross_entropy(logits, small_data.test.labels).item(), rel=1e-5)


def test_chunks_of_the_test_part_do_not_change_the_outcome(fabric, small_data, small_model, monkeypatch):
    loop = make_loop(fabric, small_model(), small_data)
    whole = loop.test(small_data.test)
    monkeypatch.setattr("tnlayers.train.loop.TEST_CHUNK", 10)
    assert loop.test(small_data.test) == pytest.approx(whole, rel=1e-5)


def make_loop(fabric, model, data):
    model, optimizer = fabric.setup(model, make_optimizer(model, RECIPE))
    return Loop(
        fabric=fabric,
        model=model,
        optimizer=optimizer,
        data=data,
        average=None,
        recipe=RECIPE,
        seed=0,
        steps=10,
        progress=Silent(),
    )


def test_a_seed_decides_everything(fabric, small_data, small_model, tmp_path):
    runs = [
        run(fabric, small_model(), small_data, tmp_path / f"{index}.ckpt", seed=seed)
        for index, seed in enumerate((4, 4, 5))
    ]
    assert without_times(runs[0]) == without_times(runs[1])
    assert without_times(runs[0]) != without_times(runs[2])


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch():
    orders = {(s, e): epoch_order(100, seed=s, epoch=e) for s in range(3) for e in range(3)}
    for order in orders.values():
        assert order.sort().values.tolist() == list(range(100))
    assert len({tuple(order.tolist()) for order in orders.values()}) == 9
    assert torch.equal(epoch_order(100, seed=1, epoch=2), orders[1, 2])


def test_left_over_images_wait():
    assert steps_per_epoch(60000, RECIPE.model_copy(update={"batch": 100}), processes=1) == 600
    assert steps_per_epoch(203, RECIPE, processes=1) == 10


@pytest.mark.parametrize(("batch", "processes", "parts"), [(204, 1, ("204", "203")), (1, 2, ("batch=1", "2 process"))])
def test_impossible_batches_are_refused(batch, processes, parts):
    with pytest.raises(TNLayersError) as refusal:
        steps_per_epoch(203, RECIPE.model_copy(update={"batch": batch}), processes=processes)
    for part in parts:
        assert part in str(refusal.value)


def test_a_diverging_loss_is_refused(fabric, small_data, tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    recipe = RECIPE.model_copy(update={"lr": 1e30})
    with pytest.raises(TNLayersError, match=r"epoch 1 is (nan|inf) at learning rate 1e\+30.*--lr 2\.5e\+29"):
        run(fabric, model, small_data, tmp_path / "a.ckpt", recipe=recipe)
    assert math.isfinite(recipe.lr)
    assert not (tmp_path / "a.ckpt").exists()


def test_learns(fabric, small_data, small_model, tmp_path):
    history = run(
        fabric, small_model(), small_data, tmp_path / "a.ckpt", recipe=RECIPE.model_copy(update={"epochs": 6})
    )
    assert history[-1].test_accuracy > 0.9
    assert history[-1].train_loss < history[0].train_loss


def test_kernels_alone_are_laid_out_channels_last():
    """torch's own conversion of a whole model refuses cores of five axes, and turns round those of four."""
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), tnl.nn.TNLinear(32, 16, network="lowrank(rank=2, cores=4)"))
    axes = {core.ndim for core in model[2].cores.values()}
    assert 5 in axes
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert channels_last(model) is model
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(core.is_contiguous() for core in model[2].cores.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
