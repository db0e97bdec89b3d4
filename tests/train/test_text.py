"""Texts as data: what is read and refused, tokens, the parts, batches, the loss over every token held out."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers.train import shakespeare, text
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.data import LOADERS
from tnlayers.train.data_names import DATA, IMAGES, TEXTS, is_path
from tnlayers.train.loop import Loop, fit, make_optimizer, steps_per_epoch
from tnlayers.train.progress import Silent
from tnlayers.train.recipe import Recipe
from tnlayers.train.sonnets import SONNETS
from tnlayers.train.text import load_text
from tnlayers.train.text_feed import IGNORED, DeviceText, put_text

CPU = torch.device("cpu")
PLAIN = Recipe(epochs=1, batch=4, lr=0.1)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


def part(count, characters=None):
    return text.Text(tokens=np.arange(count) % 7, characters=characters or count)


def test_the_names_are_those_that_have_loaders():
    assert tuple(LOADERS) == IMAGES
    assert tuple(text.READERS) == TEXTS
    assert not any(is_path(name) for name in DATA)


def test_the_sonnets_are_split_in_order():
    found = load_text("sonnets")
    assert found.code.decode(np.concatenate([found.train.tokens, found.test.tokens])) == SONNETS
    assert len(found.train) == len(SONNETS) * 9 // 10
    assert found.code.symbols == "".join(sorted(set(SONNETS)))
    assert found.sha256 == hashlib.sha256(SONNETS.encode()).hexdigest()
    assert max(found.train.tokens) < found.code.vocabulary


def test_what_is_held_out_is_the_end_of_the_training_part():
    whole = load_text("sonnets")
    split = whole.hold_out(400)
    assert np.array_equal(np.concatenate([split.train.tokens, split.validation.tokens]), whole.train.tokens)
    assert (len(split.validation), split.validation.characters) == (400, 400)
    assert split.train.characters == whole.train.characters - 400
    assert np.array_equal(split.test.tokens, whole.test.tokens)
    assert whole.hold_out(0) is whole
    with pytest.raises(TNLayersError, match="leaves nothing of 3861"):
        whole.hold_out(3861)


LINES = "One line after another, and each with its end.\n" * 9


def test_a_file_is_read_whatever_its_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(LINES.encode())
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    ours, theirs = (load_text(str(tmp_path / name)) for name in ("a.txt", "b.txt"))
    assert ours.sha256 == theirs.sha256
    assert np.array_equal(ours.train.tokens, theirs.train.tokens)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"abc" * 100 + b"\xff" + b"abc" * 100, "not text in UTF-8: byte 300 is 0xff"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "not text in UTF-8: byte 0 is 0x89"),
        (b"ab\0c" * 100, "null bytes"),
        (b"", "has 0 characters: too short"),
        (b"x" * 199, "has 199 characters: too short"),
        (b"x" * 400, "one character alone, 'x'"),
        (None, "No such file"),
        ("folder", "no file"),
    ],
)
def test_what_is_no_text_to_learn_from_is_refused(tmp_path, content, words):
    path = tmp_path / "given.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(TNLayersError, match=words):
        load_text(str(path))


def test_shakespeare_is_found_and_checked(tmp_path, monkeypatch):
    content = SONNETS.encode()
    monkeypatch.setattr(shakespeare, "BYTES", len(content))
    monkeypatch.setattr(shakespeare, "SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(TNLayersError, match=r"looked for tinyshakespeare/input\.txt"):
        load_text("shakespeare", root=tmp_path)
    place = tmp_path / "tinyshakespeare" / "input.txt"
    place.parent.mkdir()
    place.write_bytes(content)
    assert load_text("shakespeare", root=tmp_path).sha256 == load_text("sonnets").sha256
    monkeypatch.setenv("TNLAYERS_DATA", str(tmp_path))
    assert len(load_text("shakespeare").train) == len(load_text("sonnets").train)
    for wrong in (content[:-1] + b"?", content[:-1], content + b"\n"):
        place.write_bytes(wrong)
        with pytest.raises(TNLayersError, match="is not Tiny Shakespeare"):
            load_text("shakespeare")


def test_without_a_folder_it_is_fetched_once(tmp_path, monkeypatch):
    import pooch

    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash))
        raise ConnectionError("no network")

    monkeypatch.delenv("TNLAYERS_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(TNLayersError, match=r"no network.*--data sonnets"):
        load_text("shakespeare")
    assert calls == [(shakespeare.URL, f"sha256:{shakespeare.SHA256}")]


def test_every_token_held_out_is_predicted_once():
    for count, context in ((50, 7), (49, 8), (9, 8), (3, 8), (2, 8)):
        device = DeviceText.to_test(part(count), context, CPU)
        tokens, answers = device.batch(torch.arange(len(device))), device.answers(torch.arange(len(device)))
        assert tokens.shape == answers.shape == (len(device), context)
        counted = answers != IGNORED
        assert torch.equal(tokens[counted], torch.arange(count - 1) % 7)
        assert torch.equal(answers[counted], torch.arange(1, count) % 7)
        assert device.count == counted.sum() == count - 1
    with pytest.raises(TNLayersError, match="too few to predict"):
        DeviceText.to_test(part(1), 8, CPU)


def test_training_reads_from_every_place_as_seed_and_epoch_say():
    device = DeviceText.to_train(part(30), 8, CPU)
    assert (len(device), device.one_pass) == (22, 3)
    order = device.order(500, seed=1, epoch=2)
    assert set(order.tolist()) == set(range(22))
    assert torch.equal(order, device.order(500, seed=1, epoch=2))
    assert not torch.equal(order, device.order(500, seed=1, epoch=3))
    assert not torch.equal(order, device.order(500, seed=2, epoch=2))
    chosen = torch.tensor([21, 0])
    assert device.batch(chosen).tolist() == [[k % 7 for k in range(21, 29)], [k % 7 for k in range(8)]]
    assert torch.equal(device.answers(chosen), (device.batch(chosen) + 1) % 7)
    assert len(DeviceText.to_train(part(9), 8, CPU)) == 1
    with pytest.raises(TNLayersError, match="has 8 tokens, and the model reads 8"):
        DeviceText.to_train(part(8), 8, CPU)


def test_an_epoch_has_the_steps_of_the_recipe_or_one_pass():
    data = put_text(load_text("sonnets"), CPU, PLAIN, context=32)
    assert steps_per_epoch(data.train.one_pass, PLAIN, processes=1) == 3860 // 32 // 4
    assert steps_per_epoch(data.train.one_pass, PLAIN.model_copy(update={"steps": 500}), processes=1) == 500
    with pytest.raises(TNLayersError, match="batch=121 with 120 training examples"):
        steps_per_epoch(data.train.one_pass, PLAIN.model_copy(update={"batch": 121}), processes=1)


@pytest.mark.parametrize("change", [{"augment": True}, {"normalise": "pixel"}, {"flip_test": True}], ids=str)
def test_settings_of_images_are_refused(change):
    with pytest.raises(TNLayersError, match=f"{next(iter(change))}=.* is for images"):
        put_text(load_text("sonnets"), CPU, PLAIN.model_copy(update=change), context=32)


class Bigram(nn.Module):
    """Logits that depend on the last token alone."""

    def __init__(self, vocabulary):
        super().__init__()
        self.table = nn.Embedding(vocabulary, vocabulary)

    def forward(self, tokens):
        return self.table(tokens)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_equals_a_plain_loop(fabric, tmp_path, optimizer):
    decay = {"l2": 1e-2} if optimizer == "sgd" else {"weight_decay": 0.1, "beta2": 0.9}
    recipe = Recipe(epochs=2, batch=4, steps=5, lr=0.1, momentum=0.5, optimizer=optimizer, label_smoothing=0.1, **decay)
    dataset = load_text("sonnets")
    data = put_text(dataset, CPU, recipe, context=16)
    torch.manual_seed(0)
    ours, theirs = Bigram(dataset.code.vocabulary), Bigram(dataset.code.vocabulary)
    theirs.load_state_dict(ours.state_dict())
    checkpoint = Checkpoint(path=tmp_path / "a.ckpt", fingerprint={})
    history = fit(fabric, ours, data, recipe, seed=3, label="", checkpoint=checkpoint, progress=Silent())

    tokens = torch.from_numpy(dataset.train.tokens)
    weight = theirs.table.weight
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    done = 0
    for epoch in (1, 2):
        losses = []
        for starts in data.train.order(20, seed=3, epoch=epoch).split(4):
            stretches = torch.stack([tokens[k : k + 17] for k in starts.tolist()])
            logits = theirs(stretches[:, :-1]).flatten(0, 1)
            loss = functional.cross_entropy(logits, stretches[:, 1:].flatten(), label_smoothing=0.1)
            penalty = 0.5 * recipe.l2 * weight.square().sum()
            (gradient,) = torch.autograd.grad(loss + penalty, [weight])
            done += 1
            with torch.no_grad():
                if optimizer == "sgd":
                    first = 0.5 * first + gradient
                    weight -= 0.1 * first
                else:  # Loshchilov and Hutter, algorithm 2, with torch's order: decay first
                    first, second = 0.5 * first + 0.5 * gradient, 0.9 * second + 0.1 * gradient.square()
                    weight *= 1 - 0.1 * 0.1
                    step = first / (1 - 0.5**done) / ((second / (1 - 0.9**done)).sqrt() + 1e-8)
                    weight -= 0.1 * step
            losses.append(loss.item())
        assert history[epoch - 1].train_loss == pytest.approx(np.mean(losses), rel=1e-5)
    torch.testing.assert_close(ours.table.weight, weight, rtol=1e-4, atol=1e-5)


def test_the_whole_held_out_part_is_tested(fabric, monkeypatch):
    dataset = load_text("sonnets").hold_out(333)
    data = put_text(load_text("sonnets"), CPU, PLAIN.model_copy(update={"validation": 333}), context=16)
    torch.manual_seed(0)
    model = Bigram(dataset.code.vocabulary)
    runnable, optimizer = fabric.setup(model, make_optimizer(model, PLAIN))
    loop = Loop(
        fabric=fabric,
        model=runnable,
        optimizer=optimizer,
        average=None,
        data=data,
        recipe=PLAIN,
        seed=0,
        steps=1,
        progress=Silent(),
    )
    for ours, theirs in ((data.test, dataset.test), (data.validation, dataset.validation)):
        tokens = torch.from_numpy(theirs.tokens)
        logits = model(tokens[:-1]).detach()
        expected = functional.cross_entropy(logits, tokens[1:]).item()
        accuracy = (logits.argmax(1) == tokens[1:]).double().mean().item()
        for chunk in (1000, 50, 1):
            monkeypatch.setattr("tnlayers.train.loop.TEST_CHUNK", chunk)
            assert loop.test(ours) == pytest.approx((expected, accuracy), rel=1e-5)
    assert loop.test(data.test)[0] != pytest.approx(loop.test(data.validation)[0], rel=1e-4)


def test_bits_per_character_of_a_model_that_knows_nothing(fabric):
    from tnlayers.train.results import TextFacts

    facts = TextFacts(vocabulary=16, characters=900, test_characters=90, test_tokens=90, sha256="")
    assert facts.bits_per_character(math.log(16)) == pytest.approx(4.0)
    assert replace(facts, test_tokens=45).bits_per_character(math.log(16)) == pytest.approx(2.0)
