"""What torch.export makes of each class of layers runs in a process that cannot import tnlayers."""

import pytest
import torch
from every_layer import EVERY, around, first, made
from interpreter import run


@pytest.mark.filterwarnings("ignore")
def test_what_torch_exports_runs_without_tnlayers(tmp_path):
    """Every class in one process that cannot import tnlayers."""
    for name in EVERY:
        one, inputs = made(name)
        program = torch.export.export(around(one, inputs).eval(), tuple(inputs))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        torch.save((tuple(inputs), first(one.eval()(*inputs)).detach()), tmp_path / f"{name}.pt")
    code = f"""
import pathlib, sys
sys.modules["tnlayers"] = sys.modules["tnlayers_backends"] = None  # an import of them fails
import torch
for file in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.pt2")):
    inputs, wanted = torch.load(file.with_suffix(".pt"))
    found = torch.export.load(file).module()(*inputs)
    while isinstance(found, tuple):
        found = found[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    print(file.stem)
"""
    assert run(code).split() == sorted(EVERY)
