"""Repair on two processes, each with its share of every batch, ends where one process with whole batches ends."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# Fabric starts the second process by running the file again.
SCRIPT = """
import sys

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn

import tnlayers as tnl

processes, sweeps, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", precision="64-true")
fabric.launch()
torch.manual_seed(0)
teacher = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 6)).double()
model = nn.Sequential(tnl.nn.MPOLinear.from_linear(teacher[0], bond_dim=3), *teacher[1:])
whole = [torch.randn(32, 24).double() for _ in range(4)]
share = 32 // fabric.world_size
mine = [batch[fabric.global_rank * share :][:share] for batch in whole]
report = tnl.repair(
    model, teacher, mine, sweeps=sweeps, epochs=3, lr=0.01, loss="mse", fabric=fabric, progress=False
)
assert report.delivered < report.began
if fabric.is_global_zero:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
"""


def repaired(tmp_path: Path, processes: int, sweeps: int = 2) -> dict[str, torch.Tensor]:
    """The weights after repair by so many processes."""
    script, file = tmp_path / "script.py", tmp_path / f"{processes}-{sweeps}.safetensors"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(processes), str(sweeps), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return load_file(file)


def furthest(these: dict[str, torch.Tensor], those: dict[str, torch.Tensor]) -> float:
    return max(float((these[name] - those[name]).abs().max()) for name in these)


@pytest.mark.slow
def test_two_processes_end_where_one_ends(tmp_path):
    """In 64 bits; Adam divides by small numbers, which makes rounding larger."""
    single = repaired(tmp_path, 1)
    assert furthest(repaired(tmp_path, 2), single) < 1e-8
    assert furthest(repaired(tmp_path, 1, sweeps=0), single) > 1e-4
