"""Whole runs on the real digits: what they write, and what they refuse."""

import csv
import errno
import json
import struct

import pytest
import torch
from rich.console import Console
from safetensors import safe_open

import tnlayers as tnl
from tnlayers import models
from tnlayers.errors import TNLayersError
from tnlayers.train import TrainConfig, train
from tnlayers.train.directory import RunDirectory

FAST = {"model": "fc2", "network": "mpo,dense", "epochs": 2, "batch": 200, "threads": 1, "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def start(tmp_path, **settings):
    return train(TrainConfig.resolve(None, **{**FAST, "out": tmp_path, "name": "run", **settings}), progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of two networks and two seeds, which several tests look at."""
    out = tmp_path_factory.mktemp("runs")
    before = torch.get_num_threads()
    result = start(out, seeds=2)
    torch.set_num_threads(before)
    return result


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_have_a_row_per_network_seed_and_epoch(finished):
    found = rows(finished.directory)
    expected = [(n, str(s), str(e)) for n in ("mpo", "dense") for s in (0, 1) for e in (1, 2)]
    assert [(row["network"], row["seed"], row["epoch"]) for row in found] == expected
    record = finished.networks[1].seeds[0].history[1]
    row = found[5]
    assert float(row["test_accuracy"]) == record.test_accuracy
    assert float(row["train_loss"]) == record.train_loss
    assert set(row) >= {"lr", "seconds", "test_loss"}


def test_results_hold_what_the_run_found(finished):
    results = json.loads((finished.directory / "results.json").read_text())
    assert results == json.loads(json.dumps(finished.as_dict()))
    assert results["complete"] is True
    assert (results["model"], results["data"], results["recipe"]["epochs"]) == ("fc2", "digits", 2)
    for entry, network in zip(results["networks"], ("mpo", "dense"), strict=True):
        report = models.describe("fc2", network=network)
        assert entry["network"] == network
        assert entry["rho"] == report.rho
        assert entry["parameters"]["total"] == report.total[network]
        assert entry["parameters"]["replaced"] == {
            "weights": report.replaced[network],
            "dense_weights": report.replaced["dense"],
        }
        finals = [seed["final"]["test_accuracy"] for seed in entry["seeds"]]
        assert entry["final_test_accuracy"]["mean"] == pytest.approx(sum(finals) / 2)
        assert entry["final_test_accuracy"]["std"] == pytest.approx(abs(finals[0] - finals[1]) / 2**0.5)
        for seed in entry["seeds"]:
            assert seed["best_test_epoch"]["test_accuracy"] >= seed["final"]["test_accuracy"]
            assert (finished.directory / seed["weights_file"]).is_file()
    environment = results["environment"]
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == 1
    assert environment["command"]


def test_trainables_are_counted_as_built(finished):
    for network in finished.networks:
        model = models.build("fc2", network=network.network, seed=0)
        assert network.parameters.trainable == sum(weight.numel() for weight in model.parameters())


def test_weights_load_into_a_fresh_model_and_give_the_reported_accuracy(finished):
    from tnlayers.train import load

    test = load("digits").test
    for network in finished.networks:
        for seed in network.seeds:
            path = finished.directory / seed.weights_file
            header = tnl.io.header(path)
            assert header.model == "fc2"
            assert header.info == {"network": network.network, "seed": str(seed.seed), "epochs": "2"}
            model = tnl.load(path)
            with torch.no_grad():
                right = (model(torch.tensor(test.images)).argmax(1) == torch.tensor(test.labels)).sum().item()
            assert abs(right / len(test) - seed.final.test_accuracy) <= 1 / len(test)  # one tie may fall otherwise


def test_picture_is_a_png_of_some_size(finished):
    content = (finished.directory / "accuracy.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1000
    assert height > 400


def test_table_fits_80_columns_and_shows_the_numbers(finished):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.capture() as captured:
        console.print(finished.table())
    console.file.close()
    text = captured.get()
    assert "…" not in text
    for network in finished.networks:
        assert f"{network.parameters.trainable:,}" in text
        assert f"{100 * network.final_accuracy[0]:.2f}±{100 * network.final_accuracy[1]:.2f}" in text


def test_written_configuration_repeats_the_run(finished, tmp_path, assert_same_run):
    config = TrainConfig.resolve(finished.directory / "config.yaml", out=tmp_path, name="again")
    assert_same_run(finished.directory, train(config, progress=False).directory)


def test_a_run_that_is_there_is_refused(finished):
    out = finished.directory.parent
    with pytest.raises(TNLayersError) as refusal:
        start(out, seeds=2)
    for part in (str(finished.directory), "--resume", "--name", "--overwrite"):
        assert part in str(refusal.value)
    with pytest.raises(TNLayersError, match="also has networks dense"):
        start(out, seeds=2, network="mpo", resume=True)
    with pytest.raises(TNLayersError, match="also has seeds 0, 1"):
        start(out, seed=7, resume=True)
    with pytest.raises(TNLayersError, match=r"has data=digits, but now data=mnist"):
        start(out, seeds=2, data="mnist", resume=True)
    with pytest.raises(TNLayersError, match=r"lr=0\.\d+, but now lr=0\.75"):
        start(out, seeds=2, lr=0.75, resume=True)
    with pytest.raises(TNLayersError, match="has 2 epochs done, more than the 1 asked for"):
        start(out, seeds=2, epochs=1, resume=True)
    assert len(rows(finished.directory)) == 8


def test_finished_models_are_not_trained_again(tmp_path, monkeypatch):
    built = []
    build = models.build

    def counting(name, **settings):
        if "seed" in settings:  # a description may build a model too, without a seed
            built.append((settings["network"], settings["seed"]))
        return build(name, **settings)

    monkeypatch.setattr(models, "build", counting)
    first = start(tmp_path, network="mpo", resume=True)  # nothing there yet: --resume may be given always
    again = start(tmp_path, network="mpo,dense", resume=True)
    assert built == [("mpo", 0), ("dense", 0)]
    assert again.networks[0] == first.networks[0]
    assert len(rows(again.directory)) == 4
    weights = again.directory / again.networks[0].seeds[0].weights_file
    weights.unlink()
    assert start(tmp_path, resume=True).networks == again.networks
    assert weights.exists()
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(TNLayersError, match=r"cut off, .* delete the file and train with --resume"):
        start(tmp_path, resume=True)


def test_more_epochs_go_on_where_a_run_ended(tmp_path, assert_same_run):
    start(tmp_path, epochs=1)
    longer = start(tmp_path, epochs=2, resume=True)
    whole = start(tmp_path, epochs=2, name="whole")
    assert_same_run(longer.directory, whole.directory)
    other = start(tmp_path, epochs=2, name="other", lr=0.01)
    with pytest.raises(AssertionError):
        assert_same_run(other.directory, whole.directory)


def test_overwriting_deletes_a_run_and_nothing_else(tmp_path):
    first = start(tmp_path, network="mpo")
    (first.directory / "notes.txt").write_text("mine")
    second = start(tmp_path, network="dense", overwrite=True)
    assert [path.name for path in (second.directory / "models").iterdir()] == ["fc2-dense-seed0.safetensors"]
    assert (second.directory / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(TNLayersError, match=r"is not a run of tnlayers: it has no config\.yaml"):
        start(tmp_path, name="other", overwrite=True)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TNLayersError, match="Choose another folder: --out"):
        start(tmp_path / "file")


@pytest.mark.parametrize(
    ("settings", "part"),
    [({"accelerator": "foo"}, "invalid accelerator name"), ({"devices": 0}, "devices=0"), ({"batch": 2000}, "1200")],
)
def test_what_the_machine_or_data_cannot_do_is_refused(tmp_path, settings, part):
    with pytest.raises(TNLayersError) as refusal:
        start(tmp_path, **settings)
    assert part in str(refusal.value)


def test_64_bit_runs(tmp_path):
    result = start(tmp_path, precision="64-true", network="mpo", epochs=1)
    path = result.directory / result.networks[0].seeds[0].weights_file
    with safe_open(path, framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float64}  # noqa: SIM118


def test_a_diverging_model_does_not_stop_the_others(tmp_path, monkeypatch):
    build = models.build

    def build_one_bad(name, **settings):
        model = build(name, **settings)
        if settings["network"] == "mpo":
            for weight in model.parameters():
                weight.data.fill_(float("nan"))
        return model

    monkeypatch.setattr(models, "build", build_one_bad)
    with pytest.raises(TNLayersError, match=r"mpo seed 0: Training diverged: the loss of epoch 1 is nan"):
        start(tmp_path)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["complete"] is False
    assert [network["network"] for network in results["networks"]] == ["dense"]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunDirectory, "append_metrics", full)
    with pytest.raises(TNLayersError, match=r"No room for the run in .*run: .*Make room and go on with --resume"):
        start(tmp_path)
    monkeypatch.undo()
    assert start(tmp_path, resume=True).networks


def test_held_out_images_choose_the_epoch(tmp_path):
    result = start(tmp_path, validation=300, epochs=4, network="dense")
    seed = result.networks[0].seeds[0]
    best = max(record.validation_accuracy for record in seed.history)
    assert seed.chosen.validation_accuracy == best
    assert result.networks[0].chosen_accuracy == (seed.chosen.test_accuracy, None)
    entry = json.loads((tmp_path / "run" / "results.json").read_text())["networks"][0]
    assert entry["validation_epoch_test_accuracy"]["mean"] == seed.chosen.test_accuracy
    assert entry["seeds"][0]["validation_epoch"]["epoch"] == seed.chosen.epoch
    assert "300 images held out" in result.table().caption
    assert float(rows(tmp_path / "run")[3]["validation_accuracy"]) == seed.history[3].validation_accuracy
    plain = start(tmp_path, validation=300, epochs=4, network="dense", paper_selection=True, name="paper")
    assert plain.networks[0].seeds[0].chosen is None
    assert plain.networks[0].seeds[0].history != seed.history


def test_averaged_weights_are_those_written_and_tested(tmp_path):
    from tnlayers.train import load

    result = start(tmp_path, network="mpo", average=0.9)
    seed = result.networks[0].seeds[0]
    test = load("digits").test
    model = tnl.load(result.directory / seed.weights_file)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(torch.tensor(test.images)), torch.tensor(test.labels))
    assert seed.final.test_loss == pytest.approx(loss.item(), rel=1e-5)
    last = start(tmp_path, network="mpo", name="last").networks[0].seeds[0]
    assert last.final.train_loss == seed.final.train_loss
    assert last.final.test_loss != pytest.approx(loss.item(), rel=1e-5)
