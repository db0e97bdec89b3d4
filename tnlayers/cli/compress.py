"""`tnlayers compress`: a trained model within a budget, from a file or a factory, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import BadZipFile

import typer

from tnlayers.cli.shared import JsonOption, LoadOption, check_networks, load_files
from tnlayers.cli.trained import TrainedArgument, trained
from tnlayers.errors import TNLayersError
from tnlayers.files.documents import read_mapping

if TYPE_CHECKING:
    from torch import Tensor, nn


def compress(
    what: TrainedArgument,
    ratio: Annotated[float | None, typer.Option(metavar="X", help="At most this share of all parameters.")] = None,
    max_params: Annotated[int | None, typer.Option(metavar="N", help="At most so many parameters.")] = None,
    max_flops: Annotated[int | None, typer.Option(metavar="N", help="At most so many flops of a forward pass.")] = None,
    max_bytes: Annotated[int | None, typer.Option(metavar="N", help="At most so many bytes of the file.")] = None,
    bits: Annotated[
        int | None, typer.Option(metavar="8|4", help="Round cores and dense weights to so many bits.")
    ] = None,
    error: Annotated[float | None, typer.Option(metavar="X", help="At most this relative error per layer.")] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NET", help="Network types to choose from (default mpo and lowrank, by measured error); repeatable."
        ),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: patterns on layer names, each with a template or null.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Inputs of the model as .npy; errors of outputs then count.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Batch that flops and times are for.")] = 1,
    replaced: Annotated[bool, typer.Option("--replaced", help="--ratio is of the replaced layers alone.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a budget met only more than 2 % below.")] = False,
    avoid_slower: Annotated[bool, typer.Option("--avoid-slower", help="No layer predicted to be slower.")] = False,
    search: Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to search shapes and orders.")] = 0.0,
    cache: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Store what is computed, and reuse it.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write the model (.safetensors).")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report: .html, .json or text.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build nothing; also without --out and --report.")] = False,
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a trained model within one budget, and report the result.

    The file that --out writes is read by tnl.load(file, into=model), the model
    being the dense one.

    [bold]Examples[/bold]

    tnlayers compress mine:make_model --ratio 0.2 --sample data.npy --report out.html --out small.safetensors

    tnlayers compress model.safetensors --max-params 1000000 --network lowrank --dry-run
    """
    load_files(load)
    check_networks(network or [])
    if report is not None and not report.parent.is_dir():
        raise TNLayersError(f"--report {report}: the folder {report.parent} does not exist.")
    model, runs = trained(what)
    import tnlayers as tnl

    if sample is not None and not runs:
        raise TNLayersError(f"{what} is a plain state dict, which cannot run on a --sample. Give module:function.")
    result = tnl.compress(
        model,
        ratio=ratio,
        max_params=max_params,
        max_flops=max_flops,
        max_bytes=max_bytes,
        bits=bits,
        error=error,
        network=network or None,
        rules=None if rules is None else _rules(rules),
        sample=None if sample is None else _sample(sample, model),
        batch=batch,
        ratio_of="replaced" if replaced else "model",
        strict=strict,
        avoid_slower=avoid_slower,
        search=search,
        cache=cache,
        dry_run=dry_run or (out is None and report is None),
        inplace=True,
    )
    if out is not None and not dry_run:
        tnl.save(result.model, out)
    if report is not None:
        from tnlayers.files.atomic import write_text

        texts = {".html": result.report.to_html, ".json": result.report.to_json}
        write_text(report, texts.get(report.suffix, lambda: f"{result.report}\n")())
    print(result.report.to_json() if as_json else result.report)


def _rules(path: Path) -> dict[str, Any]:
    rules = read_mapping(path, "--rules", "`'fc*': mpo(cores=3)`, one per pattern")
    return {str(pattern): rule for pattern, rule in rules.items()}


def _sample(path: Path, model: nn.Module) -> Tensor:
    import numpy as np
    import torch

    try:
        with path.open("rb") as file:
            found = torch.from_numpy(np.load(file, allow_pickle=False))
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:  # an .npz file and texts are the third
        raise TNLayersError(f"--sample {path} is no .npy file of numbers: {error}") from error
    own = next(model.parameters())
    return found.to(own.device, own.dtype) if found.is_floating_point() else found.to(own.device)
