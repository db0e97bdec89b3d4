"""Whole runs of language models: what they write, killed and resumed, continued texts, and what is refused."""

import json
import math
import signal
import time

import numpy as np
import pytest
import torch
from command import Call
from torch.nn.functional import cross_entropy

import tnlayers as tnl
from tnlayers.errors import TNLayersError
from tnlayers.io.container import read, write
from tnlayers.train import TrainConfig, train
from tnlayers.train.recipes import find_recipe
from tnlayers.train.text import load_text
from tnlayers.train.trained_texts import trained_texts

MODEL = "gpt-w16-d1-h2-c16-v54"
SMALL = {"model": MODEL, "network": "mpo(bond=2),dense", "data": "sonnets", "steps": 5, "batch": 4, "threads": 1}


def start(tmp_path, **settings):
    before = torch.get_num_threads()
    config = TrainConfig.resolve(None, **{**SMALL, "epochs": 2, "accelerator": "cpu", "out": tmp_path, **settings})
    try:
        return train(config, progress=False)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs"), seeds=2, validation=300)


def test_results_are_those_of_the_stored_weights(finished):
    results = json.loads((finished.directory / "results.json").read_text())
    assert results["complete"]
    assert results["text"]["vocabulary"] == 54
    assert results["text"]["tokens"] == "characters"
    test = torch.from_numpy(load_text("sonnets").test.tokens)
    for entry, network in zip(results["networks"], ("mpo(bond=2)", "dense"), strict=True):
        assert (
            entry["parameters"]["total"]["trainable"]
            == next(iter(tnl.models.describe(MODEL, network=network).total.values()))["trainable"]
        )
        losses = []
        for seed in entry["seeds"]:
            model = tnl.load(finished.directory / seed["weights_file"]).eval()
            with torch.no_grad():
                stretches = [(a[None], b) for a, b in zip(test[:-1].split(16), test[1:].split(16), strict=True)]
                logits = torch.cat([model(given)[0] for given, _ in stretches])
            losses.append(cross_entropy(logits, test[1:]).item())
            assert seed["final"]["test_loss"] == pytest.approx(losses[-1], rel=1e-4)
            assert seed["final"]["test_accuracy"] == (logits.argmax(1) == test[1:]).sum().item() / 429
            assert seed["validation_epoch"]["validation_loss"] > 0
        bits = entry["final_test_bits_per_character"]
        assert bits["mean"] == pytest.approx(np.mean(losses) / math.log(2), rel=1e-4)
        assert bits["std"] == pytest.approx(np.std(losses, ddof=1) / math.log(2), rel=1e-2)
        assert entry["final_test_loss_nats"]["mean"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_table_says_bits(finished, capsys):
    from rich.console import Console

    Console(width=80).print(finished.table())
    shown = capsys.readouterr().out
    assert "bits" in shown
    assert f"{finished.as_dict()['networks'][1]['final_test_bits_per_character']['mean']:.3f}" in shown
    assert "300 tokens held out" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_run_killed_and_resumed_ends_as_an_unbroken_one(tmp_path, start_training, assert_same_run):
    settings = {"network": "dense", "epochs": 6, "checkpoint_seconds": 0}
    broken = start_training(**{**SMALL, **settings}, accelerator="cpu", out=tmp_path, name="broken")
    metrics = tmp_path / "broken" / "metrics.csv"
    while broken.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
        time.sleep(0.005)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    start(tmp_path, **settings, name="broken", resume=True)
    start(tmp_path, **settings, name="whole")
    assert_same_run(tmp_path / "broken", tmp_path / "whole")
    metrics.write_text(metrics.read_text().replace(",6,", ",7,"))
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "broken", tmp_path / "whole")


def test_another_text_under_the_same_name_does_not_go_on(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("abcdefgh" * 50)
    settings = {"data": str(path), "model": "gpt-w16-d1-h2-c16-v8", "network": "dense", "epochs": 1}
    assert start(tmp_path, **settings).directory.name == "gpt-w16-d1-h2-c16-v8-mine"
    path.write_text("abcdefgh" * 51)
    with pytest.raises(TNLayersError, match="was written with text="):
        start(tmp_path, **settings, resume=True)


def test_gpt_pico_takes_the_tokens_of_any_text(tmp_path):
    result = start(tmp_path, model="gpt-pico", network="dense", epochs=1, steps=1, batch=1)
    assert result.networks[0].parameters.trainable == 808_448 - (65 - 54) * 2 * 128
    model = tnl.load(result.directory / result.networks[0].seeds[0].weights_file)
    assert model.name == "gpt-pico-v54"
    with pytest.raises(TNLayersError, match=f"knows 65 tokens, and data='sonnets' .* has 54. Name it {MODEL}"):
        start(tmp_path, model=MODEL.replace("54", "65"), name="other")
    assert not (tmp_path / "other").exists()


def test_byte_pairs(tmp_path):
    pytest.importorskip("tokenizers")
    result = start(tmp_path, model="gpt-w16-d1-h2-c16-v280", network="dense", tokens="bpe-280")
    loss, bits = result.networks[0].final_loss[0], result.as_dict()["networks"][0]["final_test_bits_per_character"]
    facts = result.text
    assert facts.test_tokens < facts.test_characters == 430
    assert bits["mean"] == pytest.approx(loss / math.log(2) * facts.test_tokens / 430)
    found = next(trained_texts(result.directory))
    assert found.continued("Grüße", 5, seed=0).startswith("Grüße")


def test_generate_continues_by_each_network_or_one(call: Call, finished):
    status, out, err = call("generate", str(finished.directory), "--prompt", "Shall ", "--length", "20")
    assert (status, err) == (0, "")
    assert {"dense", "mpo(bond=2)"} <= set(out.splitlines())
    one = call("generate", str(finished.directory), "--prompt", "Shall ", "--length", "20", "--network", "dense")[1]
    assert one.startswith("Shall ")
    assert len(one) == 27  # a line end comes last
    assert one.strip() in out
    file = str(finished.directory / "models" / f"{MODEL}-dense-seed0.safetensors")
    assert call("generate", file, "--prompt", "Shall ", "--length", "20")[1] == one
    assert call("generate", file, "--prompt", "Shall ", "--length", "20", "--seed", "1")[1] != one
    options = ("--temperature", "0", "--json")
    texts = [json.loads(call("generate", file, "--prompt", "O", "--seed", seed, *options)[1]) for seed in "12"]
    assert texts[0]["texts"] == texts[1]["texts"]
    assert len(texts[0]["texts"]["dense"]) == 301


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prompt", "Qhall"), "'Q': not among the 54 characters"),
        (("--prompt", ""), "The prompt is empty"),
        (("--prompt", "O", "--network", "cp"), "no model with network='cp'. It has dense, mpo(bond=2)"),
    ],
)
def test_generate_refuses_in_words(call: Call, finished, words, message):
    status, out, err = call("generate", str(finished.directory), *words)
    assert (status, out) == (1, "")
    assert message in err


def test_files_that_are_no_language_models_are_refused(call: Call, finished, tmp_path):
    tnl.save(tnl.models.build("fc2", network="mpo", seed=0), tmp_path / "fc2.safetensors")
    (tmp_path / "empty").mkdir()
    metadata, arrays = read(finished.directory / "models" / f"{MODEL}-dense-seed0.safetensors")
    head = json.loads(metadata["tnlayers"])
    head["info"]["tokens"] = json.dumps({"kind": "characters", "symbols": "abc"})
    write(tmp_path / "other.safetensors", json.dumps(head), arrays)
    message = {
        "fc2.safetensors": "does not say what its tokens are",
        "empty": "neither a file nor the folder of a run",
        "nothing": "neither a file nor the folder of a run",
        "other.safetensors": "beside 3 tokens",
    }
    for name, words in message.items():
        status, out, err = call("generate", str(tmp_path / name), "--prompt", "a")
        assert (status, out) == (1, "")
        assert words in err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "shakespear"}, "Did you mean 'shakespeare'?"),
        ({"data": "digits"}, "no training recipe for model='gpt-w16"),
        ({"model": "fc2", "data": "./a.txt"}, "no training recipe for model='fc2' on data='./a.txt'"),
        ({"model": "fc2", "data": "digits", "tokens": "bpe-512"}, "tokens='bpe-512' is for texts"),
        ({"model": "fc2"}, "no training recipe for model='fc2' on data='sonnets'"),
        ({"model": "gtp-pico"}, "Did you mean 'gpt-pico'?"),
        ({"model": "gpt-tiny"}, "There is no model 'gpt-tiny'"),
        ({"tokens": "words"}, "tokens='words' is not allowed"),
        ({"data": "no/such.txt"}, "Cannot read data='no/such.txt': No such file"),
        ({"l2": 0.1}, "l2 are for optimizer sgd"),
        ({"optimizer": "adam"}, "optimizer='adam' is not allowed"),
        ({"augment": True}, "augment=True is for images"),
        ({"paper_selection": True, "nesterov": True}, "nesterov"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(tmp_path, settings, words):
    with pytest.raises(TNLayersError, match=words):
        start(tmp_path, **settings)


def test_the_published_recipe_is_the_published_one():
    recipe = find_recipe("gpt-pico", "shakespeare", "picogpt")
    assert (recipe.epochs * recipe.steps, recipe.batch, recipe.weight_decay) == (2000, 32, 0.1)
    assert (recipe.optimizer, recipe.momentum, recipe.beta2, recipe.l2_on) == ("adamw", 0.9, 0.95, "all")
    rates = [recipe.lr_at(step, steps_per_epoch=100) for step in range(2000)]
    assert rates[:100] == pytest.approx([3e-4 * (step + 0.5) / 100 for step in range(100)])
    expected = [3e-4 * (1 + math.cos(math.pi * (step + 0.5 - 100) / 1900)) / 2 for step in range(100, 2000)]
    assert rates[100:] == pytest.approx(expected)
    assert recipe.depends_on_length
