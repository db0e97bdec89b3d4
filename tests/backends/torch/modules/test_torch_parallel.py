"""Two processes give what one gives (DDP, FSDP2), and so does backward through recomputed layers."""

import os
import subprocess
import sys

import pytest
import torch
from distributed import BATCH, adamw_step, batch, model
from places import ROOT, SUPPORT
from torch.utils.checkpoint import checkpoint
from torch_cases import CASES, FEW, assert_differentiates, assert_gradients, built, parameter_gradients, vectors


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes left in a folder."""
    folder = tmp_path_factory.mktemp("processes")
    paths = os.pathsep.join(str(path) for path in (SUPPORT, ROOT, ROOT / "backends"))
    command = [sys.executable, str(SUPPORT / "distributed.py")]
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    outputs = [(folder / f"output_{rank}").open("w+") for rank in range(2)]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder)], env=environment, stdout=output, stderr=subprocess.STDOUT)
        for rank, output in enumerate(outputs)
    ]
    try:
        statuses = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
        for output in outputs:
            output.close()
    said = [(folder / f"output_{rank}").read_text() for rank in range(2)]
    assert statuses == [0, 0], "\n".join(said)
    return folder


@pytest.mark.parametrize("name", FEW)
def test_ddp_gradients_are_those_of_one_process(results, name):
    layer = built(name)
    x, weights = batch(layer)
    assert_gradients(layer, torch.load(results / "ddp.pt")[name], x, weights / BATCH)


def test_a_step_under_fully_shard_is_that_of_one_process(results):
    whole = model()
    before = {key: value.clone() for key, value in whole.state_dict().items()}
    adamw_step(whole, batch(whole[0])[0])
    gathered = torch.load(results / "fsdp.pt")
    assert list(gathered) == list(before)
    for key, expected in whole.state_dict().items():
        assert not torch.equal(expected, before[key]), key
        torch.testing.assert_close(gathered[key], expected)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_activation_checkpointing(name, reentrant):
    layer = built(name)
    assert_differentiates(layer, lambda x: checkpoint(layer, x, use_reentrant=reentrant), vectors(layer, 5))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_under_autocast(reentrant):
    """The layer is recomputed in the dtype that it had.

    The gradient of the output is given: the reentrant form runs forward without gradients, so by another plan, which
    rounds the output differently.
    """
    layer, x = built("monarch"), vectors(built("monarch"), 5).requires_grad_()
    grad_y = torch.randn(5, layer.out_features, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=reentrant)):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = run(x)
        y.backward(grad_y)
        found.append(parameter_gradients(layer))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
