"""The order of cells: the most telling first, so that a run that is cut short is of use.

First those that the bars name, then the same layers with two threads, in bfloat16 and under jax, then the grid from
its cheapest cell to the largest, where one call of the dense layer alone takes half a minute, with the other network
types before its longest cells.
"""

from __future__ import annotations

from dataclasses import replace

from tnlayers.bench.cells import Cell, grid, named
from tnlayers.bench.equal_parameters import TYPES, template
from tnlayers.bench.growth import points
from tnlayers.bench.run import Item
from tnlayers.errors import TNLayersError

CLAIMED = ("ring", "tree", "chord")  # network types that a bar names
_EQUAL = 1.5  # so far apart parameter counts may be and still be called equal
_WIDE = 64  # bond of an mpo whose parameters make a ring of which one call takes seconds
_LONG = 1e11  # flops of the dense layer beyond which a cell takes minutes: about a second a call on one core


def schedule() -> tuple[Item, ...]:
    """Everything, in order."""
    first = [cell for cell in named() if cell.batch in (1, 128)] + [cell for cell in named() if cell.batch > 128]
    settings = (*named(threads=2), *named(dtype="bfloat16"), *named(framework="jax"))
    plain = sorted(grid(), key=lambda cell: (cell.dense_flops, cell.bond != 16))
    return tuple(
        dict.fromkeys(
            (
                *first,
                *named(),
                *(cell for cell in networks(CLAIMED) if cell.bond < _WIDE),
                *points(),
                *settings,
                *(cell for cell in plain if cell.dense_flops <= _LONG),
                *(cell for cell in networks(tuple(TYPES)) if cell.bond < _WIDE),
                *plain,
                *networks(tuple(TYPES)),
            )
        )
    )


def networks(names: tuple[str, ...]) -> tuple[Cell, ...]:
    """The named cells as other network types with about as many parameters; those that cannot are left out."""
    cells = []
    for name in names:
        for mpo in named():
            wanted = mpo.spec.parameters
            cell = replace(mpo, network=template(name, mpo.in_features, mpo.out_features, wanted))
            if 1 / _EQUAL < cell.spec.parameters / wanted < _EQUAL:
                cells.append(cell)
    return tuple(cells)


def quick() -> tuple[Cell, ...]:
    """A few minutes' worth: the named cells that are small, in both modes."""
    return named()[: 2 * 4]


def select(items: tuple[Item, ...], pattern: str | None) -> tuple[Item, ...]:
    """The items whose name contains the pattern.

    Raises:
        TNLayersError: If there is none.
    """
    found = tuple(item for item in items if pattern is None or pattern in item.name)
    if not found:
        raise TNLayersError(f"No cell's name contains {pattern!r}. Names look like {items[0].name!r}.")
    return found
