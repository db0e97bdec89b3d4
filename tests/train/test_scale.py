"""Several processes follow the curve of one, and what they leave is what one leaves."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from forked import Forked
from places import SUPPORT
from safetensors.torch import load_file

from tnlayers.errors import TNLayersError
from tnlayers.train import TrainConfig, train

SETTINGS = {
    "network": "mpo",
    "batch": 51,  # splits into 26 and 25: the weighting must make up for it
    "epochs": 2,
    "momentum": 0.9,
    "average": 0.9,
    "augment": True,
    "threads": 1,
    "accelerator": "cpu",
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def losses(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[key]) for row in csv.DictReader(file) for key in ("train_loss", "test_loss")]


def start(**settings):
    return train(TrainConfig.resolve(None, **settings), progress=False).directory


def finish(process):
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output


@pytest.mark.parametrize(("model", "launcher"), [("fc2", TORCHRUN), ("lenet5", ())], ids=["torchrun", "fabric"])
def test_two_processes_follow_the_curve_of_one(tmp_path, start_training, model, launcher):
    """In 64 bits, as training amplifies rounding; the sums of the losses are in 32."""
    settings = {**SETTINGS, "model": model, "precision": "64-true", "out": tmp_path}
    finish(start_training(launcher, **settings, name="pair", devices=2, strategy="ddp"))
    single = losses(start(**settings, name="single"))
    assert losses(tmp_path / "pair") == pytest.approx(single, rel=1e-6)
    assert losses(start(**settings, name="other", seed=1)) != pytest.approx(single, rel=1e-6)
    assert json.loads((tmp_path / "pair" / "results.json").read_text())["environment"]["processes"] == 2
    with pytest.raises(TNLayersError, match="processes=2, but now processes=1"):
        start(**settings, name="pair", resume=True)


def test_weights_shared_out_follow_the_curve_of_one_and_resume(tmp_path, start_training):
    """In 32 bits, as Fabric shares out no others: the tolerance is what one epoch of rounding grows to in the next."""
    settings = {**SETTINGS, "model": "lenet5", "lr": 0.01, "epochs": 3, "out": tmp_path}
    shared = {**settings, "name": "shared", "devices": 2, "strategy": "fsdp"}
    finish(start_training(**{**shared, "epochs": 1}))
    finish(start_training(**shared, resume=True))
    single = losses(start(**settings, name="single"))
    assert losses(tmp_path / "shared") == pytest.approx(single, rel=1e-4)
    assert losses(start(**settings, name="other", seed=1)) != pytest.approx(single, rel=1e-4)
    name = "models/lenet5-mpo-seed0.safetensors"
    ours, theirs = load_file(tmp_path / "shared" / name), load_file(tmp_path / "single" / name)
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, rtol=1e-3, atol=1e-5)
    with pytest.raises(TNLayersError, match="processes=2, but now processes=1"):
        start(**settings, name="shared", resume=True, devices=1)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_model_with_batch_norm_resumes_to_the_bit_on_two_processes(tmp_path, strategy):
    """Statistics of process 0 are stored: had the other kept its own, the resumed run would test with others."""
    script = Path(shutil.copy(SUPPORT / "normalised.py", tmp_path))
    finish(Forked(script, strategy, str(tmp_path), processes=2))
    unbroken, resumed, other = (
        torch.load(tmp_path / name, weights_only=True) for name in ("unbroken-0.pt", "resumed-0.pt", "resumed-1.pt")
    )
    assert unbroken["history"] == resumed["history"] == other["history"]
    assert unbroken["history"][0] != unbroken["history"][1]
    for key, tensor in unbroken["tensors"].items():
        assert torch.equal(tensor, resumed["tensors"][key]), key
        assert torch.equal(tensor, other["tensors"][key]), key
