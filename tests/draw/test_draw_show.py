"""Pictures in files, in notebooks and from the command line."""

import json
from xml.etree import ElementTree

import pytest
from drawings import SVG
from specs import SUMS

import tnlayers as tnl

SPEC = "mpo(in=4x7, out=2x5, bond=3)"


@pytest.mark.parametrize(
    ("suffix", "begins"), [("svg", b"<svg"), ("html", b"<!doctype html>"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_files(tmp_path, suffix, begins):
    if suffix in ("png", "pdf"):
        pytest.importorskip("matplotlib")
    plan = tnl.plan(SPEC, 4, objective="training")
    file, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    tnl.draw(SPEC, plan, path=file, theme="dark")
    tnl.draw(SPEC, plan, path=str(again), theme="dark")
    assert file.read_bytes().startswith(begins)
    assert file.read_bytes() == again.read_bytes()


def test_refusals(tmp_path):
    with pytest.raises(tnl.TNLayersError, match=r"written as \.svg, \.html, \.png, \.pdf; '.*x\.gif' ends in '\.gif'"):
        tnl.draw(SPEC, path=tmp_path / "x.gif")
    with pytest.raises(tnl.TNLayersError, match="no theme 'blue'; pictures are drawn in light, dark, auto"):
        tnl.draw(SPEC, theme="blue")
    with pytest.raises(tnl.TNLayersError, match="no picture of 'int'"):
        tnl.draw(7)
    with pytest.raises(tnl.TNLayersError, match="needs something to draw"):
        tnl.draw()
    with pytest.raises(tnl.TNLayersError, match="cannot be written to"):
        tnl.draw(SPEC, path=tmp_path / "absent" / "x.svg")
    with pytest.raises(tnl.TNLayersError, match="is a template"):
        tnl.draw("mpo(bond=3)")


def drawn(html):
    """The cores of the picture in an HTML fragment."""
    root = ElementTree.fromstring(html)
    return [g.get("data-name") for g in root.iter(f"{SVG}g") if g.get("class") == "core"]


def test_specs_show_themselves():
    made = tnl.spec(SPEC)
    assert drawn(made._repr_html_()) == ["core_0", "core_1"]
    assert "129 of 280, rho = 0.4607" in made._repr_html_()
    assert tnl.spec("mpo(bond=3)")._repr_html_() is None
    assert made.draw().svg == tnl.draw(made).svg == tnl.draw(SPEC)._repr_svg_()
    assert drawn(tnl.draw(made)._repr_html_()) == ["core_0", "core_1"]
    assert len(drawn(tnl.spec(SUMS["sum-alike"])._repr_html_())) == 6


@pytest.mark.parametrize("text", [SPEC, f"{SPEC} + mpo(in=28, out=10)"])
def test_plans_show_themselves(text):
    plan = tnl.plan(text, 8)
    html = plan._repr_html_()
    assert ElementTree.fromstring(html).find("table") is not None
    assert "dense layer" in html
    assert repr(plan.draw()).startswith("Picture('Plan of mpo")


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_layers_show_themselves(backend):
    if backend != "numpy":
        pytest.importorskip(backend)
    layer = tnl.build(SPEC, backend=backend)
    assert drawn(layer._repr_html_()) == list(layer.cores)
    assert layer.draw(theme="dark").svg == tnl.draw(layer, theme="dark").svg == tnl.draw(SPEC, theme="dark").svg


def test_the_graph_alone_can_be_drawn():
    graph = tnl.spec(SPEC).graph
    assert drawn(tnl.draw(graph)._repr_html_()) == ["core_0", "core_1"]


def test_the_command_writes_files_and_layouts(call, tmp_path):
    status, out, err = call("draw", SPEC)
    assert (status, err) == (0, "")
    assert out == tnl.draw(SPEC).svg
    file = tmp_path / "plans.svg"
    assert call("draw", SPEC, "--plan", "--batch", "1", "--batch", "64", "-o", str(file)) == (0, "", "")
    assert file.read_text() == tnl.draw(*(tnl.plan(SPEC, batch) for batch in (1, 64))).svg
    layout = json.loads(call("draw", "mpo(cores=2, bond=2)", "--in", "12", "--out", "8", "--json")[1])
    kinds = [item["kind"] for item in layout["items"]]
    assert kinds == ["bond", "mode", "mode", "mode", "mode", "core", "core"]
    assert all(0 <= edge <= max(layout["size"]) for item in layout["items"] for edge in item["box"])


def test_the_command_draws_networks_of_a_file(call, tmp_path):
    file = tmp_path / "pairs.py"
    file.write_text(
        "import tnlayers as tnl\n"
        "@tnl.network('drawn_pair')\n"
        "def pair(in_modes, out_modes):\n"
        "    net = tnl.Declaration()\n"
        "    a = net.core('a', i=in_modes[0], o=out_modes[0])\n"
        "    return net.linear(inputs=[a['i']], outputs=[a['o']])\n"
    )
    status, out, _ = call("draw", "drawn_pair(in=3, out=2)", "--load", str(file))
    assert status == 0
    assert 'data-name="a"' in out


@pytest.mark.parametrize(
    ("expected", "words", "message"),
    [
        (2, ("mpo(bond=3)",), "is a template"),
        (1, (SPEC, "-o", "x.gif"), "Pictures are written as .svg"),
        (2, (SPEC, "--theme", "blue"), "no theme 'blue'"),
        (2, (SPEC, "--objective", "speed", "--plan"), "no objective 'speed'"),
    ],
)
def test_the_command_refuses_in_one_paragraph(call, expected, words, message):
    status, out, err = call("draw", *words)
    assert (status, out) == (expected, "")
    assert err.startswith("error: ")
    assert message in err
