"""Recipes as the paper gives them, and configurations: where values come from and what is refused."""

import pytest
import yaml

from tnlayers.errors import TNLayersError
from tnlayers.train import Recipe, TrainConfig
from tnlayers.train.recipes import find_recipe


@pytest.mark.parametrize(("model", "first", "last"), [("fc2", 0.8, 0.00526), ("lenet5", 0.01, 6.57e-5)])
def test_the_papers_recipe(model, first, last):
    recipe = find_recipe(model, "mnist", "paper")
    steps = 60000 // recipe.batch  # of the paper, which holds nothing out
    assert (steps, recipe.epochs * steps) == (600, 300_000)
    assert recipe.lr_at(0, steps_per_epoch=steps) == first
    assert recipe.lr_at(300_000 - 1, steps_per_epoch=steps) == pytest.approx(last, rel=1e-3)
    assert recipe.lr_at(300, steps_per_epoch=steps) == pytest.approx(first * 0.99**0.5)
    assert (recipe.momentum, recipe.nesterov, recipe.l2) == (0.0, False, 1e-4)


def test_a_recipe_that_is_not_there_is_refused():
    with pytest.raises(TNLayersError, match="'vgg16' on data='mnist'"):
        find_recipe("vgg16", "mnist")


def test_recipes_are_frozen_and_closed():
    with pytest.raises(ValueError, match="frozen"):
        find_recipe("fc2", "mnist").epochs = 3
    with pytest.raises(ValueError, match="Extra"):
        Recipe(epochs=1, batch=1, lr=0.1, warm=3)


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("mpo,dense", ("mpo", "dense")),
        ("mpo(bond=2), dense", ("mpo(bond=2)", "dense")),
        ("mpo(bond=2,sites=3),mpo(bond=4)", ("mpo(bond=2,sites=3)", "mpo(bond=4)")),
        (["dense"], ("dense",)),
    ],
)
def test_networks(text, networks):
    assert TrainConfig.resolve(None, model="fc2", network=text).networks == networks


@pytest.mark.parametrize(
    ("given", "seeds"),
    [({"seeds": 3}, (0, 1, 2)), ({"seeds": "3"}, (0, 1, 2)), ({"seed": 7}, (7,)), ({"seeds": "4,9"}, (4, 9))],
)
def test_seeds(given, seeds):
    assert TrainConfig.resolve(None, model="fc2", **given).seeds == seeds


def test_command_line_wins_over_file_and_none_is_no_value(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: lenet5\nnetwork: mpo(bond=2),dense\nseeds: 5\nlr: 1e-3\nepochs: 4\n")
    config = TrainConfig.resolve(file, epochs=2, seed=7, lr=None, batch=None)
    assert config.networks == ("mpo(bond=2)", "dense")
    assert config.seeds == (7,)
    assert (config.recipe.epochs, config.recipe.lr, config.recipe.batch) == (2, 1e-3, 50)


def test_overrides_reach_the_recipe():
    config = TrainConfig.resolve(None, model="fc2", data="mnist", lr_decay=0.5, l2=0, momentum=0.9, nesterov=True)
    recipe = config.recipe
    assert (recipe.lr_decay_per_epoch, recipe.l2, recipe.momentum, recipe.nesterov) == (0.5, 0.0, 0.9, True)
    assert recipe.epochs == 500


def test_written_configuration_gives_the_same_run_again(tmp_path):
    config = TrainConfig.resolve(
        None, model="lenet5", network="mpo(bond=3),dense", seeds=2, lr=0.3, devices="2", name="a", out=tmp_path
    )
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    again = TrainConfig.resolve(file, name="a", out=tmp_path)
    assert again.recipe == config.recipe
    assert again.to_yaml() == config.to_yaml()
    assert (again.networks, again.seeds, again.devices) == (config.networks, config.seeds, 2)
    assert yaml.safe_load(file.read_text())["epochs"] == config.recipe.epochs
    assert TrainConfig.resolve(file, lr=0.4).to_yaml() != config.to_yaml()


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({}, ("model is required", "fc2, lenet5")),
        ({"model": "lenet"}, ("model='lenet'", "fc2, lenet5", "Did you mean 'lenet5'?")),
        ({"epoch": 3}, ("epoch=3", "Did you mean 'epochs'?", "lr_decay")),
        ({"epochs": 0}, ("epochs=0", "greater than or equal to 1")),
        ({"lr": "fast"}, ("lr='fast'", "valid number")),
        ({"lr": -1.0}, ("lr=-1.0", "greater than 0")),
        ({"lr": float("inf")}, ("lr=inf", "finite")),
        ({"momentum": 1.0}, ("momentum=1.0", "less than 1")),
        ({"nesterov": True, "momentum": 0.0}, ("nesterov needs momentum",)),
        ({"data": "minst"}, ("data='minst'", "digits, mnist", "Did you mean 'mnist'?")),
        ({"data": "mnist", "recipe": "fats"}, ("recipe='fats'", "model='fc2'", "Known: paper")),
        ({"warmup": 0.6, "cooldown": 0.5}, ("warmup 0.6", "cooldown 0.5", "more than 1")),
        ({"seed": -1}, ("seeds=-1", "greater than or equal to 0")),
        ({"seeds": 0}, ("seeds is empty",)),
        ({"seeds": "1,1"}, ("1 and 1", "twice")),
        ({"seed": 1, "seeds": 2}, ("seeds is set twice",)),
        ({"network": "mpo,,dense"}, ("networks=''", "at least 1 character")),
        ({"network": "mpo(bond=2),mpo( bond=2 )"}, ("'mpo(bond=2)' and 'mpo( bond=2 )'",)),
        ({"precision": "fp8"}, ("precision='fp8'", "32-true")),
        ({"strategy": "deepspeed"}, ("strategy='deepspeed'", "auto, ddp, fsdp")),
        ({"name": "a/b"}, ("name='a/b'", "one folder")),
        ({"resume": True, "overwrite": True}, ("resume and overwrite",)),
    ],
)
def test_refusals_name_setting_value_and_choices(given, parts):
    model = {} if not given else {"model": "fc2"}
    with pytest.raises(TNLayersError) as refusal:
        TrainConfig.resolve(None, **{**model, **given})
    for part in parts:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [("model: [", "not valid YAML"), ("- fc2", "one per setting"), ("3: 4", "one per setting"), ("bach: 5", "bach=5")],
)
def test_bad_files_are_refused(tmp_path, text, part):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(TNLayersError) as refusal:
        TrainConfig.resolve(file)
    assert part in str(refusal.value)
    assert "run.yaml" in str(refusal.value)


def test_the_configuration_of_a_run_older_than_settings_is_without_them(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "model: lenet5\nnetworks:\n- dense\ndata: mnist\nseeds:\n- 1\nepochs: 500\nbatch: 100\nlr: 0.01\n"
        "lr_decay: 0.99\nmomentum: 0.0\nnesterov: false\nl2: 0.0001\naccelerator: auto\ndevices: 1\n"
        "precision: 32-true\nstrategy: auto\nthreads: 1\ncheckpoint_seconds: 20.0\n"
    )
    paper = find_recipe("lenet5", "mnist", "paper").model_copy(update={"validation": 0})
    assert TrainConfig.resolve(file).recipe == paper  # not with settings of the default recipe of today
    assert TrainConfig.resolve(file, validation=100).recipe.validation == 100
    file.write_text("model: lenet5\ndata: mnist\nepochs: 3\nbatch: 50\nlr: 0.1\n")  # by hand
    assert TrainConfig.resolve(file).recipe.validation == 5000


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(TNLayersError, match="Cannot read the configuration"):
        TrainConfig.resolve(tmp_path / "none.yaml")
