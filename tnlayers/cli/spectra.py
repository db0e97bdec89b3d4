"""`tnlayers spectra`: the singular values at the bonds of every layer, and the sizes that would be enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from tnlayers import draw
from tnlayers.cli import completion
from tnlayers.cli.shared import JsonOption, LoadOption, PictureOption, ThemeOption, load_files, out, print_json
from tnlayers.cli.trained import TrainedArgument, trained
from tnlayers.files.progress import progress

if TYPE_CHECKING:
    from tnlayers.cores.spectrum import Spectra
    from tnlayers.draw.theme import Theme


def spectra(
    what: TrainedArgument,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only layers of this name; repeatable.")
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            metavar="NET", help="The loop-free network that cuts dense weights.", autocompletion=completion.spec
        ),
    ] = "mpo",
    error: Annotated[float, typer.Option(metavar="X", help="The relative error that sizes are advised for.")] = 0.1,
    file: PictureOption = None,
    theme: ThemeOption = "auto",
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at singular values and entropies at every bond, and get advice on bonds.

    Layers of tnlayers are looked at through their cores, dense weights are cut
    by --network. Two sizes are advised for each bond: what is enough for
    --error, and how many are above the weight's noise (analytic VBMF).

    [bold]Examples[/bold]

    tnlayers spectra model.safetensors -o spectra.svg

    tnlayers spectra mine:make_model --layer "encoder.*" --network "mpo(cores=3)" --error 0.05 --json
    """
    load_files(load)
    model, _ = trained(what)
    from tnlayers.compress.survey import survey, weights_of

    weights = weights_of(model, layer or [])
    found: dict[str, Spectra] = {}
    with progress("singular values", len(weights)) as step:
        for name, one in survey(weights, network):
            found[name or type(model).__name__] = one
            step()
    if file is not None:
        named = [replace(one, name=f"{name}: {one.name}") for name, one in found.items() if one.bonds]
        draw(*named, path=file, theme=cast("Theme", theme))
    if as_json:
        print_json("spectra", [_as_data(name, one, error) for name, one in found.items()])
    else:
        out().print(_table(found, error))


def _as_data(name: str, found: Spectra, error: float) -> dict[str, Any]:
    advice, standing_out = found.advice(error), found.standing_out()
    return {
        "layer": name,
        "network": found.name,
        "error": error,
        "bonds": [
            {
                "cores": list(bond.cores),
                "entropy": bond.entropy,
                "largest_entropy": bond.bound,
                "advice": enough,
                "standing_out": kept,
                "values": list(bond.values),
            }
            for bond, enough, kept in zip(found.bonds, advice, standing_out, strict=True)
        ],
    }


def _table(spectra: dict[str, Spectra], error: float) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("bond")
    for heading in ("values", "largest", "least", "entropy", "at most", f"for {error:g}", "VBMF"):
        table.add_column(heading, justify="right")
    for name, found in spectra.items():
        shown = name
        for bond, enough, kept in zip(found.bonds, found.advice(error), found.standing_out(), strict=True):
            ends = f"{bond.values[0]:.3g}", f"{bond.values[-1]:.3g}"
            entropies = f"{bond.entropy:.3f}", f"{bond.bound:.3f}"
            numbers = (str(len(bond.values)), *ends, *entropies, str(enough), str(kept))
            table.add_row(shown, " - ".join(core.removeprefix("core_") for core in bond.cores), *numbers)
            shown = ""
        if not found.bonds:
            table.add_row(name, "none")
    return table
