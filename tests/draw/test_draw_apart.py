"""Every built-in type at 2 to 12 cores, measured from the drawing's own geometry: no line passes through a text."""

import pytest
from drawings import shapes
from quiet import quiet

import tnlayers as tnl
from tnlayers.draw.network import network
from tnlayers.draw.room import bezier
from tnlayers.draw.scene import Circle, Group, Line, Text

IN, OUT = (4, 7, 7, 4) * 3, (2, 3, 4, 3) * 3
ANY = ("block_term", "btt", "cp", "kronecker", "lowrank", "mera", "mpo", "peps", "ring", "tree", "tucker")
SIZED = [(name, cores) for name in ANY for cores in (2, 4, 8, 12)]
SIZED += [(name, 2) for name in ("blast", "monarch", "blockdiag")]  # these take two modes


def drawing(name, cores):
    outs = OUT if name != "blockdiag" else (4, *OUT[1:])
    return network(quiet(lambda: tnl.spec(name, in_modes=IN[:cores], out_modes=outs[:cores])).graph)


def crossed(scene):
    """The texts that a line passes through, outside the discs, which cover lines that end in them."""
    discs = shapes(scene, Circle)
    found = []
    for line in shapes(scene, Line):
        seen = [
            (x, y)
            for x, y in bezier(line.points)
            if all((x - d.centre[0]) ** 2 + (y - d.centre[1]) ** 2 > d.radius**2 for d in discs)
        ]
        for text in shapes(scene, Text):
            left, top, right, bottom = text.box
            if any(left < x < right and top < y < bottom for x, y in seen):
                found.append(text.text)
    return found


@pytest.mark.parametrize(("name", "cores"), SIZED)
def test_no_line_passes_through_a_text(name, cores):
    assert crossed(drawing(name, cores)) == []


def test_the_check_sees_a_line_through_a_text():
    text = Text(at=(50, 0), text="bond")
    line = Line(points=((0, 0), (30, 0), (70, 0), (100, 0)), cubic=True, stroke="bond")
    assert crossed(Group(shapes=(line, text))) == ["bond"]
    assert crossed(Group(shapes=(line, text.moved(0, 20)))) == []
