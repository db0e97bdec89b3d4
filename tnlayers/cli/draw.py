"""`tnlayers draw`: the picture of a layer's network, or of its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from tnlayers import draw as draw_things
from tnlayers import plan as make_plan
from tnlayers.cli import completion
from tnlayers.cli.shared import (
    InOption,
    JsonOption,
    LoadOption,
    OutOption,
    PictureOption,
    ThemeOption,
    load_files,
    print_json,
    read_spec,
)
from tnlayers.cli.usage import words

if TYPE_CHECKING:
    from tnlayers.draw.theme import Theme
    from tnlayers.planning.lowered import Objective


def draw(
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC...",
            help="Layers in quotes, or .yaml or .json files.",
            autocompletion=completion.spec,
            show_default=False,
        ),
    ],
    show_plan: Annotated[
        bool, typer.Option("--plan", help="Draw the plan: its contraction tree and its steps over time.")
    ] = False,
    batch: Annotated[
        list[int] | None,
        typer.Option("--batch", min=1, metavar="N", help="Batch size of the plan; twice for two plans side by side."),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            metavar="AIM",
            help="What plans make cheapest: forward or training.",
            autocompletion=completion.objective,
        ),
    ] = "forward",
    file: PictureOption = None,
    theme: ThemeOption = "auto",
    in_features: InOption = None,
    out_features: OutOption = None,
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a layer's tensor network, or its plan.

    Cores are discs, bonds are as wide as their dimension, inputs are below,
    outputs above. Without -o or --json the SVG goes to the standard output.

    [bold]Examples[/bold]

    tnlayers draw "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)" -o mpo.svg

    tnlayers draw "mpo(cores=4, bond=16)" --in 784 --out 256 --plan --batch 1 --batch 128 -o plans.png
    """
    load_files(load)
    made = [read_spec(text, in_features, out_features) for text in specs]
    with words():
        things = (
            [make_plan(spec, size, objective=cast("Objective", objective)) for spec in made for size in (batch or [1])]
            if show_plan or batch
            else made
        )
        picture = draw_things(*things, theme=cast("Theme", theme))
    if file is not None:
        picture.save(file)
    if as_json:
        print_json("picture", picture.to_dict())
    elif file is None:
        print(picture.svg, end="")
