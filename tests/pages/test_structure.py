"""What may import what, and the public names."""

import ast
import tomllib
from graphlib import CycleError
from pathlib import Path

import pytest
from interpreter import run
from scripts import script

import tnlayers as tnl

structure = script("structure")

ROOT = Path(tnl.__file__).parent
DECIDING = ("declare", "machine", "program", "pricing", "planning")
PUBLIC = {
    "Declaration",
    "Modes",
    "Plan",
    "Spec",
    "SpectraRecorder",
    "TNLayersError",
    "TNLayersWarning",
    "__version__",
    "adapt",
    "adapters",
    "build",
    "compress",
    "dequantise",
    "draw",
    "draw_weights",
    "explore",
    "factorise",
    "freeze",
    "from_einsum",
    "frozen",
    "io",
    "jax",
    "load",
    "load_dense",
    "load_network",
    "merge_adapters",
    "models",
    "network",
    "nn",
    "plan",
    "quantise",
    "repair",
    "save",
    "spec",
    "spectra",
    "thaw",
    "to_backend",
}


def imports(file):
    """Root names of all imports of a file, wherever they stand."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_importing_the_package_loads_no_framework():
    heavy = {"torch", "jax", "tensornetwork", "lightning_fabric", "sklearn", "matplotlib"}
    assert run(f"import sys, tnlayers; print({heavy} & set(sys.modules))").strip() == "set()"


def test_the_numpy_backend_needs_no_torch():
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import numpy as np, tnlayers as tnl
layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy")
assert layer(np.ones((3, 28), np.float32)).shape == (3, 10)
assert tnl.from_einsum("ij,jk->ik", [(2, 3), (3, 4)])(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
print(tnl.plan("mpo(in=4x7, out=2x5, bond=3)", 8).batch)
try:
    tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="torch")
except tnl.TNLayersError as error:
    print(error)
"""
    out = run(code)
    assert out.startswith("8\n")
    assert "Backend 'torch' is not installed" in out
    assert "pip install tnlayers[torch]" in out


def test_one_module_of_the_library_imports_tensornetwork():
    users = {file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py") if "tensornetwork" in set(imports(file))}
    assert users == {"declare/declaration.py", "bench/contenders.py"}  # the second times its contractors as a contender


@pytest.mark.parametrize("file", sorted((ROOT / "networks").glob("*.py")), ids=lambda file: file.stem)
def test_network_types_hold_no_arrays(file):
    assert not {"numpy", "tensornetwork", "torch", "jax"} & set(imports(file))


# A declaration has placeholders without entries; arguments of torch layers are checked where torch is at hand.
WITH_ARRAYS = ("declaration.py", "arguments.py")


@pytest.mark.parametrize(
    "file",
    [
        *(ROOT / "errors.py", ROOT / "cores" / "overlap.py"),
        *(file for name in DECIDING for file in sorted((ROOT / name).glob("*.py")) if file.name not in WITH_ARRAYS),
    ],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_what_is_left_of_running_imports_no_arrays(file):
    assert not {"numpy", "tensornetwork", "torch", "jax"} & set(imports(file))


def test_every_package_imports_only_from_those_below_it():
    """Loaded, deferred and for type checkers: all imports count."""
    known = structure.modules()
    assert structure.upward(known) == []
    assert {structure.package(name, known) for name in known} == set(structure.ORDER)


def test_no_files_need_each_other():
    known = structure.modules()
    assert structure.circles(known) == []
    assert structure.both_ways(known) == {}


def test_the_root_holds_five_files():
    assert structure.in_root() == ["__init__.py", "__main__.py", "backends.py", "errors.py", "nn.py"]


WAYS = {
    "load": "from tnlayers.draw import scene\n",
    "deferred": "class A:\n    def b(self):\n        from tnlayers.draw.scene import Group\n",
    "typing": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tnlayers.draw.scene import Group\n",
}


@pytest.fixture
def small(tmp_path):
    """A library of two packages, the upper of which uses the lower."""
    for name in ("tnlayers/draw", "tnlayers/declare", "backends/tnlayers_backends"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "tnlayers" / "__init__.py").write_text("")
    (tmp_path / "tnlayers" / "draw" / "scene.py").write_text("import tnlayers.declare.spec\n")
    (tmp_path / "tnlayers" / "declare" / "spec.py").write_text("import math\n")
    return tmp_path


@pytest.mark.parametrize("kind", WAYS)
def test_an_import_against_the_order_is_found_of_every_kind(small, kind):
    known = structure.modules(small)
    assert structure.upward(known) == structure.circles(known) == []
    assert structure.both_ways(known) == {}
    (small / "tnlayers" / "declare" / "spec.py").write_text(WAYS[kind])
    assert structure.upward(known) == [f"tnlayers.declare.spec imports tnlayers.draw.scene ({kind})"]
    assert structure.circles(known) == [{"tnlayers.declare.spec", "tnlayers.draw.scene"}]
    assert structure.both_ways(known) == {("tnlayers.declare", "tnlayers.draw"): (1, 1)}
    assert bool(structure.circles(known, ("load",))) == (kind == "load")
    with pytest.raises(CycleError):
        structure.one_order(known)


def test_a_file_without_a_place_in_the_order_is_found(small):
    (small / "tnlayers" / "helpers.py").write_text("import tnlayers.declare.spec\n")
    known = structure.modules(small)
    assert structure.upward(known) == [
        "tnlayers.helpers imports tnlayers.declare.spec: tnlayers.(root) has no place in the order"
    ]
    assert "helpers.py" in structure.in_root(small)


def test_only_plugins_are_imported_by_name():
    """An import by name must not hide one against the order: each of these looks up what a user or a file names."""
    known = {"__init__.py", "cli/trained.py", "declare/registry.py", "files/old_names.py", "io/model_registry.py"}
    users = {file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py") if "import_module" in file.read_text()}
    assert users == known


def test_public_names():
    assert set(tnl.__all__) == PUBLIC
    assert set(dir(tnl)) == PUBLIC
    for name in PUBLIC:
        assert getattr(tnl, name) is not None
    with pytest.raises(AttributeError, match="'compres'"):
        _ = tnl.compres
    convolutions = {"TNConv1d", "TNConv2d", "TNConv3d"}
    layers = {
        "MPOLinear",
        "TNAdapter",
        "TNBilinear",
        "TNEmbedding",
        "TNEmbeddingBag",
        "TNLinear",
        "TNMultiheadAttention",
        "TNTensorLinear",
        "TNGRU",
        "TNGRUCell",
        "TNLSTM",
        "TNLSTMCell",
        "TNRNN",
        "TNRNNCell",
    }
    tools = {"bond_dropout", "bond_penalty", "checkpointed", "parameter_groups"}
    tools |= {"LeafTracer", "profile_labels", "symbolic_trace"}
    tools |= {"Factors", "FrozenCentre", "MetaTT", "MatrixSplit", "matrix_optimizer", "split_matrices"}
    assert set(tnl.nn.__all__) == {*layers, *convolutions, *tools}


def test_functions_are_not_hidden_by_the_modules_of_their_name():
    """`compress`, `draw` and `explore` are packages too."""
    code = """
import tnlayers.compress.rules, tnlayers.draw.svg, tnlayers.explore.page, tnlayers.planning.plan
import tnlayers as tnl
print([callable(getattr(tnl, name)) for name in ("compress", "draw", "explore", "plan", "spec")])
"""
    assert run(code).strip() == str([True] * 5)


def test_a_layer_of_a_users_network_unpickles_without_its_function():
    code = """
import pickle, sys
import torch, tnlayers as tnl

def declare():
    @tnl.network("mine")
    def mine(in_modes, out_modes):
        net = tnl.Declaration()
        core = net.core("core", i=in_modes[0], o=out_modes[0])
        return net.linear(inputs=[core["i"]], outputs=[core["o"]])

declare()
sys.stdout.write(pickle.dumps(tnl.build("mine(in=3, out=2)", seed=0)).hex())
"""
    data = run(code)
    code = f"""
import pickle, torch
layer = pickle.loads(bytes.fromhex("{data}"))
print(tuple(layer(torch.ones(5, 3)).shape))
"""
    assert run(code).strip() == "(5, 2)"


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(file.relative_to(base).parent.parts)
        for base in (ROOT.parent, ROOT.parent / "backends")
        for name in ("tnlayers", "tnlayers_backends")
        for file in (base / name).rglob("__init__.py")
    }
    assert set(listed) == found


def test_every_file_that_is_no_module_is_in_the_wheel():
    """Scripts and styles of the explorer are files of its package, listed as data."""
    listed = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    base = {"tnlayers": ROOT.parent, "tnlayers_backends": ROOT.parent / "backends"}
    data = {
        file
        for package, patterns in listed.items()
        for pattern in patterns
        for file in base[package.partition(".")[0]].joinpath(*package.split(".")).glob(pattern)
    }
    found = {file for file in ROOT.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc", ".md")}
    assert found <= data
    assert {file.name for file in data} >= {"py.typed", "explorer.html", "explorer.css", "explorer.js", "price.js"}
