"""`tnlayers plan`: the contraction of one layer at one batch size, with the price of each step."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tnlayers import plan as make_plan
from tnlayers.cli import completion
from tnlayers.cli.shared import InOption, JsonOption, LoadOption, OutOption, SpecArgument, load_files, read_spec
from tnlayers.cli.usage import words

if TYPE_CHECKING:
    from tnlayers.planning.lowered import Objective


def plan(
    spec: SpecArgument,
    batch: Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Vectors that go through at once.")] = 1,
    in_features: InOption = None,
    out_features: OutOption = None,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            metavar="AIM",
            help="What to make cheapest: forward, training or inference.",
            autocompletion=completion.objective,
        ),
    ] = "forward",
    optimize: Annotated[
        str,
        typer.Option(
            "--optimize",
            metavar="NAME",
            help="auto, or an optimizer of opt_einsum: optimal, dp, greedy...",
            autocompletion=completion.optimizer,
        ),
    ] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="What bytes are counted for.")] = "float32",
    memory_limit: Annotated[
        int | None,
        typer.Option(
            "--memory-limit", min=1, metavar="BYTES", help="In use at most, beyond input, output, cores, gradients."
        ),
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Time the few best with torch and cache the fastest.")] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Whose rates rank plans: cpu, or cuda and a GPU's name.")
    ] = "cpu",
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the cheapest way to apply a layer to a batch.

    A tree: each step's equation with its flops, the bytes it moves and copies,
    the bytes of its result and those saved for backward; then the totals, beside
    the dense layer. Nothing is computed, unless --tune asks for it.

    [bold]Examples[/bold]

    tnlayers plan "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)" --batch 128

    tnlayers plan "mpo(cores=4, bond=16)" --in 784 --out 256 --batch 1

    tnlayers plan "mpo(cores=4, bond=16)" --in 4096 --out 4096 --batch 1024 --memory-limit 4000000
    """
    load_files(load)
    made = read_spec(spec, in_features, out_features)
    with words() if memory_limit is None and not tune else nullcontext():  # a limit is a wish, not a slip
        found = make_plan(
            made,
            batch,
            objective=cast("Objective", objective),
            optimize=optimize,
            dtype=dtype,
            memory_limit=memory_limit,
            tune=tune,
            device=device,
        )
    print(found.to_json() if as_json else found)
