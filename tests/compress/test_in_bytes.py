"""Budgets in bytes of the file, and numbers rounded to few bits: what is asked is kept to, and the report says so."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tnlayers_backends.torch.layers.quantised import all_codes
from torch import nn

import tnlayers as tnl

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(128, 128), nn.ReLU(), nn.BatchNorm1d(128), nn.Linear(128, 96), nn.Linear(96, 10)
    ).eval()


def size(model, folder):
    tnl.save(model, folder / "model.safetensors")
    return (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({"max_bytes": 40_000}, 40_000),
        ({"max_bytes": 30_000, "bits": 8}, 30_000),
        ({"max_bytes": 20_000, "bits": 4, "group": 16}, 20_000),
        ({"ratio": 0.2, "ratio_of": "bytes", "bits": 8}, 0.2 * 4 * 30_506 + 0.2 * (2 * 4 * 128 + 8)),
    ],
)
def test_the_file_keeps_to_its_bytes(asked, limit, model, tmp_path):
    result = tnl.compress(model, network=["lowrank", "mpo"], progress=False, **asked)
    found = size(result.model, tmp_path)
    assert 0.9 * limit < found <= limit
    assert result.report.file_bytes == found
    assert f"The file has {found:,} bytes" in result.report.title()
    # The report counts parameters, in codes where they are: the file has the buffers and its header beside them.
    others = 4 * 2 * 128 + 8
    assert 0 < found - result.report.after.bytes - others < 6000
    if "bits" in asked:
        assert asked["bits"] < result.report.bits < asked["bits"] + 1.1
        assert {one.bits for one in all_codes(result.model).values()} == {asked["bits"]}
        assert "rounded to" in str(result.report)
    else:
        assert not all_codes(result.model)
    assert not all_codes(model)


def test_what_is_large_enough_stays_dense_and_the_model_itself_can_change(model):
    own = deepcopy(model)
    result = tnl.compress(own, max_bytes=40_000, bits=8, inplace=True, progress=False)
    assert result.model is own
    assert result.report.ratio == 1
    assert all_codes(own).keys() == {"0.weight", "3.weight", "4.weight"}


def test_a_dry_run_builds_nothing(model):
    result = tnl.compress(model, max_bytes=40_000, network="lowrank", dry_run=True, progress=False)
    assert result.model is None
    assert result.report.file_bytes is None
    assert 0 < result.report.ratio < 0.4


def test_bits_go_with_every_budget_but_an_error(model):
    result = tnl.compress(model, ratio=0.3, bits=4, network="lowrank", progress=False)
    assert result.report.ratio <= 0.3
    assert result.report.after.bytes < 0.3 * result.report.before.bytes / 5
    assert result.report.file_bytes is None
    for wrong, words in (
        ({"error": 0.1, "bits": 8}, "would come on top"),
        ({"ratio": 0.1, "bits": 3}, "8 or 4"),
        ({"ratio": 0.1, "bits": 8, "group": 5}, "even number"),
        ({"max_bytes": 500}, "^max_bytes=500 is out of reach: (?!.*max_params)"),
        ({"ratio": 1e-4, "ratio_of": "bytes"}, "^ratio=0.0001 of the bytes is out of reach: (?!.*max_params)"),
        ({"max_bytes": 0.5}, "must be an integer"),
        ({"max_bytes": 500, "ratio": 0.1}, "exactly one"),
    ):
        with pytest.raises(tnl.TNLayersError, match=words):
            tnl.compress(model, progress=False, **wrong)
