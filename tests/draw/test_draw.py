"""Diagrams of networks: everything is there once with its name and size, nothing overlaps, nothing is cut off."""

import itertools
import re
from collections import Counter
from math import hypot
from xml.etree import ElementTree

import pytest
from drawings import SVG, check_within, shapes
from quiet import quiet
from specs import MARKET, SUMS

import tnlayers as tnl
from tnlayers.draw.network import network
from tnlayers.draw.scene import Circle, Group, Text, overlap, text_width
from tnlayers.draw.theme import COLOURS

ROWS = MARKET | SUMS


def parse(svg):
    return ElementTree.fromstring(svg)


def found(root, kind):
    """The groups of one kind: (name or index, size) of each, counted."""
    each = [g.attrib for g in root.iter(f"{SVG}g") if g.get("class") == kind]
    return Counter((a.get("data-name") or a.get("data-index"), a["data-size"]) for a in each)


def expected(graphs):
    """What the graphs hold, in the same form: cores, modes, bonds, hyperedges."""
    cores, modes, bonds, hyperedges = (Counter() for _ in range(4))
    for graph in graphs:
        cores.update((core.name, "x".join(map(str, graph.shape(core)))) for core in graph.cores)
        for side, indices in (("in", graph.inputs), ("out", graph.outputs)):
            modes.update((f"{side}_{k}", str(graph.sizes[i])) for k, i in enumerate(indices))
        opened = Counter((*graph.inputs, *graph.outputs))
        for index in {i for core in graph.cores for i in core.indices} | set(opened):
            ends = graph.legs(index), opened[index]
            if ends == (2, 0):
                bonds[(str(index), str(graph.sizes[index]))] += 1
            elif ends != (1, 1):
                hyperedges[(str(index), str(graph.sizes[index]))] += 1
    return cores, modes, bonds, hyperedges


def check_complete(root, graphs):
    """Cores, modes, bonds and hyperedges: each once, each with a label that tells its size."""
    for kind, wanted in zip(("core", "mode", "bond", "hyperedge"), expected(graphs), strict=True):
        assert found(root, kind) == wanted, kind
    for group in root.iter(f"{SVG}g"):
        if group.get("class") in ("mode", "bond", "hyperedge"):
            texts = [text.text for text in group.iter(f"{SVG}text")]
            assert [text.split()[-1] for text in texts] == [group.get("data-size")]


def check_apart(scene):
    """No two discs, no two texts overlap, and no text lies on a disc that is not its own."""
    discs, texts = shapes(scene, Circle), shapes(scene, Text)
    for a, b in itertools.combinations(discs, 2):
        apart = hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1])
        assert apart > a.radius + b.radius, (a, b)
    for one, two in itertools.combinations(texts, 2):
        assert not overlap(one.box, two.box) or one.at[0] == two.at[0], (one.text, two.text)  # lines of one label
    for disc, text in itertools.product(discs, texts):
        inside = hypot(text.at[0] - disc.centre[0], text.at[1] - disc.centre[1]) < disc.radius
        assert inside or not overlap(disc.box, text.box, -0.3 * disc.radius), (disc, text.text)


@pytest.mark.parametrize("row", ROWS)
def test_everything_is_drawn_once_within_the_picture(row):
    made = quiet(lambda: tnl.spec(ROWS[row]))
    for theme in ("light", "dark", "auto"):
        picture = tnl.draw(made, theme=theme)
        root = parse(picture.svg)
        check_complete(root, made.graphs)
        check_within(root)
        assert root.find(f"{SVG}title").text == str(made)
        assert str(made.parts[-1])[:-1] in root.find(f"{SVG}desc").text
        assert picture.svg == tnl.draw(quiet(lambda: tnl.spec(ROWS[row])), theme=theme).svg


@pytest.mark.parametrize("row", ROWS)
def test_nothing_overlaps(row):
    for graph in quiet(lambda: tnl.spec(ROWS[row])).graphs:
        check_apart(network(graph))


IN, OUT = (4, 7, 7, 4) * 3, (2, 3, 4, 3) * 3


@pytest.mark.parametrize("name", ["mpo", "ring", "tree", "mera", "peps", "cp", "kronecker"])
@pytest.mark.parametrize("cores", [2, 12])
def test_small_and_large_networks(name, cores):
    made = tnl.spec(name, in_modes=IN[:cores], out_modes=OUT[:cores])
    root = parse(tnl.draw(made).svg)
    check_complete(root, made.graphs)
    check_within(root)
    check_apart(network(made.graph))


def test_the_checks_see_what_is_wrong():
    made = quiet(lambda: tnl.spec("mpo(in=2x3x2, out=2x2x3, bond=2)"))
    svg = tnl.draw(made).svg
    for wrong in (
        svg.replace('data-name="core_1"', 'data-name="core_0"'),
        svg.replace('class="bond" data-index="2" data-size="2"', 'class="bond" data-index="2" data-size="3"'),
        svg.replace('class="mode"', 'class="moda"', 1),
    ):
        assert wrong != svg
        with pytest.raises(AssertionError):
            check_complete(parse(wrong), made.graphs)
    with pytest.raises(AssertionError):
        check_within(parse(re.sub(r'cx="[\d.]+"', 'cx="-50"', svg)))
    drawing = network(made.graph)
    with pytest.raises(AssertionError):
        check_apart(Group(shapes=(drawing, drawing.moved(20, 0))))


def places(text):
    """The centre of each core by name."""
    cores = [g for g in network(quiet(lambda: tnl.spec(text)).graph).shapes if g.kind == "core"]
    return {g.data["name"]: g.shapes[0].centre for g in cores}


def test_chains_are_straight_in_the_order_of_their_modes():
    at = list(places("mpo(in=2x3x3x2, out=2x2x2x2, bond=4)").values())
    assert len({y for _, y in at}) == 1
    assert [x for x, _ in at] == sorted(x for x, _ in at)


def test_rings_are_closed():
    at = list(places("ring(in=2x2x3x2x2, out=2x1x2x2x2, bond=2)").values())
    lengths = [hypot(a[0] - b[0], a[1] - b[1]) for a, b in zip(at, at[1:] + at[:1], strict=True)]
    assert max(lengths) == pytest.approx(min(lengths))


def test_grids_are_grids():
    at = places("peps(in=2x2x2x2x2x2, out=2x2x2x2x2x2, bond=2)")
    assert len({round(x) for x, _ in at.values()}) == 3
    assert len({round(y) for _, y in at.values()}) == 2


def test_trees_stand_in_layers_over_their_leaves():
    at = places("tree(in=2x2x2x2, out=2x2x2x2, bond=2)")
    heights = {name: round(y) for name, (_, y) in at.items()}
    leaves = {y for name, y in heights.items() if name.startswith("leaf")}
    inner = {y for name, y in heights.items() if not name.startswith("leaf")}
    assert len(leaves) == len(inner) == 1
    assert max(inner) < min(leaves)


def test_what_only_reads_is_below_what_only_writes():
    at = places("cp(in=2x3x2, out=2x4, rank=3)")
    assert min(y for name, (_, y) in at.items() if "in" in name) > max(
        y for name, (_, y) in at.items() if "out" in name
    )


def test_any_other_network_of_equal_cores_is_spread_by_springs():
    @tnl.network("complete_draw")
    def complete(in_modes, out_modes):
        net, n = tnl.Declaration(), len(in_modes)
        cores = [
            net.core(f"c{k}", i=in_modes[k], o=out_modes[k], **{f"to_{j}": 2 for j in range(n) if j != k})
            for k in range(n)
        ]
        for j, k in itertools.combinations(range(n), 2):
            cores[j][f"to_{k}"] ^ cores[k][f"to_{j}"]
        return net.linear(inputs=[c["i"] for c in cores], outputs=[c["o"] for c in cores])

    made = quiet(lambda: tnl.spec("complete_draw(in=2x2x2x2, out=2x2x2x2)"))
    check_complete(parse(tnl.draw(made).svg), made.graphs)
    check_apart(network(made.graph))


def test_nodes_and_bonds_are_sized():
    small, large = (network(tnl.spec(f"mpo(in=8x8, out=8x8, bond={bond})").graph) for bond in (2, 32))

    def sizes(scene):
        lines = {g.kind: g.shapes[0] for g in scene.shapes}
        return lines["core"].radius, lines["bond"].width

    assert sizes(small)[0] < sizes(large)[0]
    assert sizes(small)[1] < sizes(large)[1]


def test_themes_have_their_own_colours():
    light, dark, auto = (tnl.draw("mpo(in=4, out=5)", theme=theme).svg for theme in ("light", "dark", "auto"))
    paper = COLOURS["paper"]
    assert paper[0] in light
    assert paper[1] not in light
    assert paper[1] in dark
    assert paper[0] not in dark
    assert "prefers-color-scheme:dark" in auto
    assert "<style>" not in light + dark


def test_widths_of_text_are_not_underestimated():
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.textpath import TextPath

    assert matplotlib
    for text in ("core_0", "in\u2081\u2081 7", "1\u2009445\u2009670", "disentangler", "out\u2080 128", "x 128x4x7x7x4"):
        assert TextPath((0, 0), text, size=10).get_extents().width <= text_width(text, 10)
