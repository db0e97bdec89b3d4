"""Network types that users bring: YAML files, and packages that announce theirs as entry points."""

import json
import sys
import textwrap
from importlib.metadata import DistributionFinder

import pytest
from typer.testing import CliRunner

import tnlayers as tnl
from tnlayers.__main__ import app
from tnlayers.declare import registry
from tnlayers.declare.registry import network_types

MPO_3 = """
network: mpo_file
summary: Three cores in a chain.
keywords: {bond: 3}
cores:
  core_0: {inp: in_0, out: out_0, right: bond}
  core_1: {left: bond, inp: in_1, out: out_1, right: bond}
  core_2:
    left: bond
    inp: in[2]
    out: out[2]
edges:
  - [core_0.right, core_1.left]
  - [core_1.right, core_2.left]
inputs: [core_0.inp, core_1.inp, core_2.inp]
outputs: [core_0.out, core_1.out, core_2.out]
"""
MONARCH = """
network: monarch_file
cores:
  first: {block_in: in_0, inp: in_1, block_out: out_1}
  second: {block_out: out_1, block_in: in_0, out: out_0}
hyperedges:
  block_in: [first.block_in, second.block_in]
  block_out: [first.block_out, second.block_out]
inputs: [block_in, first.inp]
outputs: [second.out, block_out]
"""
BLOCKS = """
network: blocks_file
cores:
  core: {block: in_0, inp: in_1, out: out_1, pair: 2, twin: 2}
edges:
  - [core.pair, core.twin]
hyperedges: {block: [core.block]}
inputs: [block, core.inp]
outputs: [block, core.out]
"""
CP = """
network: cp_file
keywords: {rank: 16}
cores:
  in_0: {in_0: in_0, rank: rank}
  in_1: {in_1: in_1, rank: rank}
  out_0: {out_0: out_0, rank: rank}
hyperedges: {rank: [in_0.rank, in_1.rank, out_0.rank]}
inputs: [in_0.in_0, in_1.in_1]
outputs: [out_0.out_0]
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Types declared in a test are forgotten after it."""
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))
    registry.declare.cache_clear()
    yield
    registry.declare.cache_clear()


@pytest.fixture
def load(tmp_path):
    def write(text, name="net.yaml"):
        (tmp_path / name).write_text(text)
        return tnl.load_network(tmp_path / name)

    return write


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        (MPO_3, "mpo_file(in=2x3x2, out=2x2x3, bond=2)", "mpo(in=2x3x2, out=2x2x3, bond=2)"),
        (MONARCH, "monarch_file(in=3x4, out=5x2)", "monarch(in=3x4, out=5x2)"),
        (CP, "cp_file(in=3x4, out=5, rank=7)", "cp(in=3x4, out=5, rank=7)"),
    ],
)
def test_the_graph_of_a_file_is_that_of_python(load, text, ours, theirs):
    load(text)
    assert tnl.spec(ours).graph == tnl.spec(theirs).graph


def test_a_trace_and_an_index_that_is_input_and_output(load):
    load(BLOCKS)

    @tnl.network("blocks_python")
    def blocks_python(in_modes, out_modes):
        net = tnl.Declaration()
        core = net.core("core", block=in_modes[0], inp=in_modes[1], out=out_modes[1], pair=2, twin=2)
        block = net.copy(in_modes[0], ["inp", "out", "core"])
        block["core"] ^ core["block"]
        core["pair"] ^ core["twin"]
        return net.linear(inputs=[block["inp"], core["inp"]], outputs=[block["out"], core["out"]])

    assert tnl.spec("blocks_file(in=3x4, out=3x2)").graph == tnl.spec("blocks_python(in=3x4, out=3x2)").graph


def test_a_file_is_a_type_like_any_other(load, tmp_path):
    kind = load(MPO_3)
    assert (kind.name, kind.summary, kind.source) == ("mpo_file", "Three cores in a chain.", str(tmp_path / "net.yaml"))
    spec = tnl.spec("mpo_file", 12, 10)  # sizes are split into as many modes as the file has
    assert str(spec) == "mpo_file(in=2x3x2, out=1x5x2)"
    layer = tnl.build(spec, "numpy", seed=0)
    assert list(layer.cores) == ["core_0", "core_1", "core_2"]
    load(MPO_3.replace("bond: 3", "bond: 2"))  # the file was edited: the new one counts
    assert tnl.spec("mpo_file", 12, 10).graph.shapes["core_0"] == (2, 1, 2)


# Wrong files: (what is replaced, by what, what the message says).
WRONG = {
    "unknown key": ("edges:", "bonds:", ["bonds", "Extra inputs", "hyperedges"]),
    "no name": ("network: mpo_file", "", ["network", "Field required"]),
    "name taken": ("network: mpo_file", "network: mpo", ["'mpo'", "built-in"]),
    "name no identifier": ("network: mpo_file", "network: my net", ["'my net'"]),
    "size 0": ("{bond: 3}", "{bond: 0}", ["keywords.bond", "greater than or equal to 1", "0"]),
    "size a fraction": ("{bond: 3}", "{bond: 2.5}", ["keywords.bond", "2.5"]),
    "leg of size 0": ("right: bond}\n  core_1", "right: 0}\n  core_1", ["cores.core_0.right", "0"]),
    "unknown size": (
        "out_0, right: bond",
        "out_0, right: bnd",
        ["leg 'right' of core 'core_0'", "'bnd'", "(bond)", "keywords: {bnd: 4}"],
    ),
    "unknown leg": ("core_1.left]", "core_1.lfet]", ["'core_1.lfet'", "core_1.left", "core_2.out"]),
    "unknown core": ("core_1.left]", "cor.left]", ["'cor.left'"]),
    "edge of three": ("core_1.left]", "core_1.left, core_2.left]", ["edges.0", "at most 2"]),
    "edge as text": ("- [core_0.right, core_1.left]", "- core_0.right ^ core_1.left", ["edges.0", "valid list"]),
    "mode skipped": ("inp: in_1", "inp: in_5", ["3 inputs", "[0, 2, 5]", "0 to 2"]),
    "mode not listed": ("core_2.inp]", "]", ["2 inputs", "[0, 1, 2]"]),
    "no cores": ("core_0: {", "{", ["not YAML"]),
    "leg without edge": ("  - [core_1.right, core_2.left]\n", "", ["net.yaml", "core_1.right", "size 3", "is open"]),
    "edge twice": ("- [core_1.right, core_2.left]", "- [core_0.right, core_2.left]", ["already joined", "net.yaml"]),
    "sizes differ": ("left: bond\n", "left: 7\n", ["core_1.right has size 3", "core_2.left has size 7"]),
    "reserved name": ("core_0", "bias", ["'bias'", "net.yaml"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(load, name):
    old, new, parts = WRONG[name]
    text = MPO_3.replace(old, new)
    assert text != MPO_3
    with pytest.raises(tnl.TNLayersError) as caught:
        _ = load(text) and tnl.spec("mpo_file(in=2x3x2, out=2x2x3)")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "valid dictionary"), ("3", "valid dictionary"), ("a: [", "not YAML"), ("\xff", "net.yaml")],
)
def test_files_of_something_else(load, tmp_path, text, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        load(text)
    with pytest.raises(tnl.TNLayersError, match=r"Cannot read the network file .*absent.yaml: No such file"):
        tnl.load_network(tmp_path / "absent.yaml")


def test_the_modes_of_a_spec_must_be_those_of_the_file(load):
    load(MPO_3)
    with pytest.raises(
        tnl.TNLayersError, match=r"net.yaml has 3 input and 3 output modes, but in_modes \(4, 7\) has 2"
    ):
        tnl.spec("mpo_file(in=4x7, out=2x5)")
    with pytest.raises(tnl.TNLayersError, match="cores=4: mpo_file has a fixed number of cores"):
        tnl.spec("mpo_file(cores=4)", 16, 16)


# Packages. Each is a folder on sys.path with metadata that announces its types.


@pytest.fixture
def package(tmp_path, monkeypatch):
    def install(name, code, points):
        info = tmp_path / name / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[tnlayers.networks]\n" + "".join(f"{k} = {v}\n" for k, v in points))
        (tmp_path / name / f"{name}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(str(tmp_path / name))
        monkeypatch.delitem(sys.modules, name, raising=False)
        for finder in sys.meta_path:
            if isinstance(finder, type) and issubclass(finder, DistributionFinder):
                finder.invalidate_caches()

    return install


GOOD = """
    import tnlayers as tnl

    @tnl.network("zigzag", cores=1)
    def zigzag(in_modes, out_modes, rank=2):
        "Comes with a package."
        net = tnl.Declaration()
        a, b = net.core("a", i=in_modes[0], r=rank), net.core("b", r=rank, o=out_modes[0])
        a["r"] ^ b["r"]
        return net.linear(inputs=[a["i"]], outputs=[b["o"]])
"""


def test_a_package_is_imported_when_its_type_is_asked_for(package):
    package("good_nets", GOOD, [("zigzag", "good_nets")])
    package("broken_nets", "import no_such_module_at_all", [("broken_type", "broken_nets")])
    tnl.spec("mpo(in=4x7, out=2x5, bond=3)")
    with pytest.raises(tnl.TNLayersError, match=r"Known types: .*broken_type.*zigzag"):
        tnl.spec("nosuch(bond=3)")
    assert not {"good_nets", "broken_nets"} & sys.modules.keys()
    assert tnl.spec("zigzag", 10, 7).parameters == 34
    assert "broken_nets" not in sys.modules


def test_a_broken_package_is_told_and_breaks_nothing_else(package):
    package("good_nets", GOOD, [("zigzag", "good_nets")])
    package("broken_nets", "import no_such_module_at_all", [("broken_type", "broken_nets")])
    message = (
        r"'broken_type' comes from the package broken_nets \(broken_nets\), which failed to load: ModuleNotFoundError"
    )
    with pytest.raises(tnl.TNLayersError, match=message) as caught:
        tnl.spec("broken_type(bond=3)")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    (sentence,) = registry.load_packages()
    assert "broken_nets" in sentence
    assert {"zigzag", "mpo"} <= {kind.name for kind in network_types()}


def test_a_package_that_declares_something_else(package):
    package("other_nets", GOOD, [("zagzig", "other_nets")])
    with pytest.raises(tnl.TNLayersError, match=r"no network type 'zagzig'.*zigzag"):
        tnl.spec("zagzig")


def test_two_packages_of_one_name(package):
    package("good_nets", GOOD, [("zigzag", "good_nets")])
    package("more_nets", GOOD, [("zigzag", "more_nets")])
    with pytest.raises(tnl.TNLayersError, match=r"'zigzag' is announced by good_nets \(good_nets\) and more_nets"):
        tnl.spec("zigzag")


def test_the_list_shows_every_type_and_where_it_comes_from(package, load, tmp_path):
    package("good_nets", GOOD, [("zigzag", "good_nets")])
    package("broken_nets", "1 / 0", [("broken_type", "broken_nets")])
    load(MPO_3)
    listed = json.loads(CliRunner().invoke(app, ["describe", "--list", "--json"]).output)
    for name, source, keywords in (
        ("mpo", "built in", {"bond": 16}),
        ("block_term", "built in", {"bond": 4, "terms": 2}),
        ("monarch", "built in", {"blocks": None}),
        ("zigzag", "good_nets", {"rank": 2}),
        ("mpo_file", str(tmp_path / "net.yaml"), {"bond": 3}),
    ):
        found = listed["networks"][name]
        assert (found["source"], found["keywords"]) == (source, keywords)
        assert found["summary"]
    assert listed["networks"]["mpo"]["per_edge"] == ["bond"]
    assert ["ZeroDivisionError" in sentence for sentence in listed["broken"]] == [True]


def test_the_command_line_reads_network_files(tmp_path):
    (tmp_path / "net.yaml").write_text(MPO_3)
    words = [
        "describe",
        "mpo_file(bond=2)",
        "--in",
        "12",
        "--out",
        "12",
        "--load",
        str(tmp_path / "net.yaml"),
        "--json",
    ]
    assert json.loads(CliRunner().invoke(app, words).output)["spec"] == "mpo_file(in=2x3x2, out=2x3x2, bond=2)"
