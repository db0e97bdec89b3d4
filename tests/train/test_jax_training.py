"""Training on jax: the steps of torch in double precision, the same files, the same numbers when resumed, refusals."""

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("jax")
pytest.importorskip("optax")

import numpy as np
import torch

import tnlayers as tnl
from tnlayers import models
from tnlayers.train import TrainConfig, train
from tnlayers.train.average import WeightAverage
from tnlayers.train.history import without_times
from tnlayers.train.jax_loop import begin, ready
from tnlayers.train.loop import make_optimizer, total_loss
from tnlayers.train.progress import Silent
from tnlayers.train.recipe import Recipe

STEPS = 3
PLAIN = {"epochs": 2, "batch": 20, "lr": 0.05, "precision": "64-true"}
RECIPES = {
    "sgd": PLAIN | {"l2": 1e-2},
    "all of sgd": PLAIN
    | {"momentum": 0.9, "nesterov": True, "clip_norm": 0.5, "label_smoothing": 0.1, "average": 0.5, "augment": True}
    | {"l2": 1e-2, "l2_on": "matrices", "lr_decay_per_epoch": 0.9, "flip_test": True},
    "adamw": PLAIN
    | {"optimizer": "adamw", "momentum": 0.8, "weight_decay": 0.1, "l2_on": "matrices", "clip_norm": 0.5, "lr": 1e-3},
}


def plain_torch(model, data, recipe):
    """Losses of the steps, tested loss and accuracy, and the weights that are kept, by a loop in double precision."""
    model, part, losses = model.double(), data.train, []
    optimizer = make_optimizer(model, recipe)
    average = WeightAverage(model, recipe.average) if recipe.average else None
    order = part.order(STEPS * recipe.batch, seed=3, epoch=1)
    draws = part.draws(seed=3, epoch=1) if recipe.augment else None
    for step in range(STEPS):
        mine = order[step * recipe.batch : (step + 1) * recipe.batch]
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = recipe.lr_at(step, steps_per_epoch=STEPS)
        loss = total_loss(model(part.batch(mine, draws).double()), part.answers(mine), recipe.label_smoothing)
        loss = loss / recipe.batch
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        if average is not None:
            average.update(step + 1)
        losses.append(loss.item())
    if average is not None:
        average.put_in()
    with torch.no_grad():
        images, labels = data.test.images.double(), data.test.labels
        logits = (model(images) + model(images.flip(3))) / 2 if recipe.flip_test else model(images)
        tested = total_loss(logits, labels).item() / len(labels), (logits.argmax(1) == labels).double().mean().item()
    return np.mean(losses), tested, model.state_dict()


@pytest.mark.parametrize(
    ("name", "network", "recipe"),
    [("fc2", "mpo(bond=2)", "all of sgd"), ("fc2", "dense", "adamw"), ("lenet5", "mpo", "sgd")],
)
def test_steps_are_those_of_torch_in_double_precision(fabric, small_data, name, network, recipe):
    config = TrainConfig.resolve(None, model=name, backend="jax", precision="64-true")
    recipe = Recipe(**RECIPES[recipe])
    expected, tested, weights = plain_torch(models.build(name, network=network, seed=5), small_data, recipe)
    model = models.build(name, network=network, seed=5)
    with ready(config):
        common = {"recipe": recipe, "seed": 3, "steps": STEPS, "progress": Silent()}
        trainer, state, finish = begin(fabric=fabric, model=model, data=small_data, **common)
        before = state.gather()["model"]
        record = trainer.epoch(1)
        finish()
    np.testing.assert_allclose(record.train_loss, expected, rtol=1e-10)
    np.testing.assert_allclose((record.test_loss, record.test_accuracy), tested, rtol=1e-10)
    for key, array in model.state_dict().items():
        assert array.dtype == torch.float64
        np.testing.assert_allclose(array, weights[key], rtol=1e-8, atol=1e-12, err_msg=key)
        assert not np.allclose(before[key], weights[key], rtol=1e-6, atol=0)


def config(folder, **more):
    own = {"model": "fc2", "networks": "mpo(bond=2)", "data": "digits", "epochs": 2, "steps": 4}
    return TrainConfig.resolve(None, **(own | {"out": folder, "name": "run", "checkpoint_seconds": 0} | more))


def histories(result):
    return {(n.network, s.seed): without_times(s.history) for n in result.networks for s in n.seeds}


def test_a_run_is_that_of_torch_and_resumes_to_the_same_numbers(tmp_path, monkeypatch):
    whole = train(config(tmp_path / "a", backend="jax"), progress=False)
    on_torch = train(config(tmp_path / "b", threads=1), progress=False)
    for job, found in histories(whole).items():
        for one, other in zip(found, histories(on_torch)[job], strict=True):
            for key in one:  # eight steps in single precision, in other orders of summation
                assert one[key] == pytest.approx(other[key], rel=1e-3 if "loss" in key else 0.02), key
    names = lambda folder: sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))  # noqa: E731
    assert names(tmp_path / "a") == names(tmp_path / "b")
    assert [(n.network, n.parameters) for n in whole.networks] == [(n.network, n.parameters) for n in on_torch.networks]
    assert whole.environment["jax"]
    assert "jax" not in on_torch.environment

    from tnlayers.train.directory import RunDirectory

    written = RunDirectory.append_metrics

    def stop(self, job, record):
        written(self, job, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path / "c", backend="jax"), progress=False)
    with pytest.raises(tnl.TNLayersError, match="backend='jax', but now backend='torch'"):
        train(config(tmp_path / "c", resume=True), progress=False)
    resumed = train(config(tmp_path / "c", backend="jax", resume=True), progress=False)
    assert histories(resumed) == histories(whole)
    for network in whole.networks:
        file = network.seeds[0].weights_file
        assert (tmp_path / "a/run" / file).read_bytes() == (tmp_path / "c/run" / file).read_bytes()
        tnl.load(tmp_path / "a/run" / file, backend="numpy")


REFUSED = {
    "accelerator": "mps",
    "devices": 2,
    "nodes": 2,
    "strategy": "fsdp",
    "threads": 2,
    "precision": "bf16-mixed",
    "model": "gpt-pico",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_jax_cannot_do_is_refused(name, tmp_path):
    data = {"data": "sonnets"} if name == "model" else {}
    with pytest.raises(tnl.TNLayersError, match=f"{name}={REFUSED[name]!r} with backend='jax'"):
        train(config(tmp_path, backend="jax", **{name: REFUSED[name]}, **data), progress=False)
    assert not list(tmp_path.iterdir())


def test_models_that_train_otherwise_than_they_evaluate_are_refused(tmp_path):
    with pytest.raises(tnl.TNLayersError, match="it has BatchNorm2d"):
        train(config(tmp_path, backend="jax", model="vgg16", data="cifar10", precision="32-true"), progress=False)
    with pytest.raises(tnl.TNLayersError, match="must be one of torch, jax"):
        config(tmp_path, backend="jxa")


def test_a_state_of_other_arrays_is_refused(fabric, small_data):
    with ready(config("unused", backend="jax", precision="64-true")):
        common = {"recipe": Recipe(**RECIPES["sgd"]), "seed": 3, "steps": STEPS, "progress": Silent()}
        made = [
            begin(fabric=fabric, model=models.build("fc2", network=network, seed=0), data=small_data, **common)[1]
            for network in ("mpo(bond=2)", "mpo(bond=3)")
        ]
        with pytest.raises(ValueError, match="core"):
            made[0].scatter(made[1].gather())
