"""A backend of somebody else is a guest like any other; a broken or absent one is told and hurts no other."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from places import SUPPORT

for framework in ("torch", "jax"):
    pytest.importorskip(framework)

SPEC = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"


@pytest.fixture
def site(tmp_path):
    """A folder as `pip install` would leave it: modules, and the dist-info folders that name their entry points."""

    def install(package, **points):
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[tnlayers.backends]", *lines, ""]))

    source = (SUPPORT / "fractions_backend.py").read_text()
    (tmp_path / "fractions_backend.py").write_text(source)
    install("tnlayers-fractions", fractions="fractions_backend:BACKEND")
    (tmp_path / "broken_backend.py").write_text("raise RuntimeError('the driver is too old')\n")
    (tmp_path / "empty_backend.py").write_text("BACKEND = 3\n")
    (tmp_path / "needy_backend.py").write_text("import no_such_framework\n")
    install(
        "tnlayers-broken",
        broken="broken_backend:BACKEND",
        empty="empty_backend:BACKEND",
        absent="no_such_module:BACKEND",
        needy="needy_backend:BACKEND",
        nameless="fractions_backend:NOTHING",
        numpy="broken_backend:BACKEND",  # nobody replaces a built-in one
    )

    def run(code):
        """In a fresh interpreter that has these installed."""
        paths = [str(tmp_path), *(path for path in filter(None, sys.path) if Path(path) != SUPPORT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


EXACTLY = """
import sys
from fractions import Fraction
from itertools import product
import tnlayers as tnl
from tnlayers.backends import backend_of, installed
assert "fractions" in installed()

def einsum(operands, output, sizes):
    # every assignment of every index, in fractions
    total = dict.fromkeys(product(*(range(sizes[i]) for i in output)), Fraction())
    for at in product(*map(range, sizes)):
        term = Fraction(1)
        for array, indices in operands:
            term *= array(*(at[i] for i in indices))
        total[tuple(at[i] for i in output)] += term
    return list(total.values())

for text in {rows!r}:
    layer = tnl.build(text, backend="fractions", seed=0, dtype="float64")
    assert backend_of(layer.cores[next(iter(layer.cores))]).name == "fractions"
    from fractions_backend import Exact
    graph, batch = layer.spec.graph, len(layer.spec.graph.sizes)
    x = Exact.of((2, layer.spec.in_features), lambda b, i: Fraction(b + 1, i + 3))
    for plan in (None, tnl.plan(text, 2, optimize=[(0, 1)] * len(graph.cores))):
        layer.use_plan(plan)
        y = layer(x)
        operands = [(Exact((2, *graph.in_modes), x.entries), (batch, *graph.inputs))]
        operands += [(layer.cores[core.name], core.indices) for core in graph.cores]
        expected = einsum(operands, (batch, *graph.outputs), (*graph.sizes, 2))
        if layer.bias is not None:
            expected = [value + layer.bias.entries[k % layer.spec.out_features] for k, value in enumerate(expected)]
        assert y.entries == expected, "not exact"
        assert y.entries != [value + Fraction(1, 10**30) for value in expected]  # teeth
    weight = layer.to_dense()
    rows = [[weight(o, i) for i in range(weight.shape[1])] for o in range(weight.shape[0])]
    bias = layer.bias.entries if layer.bias is not None else [0] * weight.shape[0]
    for b in range(2):
        for o, row in enumerate(rows):
            assert y(b, o) == bias[o] + sum(w * x(b, i) for i, w in enumerate(row))
print("exact", "torch" in sys.modules or "jax" in sys.modules)
"""


def test_a_foreign_backend_runs_layers_exactly(site):
    rows = ["mpo(in=3x4, out=2x5, bond=3)", "ring(in=2x2, out=2x2, bond=2)", "cp(in=2x3, out=2x2, rank=2)"]
    rows += ["monarch(in=2x3, out=2x2)", "mpo(in=2x3, out=2x2, bias=true, bond=2)"]
    assert site(EXACTLY.replace("{rows!r}", repr(rows))) == ["exact False"]


GUEST = f"""
import os, tempfile
import numpy as np
import tnlayers as tnl
from tnlayers.verify.agreement import check
text = "mpo(in=2x3x2, out=2x2x3, pad_in=1, pad_out=2, bias=true, bond=3)"
layer = tnl.build(text, backend="fractions", seed=4, dtype="float64")
double = tnl.to_backend(layer, "numpy")
again = tnl.to_backend(double, "fractions")
assert double.cores["core_1"].dtype == np.float64
assert all(again.cores[name].entries == core.entries for name, core in layer.cores.items())
assert again.bias.entries == layer.bias.entries
twin = tnl.build(layer.spec, backend="numpy", seed=4, dtype="float64")
assert all(np.array_equal(twin.cores[name], core) for name, core in double.cores.items())
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "layer.safetensors")
    tnl.save(layer, path)
    assert tnl.load(path).cores["core_0"].entries == layer.cores["core_0"].entries
    assert tnl.to_backend(tnl.load(path, backend="torch"), "fractions").bias.entries == layer.bias.entries
try:
    tnl.to_backend(tnl.build({SPEC!r}, backend="numpy"), "fractions")
except tnl.TNLayersError as error:
    print(error)
f = tnl.from_einsum("ij,ji->", [(2, 3), (3, 2)])
from fractions import Fraction
from fractions_backend import Exact
a = Exact.of((2, 3), lambda i, j: Fraction(1, 1 + i + j))
print(f(a, Exact.of((3, 2), lambda j, i: a(i, j))).entries)
found = check([layer.spec], ["fractions"])
assert all(one.good for one in found)
print(sorted((one.backend, one.dtype, one.quantity) for one in found))
"""


def test_a_foreign_backend_moves_saves_and_is_checked_as_any_other(site):
    refusal, trace, found = site(GUEST)
    assert refusal == "Fractions travel as float64, not as 'float32'; build the layer with dtype='float64'."
    assert trace == f"[{sum((Fraction(1, (1 + i + j) ** 2) for i in range(2) for j in range(3)), Fraction())!r}]"
    assert found == "[('fractions', 'float64', 'cores'), ('fractions', 'float64', 'forward')]"


BROKEN = f"""
import numpy as np
import tnlayers as tnl
from tnlayers.backends import backend_of, known
for name in ("broken", "empty", "absent", "needy", "nameless"):
    assert name in known()
    for _ in range(2):
        try:
            tnl.build({SPEC!r}, backend=name)
        except tnl.TNLayersError as error:
            told = str(error)
    print(told)
layer = tnl.build({SPEC!r}, backend="numpy")
assert layer(np.ones((2, 12), np.float32)).shape == (2, 12)
assert tnl.build({SPEC!r}, backend="fractions", seed=0, dtype="float64").spec == layer.spec
try:
    backend_of(1)
except tnl.TNLayersError as error:
    print(error)
"""


def test_a_broken_backend_says_so_and_hurts_no_other(site):
    broken, empty, absent, needy, nameless, nobody = site(BROKEN)
    assert "'broken' of tnlayers-broken (broken_backend:BACKEND) cannot be imported: RuntimeError: the driver" in broken
    assert "empty_backend:BACKEND of tnlayers-broken is 3, not a tnlayers_backends.base.Backend" in empty
    assert "No module named 'no_such_module'" in absent
    assert "No module named 'no_such_framework'" in needy
    assert "has no attribute 'NOTHING'" in nameless
    assert nobody.startswith("No backend takes a builtins.int; pass arrays of")
    assert "the driver is too old" in nobody


ABSENT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
import tnlayers as tnl
from tnlayers.backends import installed
print(" ".join(name for name in installed() if name in ("numpy", "torch", "jax")))
for name in {names!r}:
    try:
        tnl.build(SPEC, backend=name)
    except tnl.TNLayersError as error:
        print(error)
"""


@pytest.mark.parametrize("names", [("jax",), ("torch",), ("jax", "torch")])
def test_a_framework_that_is_absent_is_named_with_its_extra(site, names):
    left, *reply = site(ABSENT.replace("{names!r}", repr(names)).replace("SPEC", repr(SPEC)))
    assert left.split() == sorted({"numpy", "torch", "jax"} - set(names))
    for name, message in zip(names, reply, strict=True):
        assert f"Backend {name!r} is not installed." in message
        assert f"pip install tnlayers[{name}]" in message
