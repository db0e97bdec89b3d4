"""Spectra and entropies per bond, and entropies over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

from tnlayers.draw.curves import HEIGHT, ROLES, Series, frame
from tnlayers.draw.page import Panel, paged
from tnlayers.draw.scene import Group
from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers.cores.spectrum import Spectra
    from tnlayers.draw.picture import Picture

_AT_ONCE = len(ROLES)  # bonds in one frame


def draw_spectra(things: Sequence[Spectra], theme: str) -> Picture:
    """Draw singular values on a logarithmic axis over the entropies of the bonds, a panel per weight.

    Raises:
        TNLayersError: If one of them has no bonds.
    """
    panels = []
    for one in things:
        if not one.bonds:
            raise TNLayersError(f"{one.name} has no bonds, so there is no spectrum to draw.")
        frames = [_values(one, first) for first in range(0, len(one.bonds), _AT_ONCE)]
        frames.append(_entropies(one))
        rows = [each.moved(0, k * (HEIGHT + 62)) for k, each in enumerate(frames)]
        caption = f"{len(one.bonds)} bonds, entropies {', '.join(f'{entropy:.3f}' for entropy in one.entropies)}"
        panels.append(Panel((f"Spectra of {one.name}", caption), Group(shapes=tuple(rows), kind="spectra")))
    return paged(panels, theme, " and ".join(f"Spectra of {one.name}" for one in things))


def draw_entropies(
    steps: Sequence[int],
    records: Mapping[str, Sequence[Spectra]],
    *,
    path: str | PathLike[str] | None = None,
    theme: str = "auto",
) -> Picture:
    """Draw the entropy of every bond over the steps of a training, a panel per layer.

    Args:
        steps: The steps recorded.
        records: By layer, its spectra at each of them.
        path: Also write the picture to this file.
        theme: "light", "dark" or "auto".

    Raises:
        TNLayersError: If nothing was recorded.
    """
    if not steps:
        raise TNLayersError("Nothing was recorded yet: call the recorder with the step, in the loop.")
    panels = []
    for name, found in records.items():
        curves = [
            Series(
                name=" - ".join(bond.cores),
                points=tuple((float(step), one.entropies[k]) for step, one in zip(steps, found, strict=True)),
                role=ROLES[k % len(ROLES)],
            )
            for k, bond in enumerate(found[-1].bonds)
        ]
        drawing = frame(curves, x_name="step", y_name="entropy (nats)")
        panels.append(Panel((name, f"{found[-1].name}, {len(steps)} steps recorded"), drawing))
    picture = paged(panels, theme, f"Entropies of {', '.join(records)} over training")
    if path is not None:
        picture.save(path)
    return picture


def _values(one: Spectra, first: int) -> Group:
    curves = [
        Series(
            name=f"{' - '.join(bond.cores)} ({len(bond.values)})",
            points=tuple((float(k), value) for k, value in enumerate(bond.values, start=1)),
            role=ROLES[k],
        )
        for k, bond in enumerate(one.bonds[first : first + _AT_ONCE])
    ]
    return frame(curves, x_name="number", y_name="singular value", logarithmic=True)


def _entropies(one: Spectra) -> Group:
    numbers = range(1, len(one.bonds) + 1)
    curves = [
        Series(name="entropy", points=tuple(zip(map(float, numbers), one.entropies, strict=True))),
        Series(
            name="ln(bond)",
            points=tuple((float(k), bond.bound) for k, bond in zip(numbers, one.bonds, strict=True)),
            faint=True,
        ),
    ]
    return frame(curves, x_name="bond", y_name="entanglement entropy (nats)")
