"""`tnlayers explore`: the contraction of a layer as a page to step through and to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tnlayers.cli import completion
from tnlayers.cli.shared import (
    InOption,
    JsonOption,
    LoadOption,
    OutOption,
    SpecArgument,
    load_files,
    print_json,
    read_spec,
)
from tnlayers.cli.usage import words
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import make_grid
from tnlayers.explore.page import check_target, save_page
from tnlayers.files.progress import progress


def explore(
    spec: SpecArgument,
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Write this .html file.")] = Path(
        "explore.html"
    ),
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, metavar="N", help="A batch size to choose; may be repeated.")
    ] = None,
    bond: Annotated[
        list[int] | None, typer.Option("--bond", min=1, metavar="N", help="A bond or rank to choose; may be repeated.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="TYPE",
            help="A network type for the same sizes; may be repeated.",
            autocompletion=completion.spec,
        ),
    ] = None,
    optimize: Annotated[
        list[str] | None,
        typer.Option(
            "--optimize",
            metavar="NAME",
            help="auto, or an optimizer of opt_einsum; may be repeated.",
            autocompletion=completion.optimizer,
        ),
    ] = None,
    in_features: InOption = None,
    out_features: OutOption = None,
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page on which to explore how a layer is contracted.

    Step through the planner's order, or click two operands to contract them
    yourself, and see flops, bytes and memory beside the planner's; save the
    order as JSON for layer.use_plan. The page is one file that loads nothing.
    It holds a plan for each batch size, bond, network type and optimizer.

    [bold]Examples[/bold]

    tnlayers explore "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)" -o page.html

    tnlayers explore "mpo(cores=4, bond=16)" --in 784 --out 256 --batch 1 --batch 128 --network ring --bond 8
    """
    load_files(load)
    check_target(file)
    made = read_spec(spec, in_features, out_features)
    with words():
        grid = make_grid(made, batches=batch, bonds=bond, networks=network, optimizers=optimize)
    with progress("planning", grid.points) as step:
        data = page_data(grid, step)
    size = save_page(data, file)
    if as_json:
        print_json(
            "explored",
            {
                "file": str(file),
                "bytes": size,
                "plans": grid.points,
                "batches": grid.batches,
                "networks": {
                    kind["name"]: [each["spec"] for each in kind["bonds"]]
                    for part in data["parts"]
                    for kind in part["networks"]
                },
                "optimizers": sorted({name for choice in grid.choices for name in grid.optimizers_for(choice)}),
            },
        )
    else:
        print(f"{file}: {grid.points} plans, {size / 1000:.0f} kB. Open it in a browser.")
