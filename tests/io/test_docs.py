"""What docs/files.md says of the format is enough to read a file without tnlayers."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from oracle import assert_close, terms_of
from places import DOCS

import tnlayers as tnl
from tnlayers.io.container import HEADER_LIMIT
from tnlayers.io.header import FORMAT
from tnlayers.io.spec_data import MOST_AXES, MOST_CORES

PAGE = (DOCS / "files.md").read_text()


@pytest.mark.parametrize("spec", ["mpo(in=4x3x2, out=2x3x2, bond=3)", "cp(in=2x3x2, out=2x4, rank=3)"])
def test_the_reader_on_the_page_gives_the_weight(tmp_path, spec):
    layer = tnl.build(spec, backend="numpy", dtype="float64", seed=0)
    tnl.save(layer, tmp_path / "layer")
    (code,) = re.findall(r"### Reading a file without tnlayers\n+```py\n(.*?)```", PAGE, re.DOTALL)
    assert "tnlayers as" not in code
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "layer")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    weight = np.array(json.loads(done.stdout))
    assert_close(weight, layer.to_dense(), dtype="float64", terms=terms_of(layer.spec.graph))


def test_the_numbers_on_the_page():
    assert f'"{FORMAT}"' in PAGE
    assert f"{HEADER_LIMIT // 2**20} MiB" in PAGE
    assert f"at most {MOST_CORES} cores of {MOST_AXES} axes" in PAGE
    for name in tnl.io.__all__:
        assert re.search(rf"tnl\.(io\.)?{name}\b", PAGE), name
