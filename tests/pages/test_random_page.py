"""docs/random.md is that of the stored cells, and these are of the draw that its command names."""

from scripts import script

from tnlayers.bench.drawn import drawn
from tnlayers.bench.run import load

shapes = script("random_shapes")
STORED = load(shapes.STORE)


def test_the_page_is_that_of_the_stored_cells():
    page = shapes.PAGE.read_text(encoding="utf-8")
    assert shapes.written(page, STORED) == page, "run python docs/results/random_shapes.py"
    assert "cells were measured" in page


def test_the_stored_cells_are_the_first_of_the_draw():
    names = [cell.name for cell in drawn(shapes.ASKED, seed=7)]
    assert list(STORED["cells"]) == names[: len(STORED["cells"])]
    assert all("--random 60 --seed 7" in run["command"] for run in STORED["runs"])
