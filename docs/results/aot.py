"""An AOTInductor package of a model with networks, run by a process without tnlayers: `python docs/results/aot.py`.

It compiles C++ for half a minute of processor time, so it is no test. It wants a compiler, as `torch.compile` does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import tnlayers as tnl

ALONE = """
import sys
sys.modules["tnlayers"] = sys.modules["tnlayers_backends"] = None  # an import of them fails
import torch
folder = sys.argv[1]
x, y = torch.load(f"{folder}/wanted.pt", weights_only=True)
model = torch._inductor.aoti_load_package(f"{folder}/model.pt2")
torch.testing.assert_close(model(x), y, rtol=1e-5, atol=1e-6)
assert model(x[:3]).shape == (3, 10)
print("the package gives what the model gives, without tnlayers, at another batch size too")
"""


def main() -> None:
    """Compile, save, and run elsewhere."""
    layers = tnl.nn.MPOLinear(784, 256, seed=0), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    model, x = torch.nn.Sequential(*layers).eval(), torch.randn(8, 784)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
        package = Path(folder) / "model.pt2"
        torch._inductor.aoti_compile_and_package(program, package_path=str(package))
        torch.save((x, model(x)), Path(folder) / "wanted.pt")
        cores = sum(p.numel() * p.element_size() for p in model.parameters())
        print(f"{package.stat().st_size:,} bytes, of which the parameters are {cores:,}")
        subprocess.run([sys.executable, "-c", ALONE, folder], check=True)


if __name__ == "__main__":
    main()
