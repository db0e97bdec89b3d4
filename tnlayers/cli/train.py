"""`tnlayers train`: train a model and its dense twin, print one table, write one folder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnlayers.cli import completion
from tnlayers.cli.shared import JsonOption, LoadOption, check_networks, load_files, out, print_json
from tnlayers.cli.usage import words
from tnlayers.files import stopping

if TYPE_CHECKING:
    from tnlayers.train.run_result import RunResult

_RECIPE = "Recipe (the default is the one for MODEL on DATA)"
_MACHINE = "Machine"
_FOLDER = "Folder of the run"


def _option(panel: str, name: str, metavar: str | None, words: str, **more: Any) -> Any:
    """An option whose default is in the configuration, so that a file can set it; None means "not given"."""
    return typer.Option(name, metavar=metavar, help=words, rich_help_panel=panel, show_default=False, **more)


def settings_of(config: object, load: object, as_json: object, out_dir: Path | None, **settings: Any) -> dict[str, Any]:
    """The options as settings of the configuration: of the same names, but for these four."""
    return settings | {"out": out_dir}


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="fc2, lenet5, vgg16, gpt-pico, ...; may be in --config.",
            show_default=False,
            autocompletion=completion.model,
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NETS",
            show_default=False,
            autocompletion=completion.networks,
            help='One model each, by commas: mpo,dense (default); "mpo(bond=8)".',
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",  # typer 0.27 would call it --DATA, after the metavar
            metavar="DATA",
            show_default=False,
            help="digits (default; no download), mnist, cifar10, shakespeare, ..., a text file.",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="FORM", show_default=False, help="Of a text: characters (default), or bpe-512: byte pairs."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="YAML with any of these settings; options win over it."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", show_default=False, help="Train with this seed (default 0).")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N", show_default=False, help="Train with seeds 0 to N-1, or with a list such as 4,7."),
    ] = None,
    load: LoadOption = None,
    as_json: JsonOption = False,
    recipe: Annotated[
        str | None,
        _option(_RECIPE, "--recipe", "NAME", "paper, fast for few epochs, ...; options below change it."),
    ] = None,
    epochs: Annotated[int | None, _option(_RECIPE, "--epochs", "N", "Passes over the training part.", min=1)] = None,
    batch: Annotated[int | None, _option(_RECIPE, "--batch", "N", "Images or texts per step.", min=1)] = None,
    steps: Annotated[
        int | None, _option(_RECIPE, "--steps", "N", "Steps of an epoch; 0: one pass over the training part.", min=0)
    ] = None,
    lr: Annotated[float | None, _option(_RECIPE, "--lr", "X", "Learning rate of the first step.")] = None,
    lr_decay: Annotated[
        float | None, _option(_RECIPE, "--lr-decay", "X", "Factor on the learning rate per epoch, such as 0.99.")
    ] = None,
    momentum: Annotated[
        float | None, _option(_RECIPE, "--momentum", "X", "Momentum of SGD, beta1 of AdamW, 0 to 1.")
    ] = None,
    nesterov: Annotated[bool | None, _option(_RECIPE, "--nesterov/--no-nesterov", None, "Nesterov's momentum.")] = None,
    l2: Annotated[
        float | None, _option(_RECIPE, "--l2", "X", "Weight of 0.5 * sum of squares of all trainables.")
    ] = None,
    weight_decay: Annotated[float | None, _option(_RECIPE, "--weight-decay", "X", "AdamW's weight decay.")] = None,
    clip_norm: Annotated[
        float | None, _option(_RECIPE, "--clip-norm", "X", "Largest norm of the gradient; 0 leaves it as it is.")
    ] = None,
    label_smoothing: Annotated[
        float | None, _option(_RECIPE, "--label-smoothing", "X", "Share of a label spread over all classes.")
    ] = None,
    average: Annotated[
        float | None, _option(_RECIPE, "--average", "X", "Test moving averages of the weights, of this decay; 0: none.")
    ] = None,
    flip_test: Annotated[
        bool | None,
        _option(_RECIPE, "--flip-test/--no-flip-test", None, "Classify test images with their mirror images."),
    ] = None,
    validation: Annotated[
        int | None, _option(_RECIPE, "--validation", "N", "Images or tokens held out, to choose the epoch.")
    ] = None,
    paper_selection: Annotated[
        bool | None, _option(_RECIPE, "--paper-selection", None, "No validation set: best test epoch, as in the paper.")
    ] = None,
    backend: Annotated[
        str | None, _option(_MACHINE, "--backend", "NAME", "torch (default), or jax: fc2 and lenet5, on one device.")
    ] = None,
    accelerator: Annotated[
        str | None, _option(_MACHINE, "--accelerator", "NAME", "auto (default), cpu, cuda, mps.")
    ] = None,
    devices: Annotated[
        str | None, _option(_MACHINE, "--devices", "N", "How many, one process each (default 1), or auto.")
    ] = None,
    strategy: Annotated[
        str | None, _option(_MACHINE, "--strategy", "NAME", "auto (default), ddp (copies), fsdp (weights shared out).")
    ] = None,
    nodes: Annotated[int | None, _option(_MACHINE, "--nodes", "N", "Machines (default 1).", min=1)] = None,
    precision: Annotated[
        str | None, _option(_MACHINE, "--precision", "NAME", "32-true, bf16-mixed, 64-true, ... (default: recipe's)")
    ] = None,
    threads: Annotated[
        int | None, _option(_MACHINE, "--threads", "N", "CPU threads (default: torch's choice).", min=1)
    ] = None,
    data_root: Annotated[
        Path | None,
        _option(_MACHINE, "--data-root", "DIR", "Where data lie (default: TNLAYERS_DATA, else download)."),
    ] = None,
    out_dir: Annotated[Path | None, _option(_FOLDER, "--out", "DIR", "Folder of all runs (default: runs).")] = None,
    name: Annotated[str | None, _option(_FOLDER, "--name", "NAME", "This run's folder (default: MODEL-DATA).")] = None,
    resume: Annotated[bool | None, _option(_FOLDER, "--resume", None, "Continue the run that is there.")] = None,
    overwrite: Annotated[bool | None, _option(_FOLDER, "--overwrite", None, "Delete the run that is there.")] = None,
    checkpoint_seconds: Annotated[
        float | None,
        _option(_FOLDER, "--checkpoint-seconds", "S", "Least seconds between checkpoints (default 20)."),
    ] = None,
    keep: Annotated[
        int | None, _option(_FOLDER, "--keep", "N", "Checkpoints stored of each model (default 1).", min=1)
    ] = None,
) -> None:
    """Train a model and its dense twin, and compare them in one table.

    Writes a folder with a picture (accuracy.png), metrics.csv, results.json,
    the configuration and the weights. If a run is stopped, the same command
    with --resume continues it and gives identical results.

    [bold]Examples[/bold]

    tnlayers train lenet5 --network mpo,dense --data digits

    tnlayers train fc2 --network "mpo(bond=4),dense" --data mnist --seeds 3

    tnlayers train vgg16 --data cifar10 --recipe fast --epochs 10

    tnlayers train gpt-pico --network "mpo(bond=16),dense" --data shakespeare
    """
    given = settings_of(**locals())
    load_files(load)
    from tnlayers.train import TrainConfig
    from tnlayers.train import train as run

    with words() if config is None else nullcontext():  # a file may be wrong, or absent, with the words right
        settings = TrainConfig.resolve(config, **given)
    check_networks(settings.networks)
    stopping.announce("Stopped. The same command with --resume continues from the last checkpoint.")
    result = run(settings)
    if result.main_process:
        _print(result, as_json)


def _print(result: RunResult, as_json: bool) -> None:
    from tnlayers.train.directory import RunDirectory

    place = RunDirectory(root=result.directory, model=result.config.model)
    if as_json:
        print_json("run", result.as_dict() | {"directory": str(place.root)})
        return
    console = out()
    console.print(result.table())
    console.print()
    weights = sorted({place.root / seed.weights_file for network in result.networks for seed in network.seeds})
    for label, path in (
        ("picture", place.plot),
        ("every epoch", place.metrics),
        ("results", place.results),
        ("configuration", place.config),
        *(("weights", path) for path in weights[:1]),
    ):
        more = f" and {len(weights) - 1} more" if label == "weights" and len(weights) > 1 else ""
        console.print(f"{label:14}{path}{more}", soft_wrap=True)
