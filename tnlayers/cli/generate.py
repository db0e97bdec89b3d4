"""`tnlayers generate`: text from a trained language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tnlayers.cli.shared import JsonOption, LoadOption, load_files, out, print_json


def generate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a run of tnlayers train, or one .safetensors file in it.", show_default=False
        ),
    ],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What to continue.", show_default=False)],
    network: Annotated[
        str | None,
        typer.Option(metavar="NET", show_default=False, help="One network of the run (default: each of them)."),
    ] = None,
    length: Annotated[int, typer.Option(min=0, metavar="N", help="Tokens to add.")] = 300,
    temperature: Annotated[
        float, typer.Option(min=0.0, metavar="X", help="Below 1 draws more of the probable; 0 the most probable alone.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="Draw from the N most probable only.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the draws.")] = 0,
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a text with the models of a run, one text for each network.

    The same seed gives the same text.

    [bold]Examples[/bold]

    tnlayers generate runs/gpt-pico-shakespeare --prompt "ROMEO:"

    tnlayers generate runs/gpt-pico-shakespeare --prompt "O " --temperature 0.7
    """
    load_files(load)
    from tnlayers.backends import backend

    backend("torch")  # says what to install
    from tnlayers.train.trained_texts import trained_texts

    texts = {
        found.network: found.continued(prompt, length, temperature=temperature, top_k=top_k, seed=seed)
        for found in trained_texts(run, network=network)
    }
    if as_json:
        print_json(
            "texts", {"prompt": prompt, "seed": seed, "temperature": temperature, "top_k": top_k, "texts": texts}
        )
        return
    console = out()
    for name, text in texts.items():
        if len(texts) > 1:
            console.print(name, style="bold")
        console.print(text, soft_wrap=True)
        if len(texts) > 1:
            console.print()
