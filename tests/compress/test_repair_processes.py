"""Repair on two processes, each with its share of every batch, ends where one process with whole batches ends."""

from pathlib import Path

import torch
from forked import Forked
from safetensors.torch import load_file

SCRIPT = """
import sys

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn

import tnlayers as tnl


class Routed(nn.Sequential):
    # Rows that begin with a positive number go through the first layer, which is not called where there are none.
    def forward(self, x):
        chosen = x[:, 0] > 0
        y = torch.zeros_like(x)
        if chosen.any():
            y[chosen] = self[0](x[chosen])
        return self[2](self[1](y))


case, processes, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", precision="64-true")
fabric.launch()
torch.manual_seed(1)
kind = Routed if case == "routed" else nn.Sequential
teacher = kind(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 6)).double()
model = kind(tnl.nn.MPOLinear.from_linear(teacher[0], bond_dim=3), *teacher[1:])
whole = [torch.randn(32, 24).double() for _ in range(4)]
if case == "routed":
    for batch in whole:
        batch[:, 0] = batch[:, 0].abs() * torch.tensor([1.0, -1.0]).repeat_interleave(16)
share = 32 // fabric.world_size
mine = [batch[fabric.global_rank * share :][:share] for batch in whole]
if case == "unequal" and fabric.global_rank == 1:
    mine.clear()
sweeps, epochs = {"whole": (2, 3), "distilled": (0, 3), "routed": (1, 0), "unequal": (1, 1)}[case]
try:
    report = tnl.repair(
        model, teacher, mine, sweeps=sweeps, epochs=epochs, lr=0.01, loss="mse", fabric=fabric, progress=False
    )
except tnl.TNLayersError as error:
    sys.exit(str(error))
assert report.delivered < report.began
if fabric.is_global_zero:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
"""


def run(tmp_path: Path, case: str, processes: int) -> tuple[int, str]:
    """The status of so many processes, and what they wrote."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    started = Forked(script, case, str(processes), str(weights(tmp_path, case, processes)), processes=processes)
    output, _ = started.communicate(timeout=120)
    return started.returncode, output


def weights(tmp_path: Path, case: str, processes: int) -> Path:
    return tmp_path / f"{case}-{processes}.safetensors"


def repaired(tmp_path: Path, case: str, processes: int) -> dict[str, torch.Tensor]:
    """The weights after repair by so many processes."""
    status, output = run(tmp_path, case, processes)
    assert status == 0, output
    return load_file(weights(tmp_path, case, processes))


def furthest(these: dict[str, torch.Tensor], those: dict[str, torch.Tensor]) -> float:
    return max(float((these[name] - those[name]).abs().max()) for name in these)


def test_two_processes_end_where_one_ends(tmp_path):
    """In 64 bits; Adam divides by small numbers, which makes rounding larger."""
    single = repaired(tmp_path, "whole", 1)
    assert furthest(repaired(tmp_path, "whole", 2), single) < 1e-8
    assert furthest(repaired(tmp_path, "distilled", 1), single) > 1e-4


def test_a_layer_that_one_process_never_calls_is_fitted_by_the_other(tmp_path):
    assert furthest(repaired(tmp_path, "routed", 2), repaired(tmp_path, "routed", 1)) < 1e-8


def test_a_process_without_batches_is_refused_by_all(tmp_path):
    status, output = run(tmp_path, "unequal", 2)
    assert status != 0
    assert "The 2 processes have [4, 0] batches of the loader and [4, 0] to choose by" in output
