"""`tnlayers describe`: what a model or a single layer holds, beside its dense twin."""

from __future__ import annotations

import inspect
import warnings
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from tnlayers.cli import completion
from tnlayers.cli.shared import (
    InOption,
    JsonOption,
    LoadOption,
    OutOption,
    check_networks,
    load_files,
    out,
    print_json,
    read_spec,
)
from tnlayers.cli.usage import WrongCall
from tnlayers.declare.registry import SHORT_NAMES, NetworkType, known_names, load_packages, network_types
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError, TNLayersWarning

if TYPE_CHECKING:
    from tnlayers.models import ModelReport


_SITES = 5  # places of a model that the list names


def describe(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL_OR_SPEC",
            help="A model (fc2, vgg16, ...), a layer in quotes, or a layer's .yaml or .json file.",
            show_default=False,
            autocompletion=completion.model_or_spec,
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NET",
            help='For a model: mpo (default, as in the paper), dense, a template such as "mpo(bond=8)", or '
            '"cp(equal)": another type with about as many parameters.',
            show_default=False,
            autocompletion=completion.network,
        ),
    ] = None,
    bond: Annotated[
        int | None, typer.Option("--bond", min=1, metavar="N", help="Bond dimension: --bond 8 is mpo(bond=8).")
    ] = None,
    in_features: InOption = None,
    out_features: OutOption = None,
    notes: Annotated[
        bool, typer.Option("--notes", help="Also print where the paper and its code disagree, and what is done here.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the models and the network types known.")] = False,
    load: LoadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count the parameters of a model or a layer, beside its dense twin.

    rho is the compression ratio: the weights of the replaced layers, without
    biases, over those of the dense layers.

    [bold]Examples[/bold]

    tnlayers describe fc2

    tnlayers describe lenet5 --network "mpo(bond=2)" --json

    tnlayers describe "mpo(cores=4, bond=16)" --in 784 --out 256
    """
    load_files(load)
    if listing == (what is not None):
        raise typer.BadParameter("Give either a model or a layer, such as fc2, or --list.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # every adjustment is among the notes that are printed
        if what is None:
            _list(as_json)
        elif _is_layer(what):
            if network is not None:
                raise typer.BadParameter(f"--network is for models; {what!r} already names its network.")
            _describe_layer(read_spec(what, in_features, out_features, bond), as_json)
        else:
            if in_features is not None or out_features is not None:
                raise typer.BadParameter(f"--in and --out are for a layer; {what!r} would be a model.")
            check_networks([network or "mpo"])
            _describe_model(what, _template(network or "mpo", bond), as_json, notes)


def _is_layer(what: str) -> bool:
    """Whether this is a spec, not the name of a model."""
    return not what.replace("-", "_").isidentifier() or what in known_names()


def _template(network: str, bond: int | None) -> str:
    if bond is None:
        return network
    if network == "dense":
        raise typer.BadParameter("--bond needs a tensor network; --network dense has none.")
    return str(make_spec(network, bond_dim=bond))


def _describe_model(name: str, network: str, as_json: bool, notes: bool) -> None:
    models = _models()
    try:
        models.find(name)
    except TNLayersError as error:
        types = ", ".join(sorted(known_names()))
        raise WrongCall(f"{error} Nor is it a network type: {types}. `tnlayers describe --list` has more.") from error
    report = models.describe(name, network=network)
    if as_json:
        print_json("model", report.as_dict())
    else:
        _print_model(report, notes)


def _models() -> Any:
    """The models' package, which loads torch.

    Raises:
        TNLayersError: If torch is not installed.
    """
    from tnlayers.backends import backend

    backend("torch")  # says what to install
    from tnlayers import models

    return models


def _print_model(report: ModelReport, notes: bool) -> None:
    console = out()
    if report.layers:
        table = _table("layer, and what takes its place", "weights", "dense", "rho")
        for layer in report.layers:
            words = f"{layer.name}: {layer.replaces}\n{layer.spec}"
            if layer.uniform_parameters != layer.parameters:
                words += f"\n({layer.uniform_parameters:,} weights by formula, with no bond clipped)"
            table.add_row(
                words,
                f"{layer.parameters:,}",
                f"{layer.dense_weights:,}",
                f"{layer.parameters / layer.dense_weights:.4f}",
            )
        replaced, dense = report.replaced.values()
        table.add_section()
        table.add_row("replaced layers, no biases", f"{replaced:,}", f"{dense:,}", f"{report.rho:.4f}")
        for key, words in (("weights", "whole model, no biases"), ("trainable", "whole model, all that is trained")):
            ours, theirs = (count[key] for count in report.total.values())
            table.add_row(words, f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.4f}")
    else:
        table = _table("", "dense")
        table.add_row("layers that a network can replace, no biases", f"{report.replaced['dense']:,}")
        table.add_row("whole model, no biases", f"{report.total['dense']['weights']:,}")
        table.add_row("whole model, all that is trained", f"{report.total['dense']['trainable']:,}")
    console.print(f"{report.model} with {report.network}", style="bold")
    console.print(table)
    _print_notes([(layer.name, note) for layer in report.layers for note in layer.notes])
    if report.differences and not notes:
        keys = ", ".join(point.key for point in report.differences)
        console.print(f"\nPaper and code disagree in {len(report.differences)} points; --notes explains them: {keys}.")
        return
    if report.differences:
        console.print("\nWhere the paper and its code disagree, and what is done here", style="bold")
    for point in report.differences:
        console.print(f"{point.key}: {point.what} Here: {point.here}")


def _describe_layer(spec: Spec, as_json: bool) -> None:
    cores = [{"name": name, "shape": list(shape), "parameters": prod(shape)} for name, shape in spec.shapes.items()]
    bias = spec.out_features if spec.bias else 0
    if as_json:
        print_json(
            "layer",
            {
                "spec": str(spec),
                "in_features": spec.in_features,
                "out_features": spec.out_features,
                "cores": cores,
                "parameters": spec.parameters,
                "bias": bias,
                "dense_parameters": spec.dense_parameters,
                "rho": spec.rho,
                "notes": list(spec.notes),
            },
        )
        return
    table = _table("core", "shape", "parameters")
    for name, shape in spec.shapes.items():
        table.add_row(name, "x".join(map(str, shape)), f"{prod(shape):,}")
    table.add_section()
    table.add_row("all cores", "", f"{spec.parameters:,}")
    table.add_row("dense weight", f"{spec.out_features}x{spec.in_features}", f"{spec.dense_parameters:,}")
    table.add_row("rho", "", f"{spec.rho:.4f}")
    if bias:
        table.add_row("bias, not in rho", str(bias), f"{bias:,}")
    console = out()  # titles are no part of the tables: there they would be wrapped to the table's width
    console.print(str(spec), style="bold", soft_wrap=True)
    console.print(table)
    _print_notes([(None, note) for note in spec.notes])


def _list(as_json: bool) -> None:
    from tnlayers.backends import installed

    models: dict[str, tuple[int, list[str]]] = {}
    if "torch" in installed():
        found = _models()
        for name in found.names():
            weights = found.describe(name, network="dense").total["dense"]["weights"]
            models[name] = weights, [site.name for site in found.find(name).sites]
    broken = load_packages()
    kinds = network_types()
    if as_json:
        print_json(
            "list",
            {
                "models": {name: {"weights": weights, "replaces": sites} for name, (weights, sites) in models.items()},
                "networks": {kind.name: _facts(kind) for kind in kinds},
                "broken": list(broken),
            },
        )
        return
    table = _table("model", "dense weights", "replaced layers")
    for name, (weights, sites) in models.items():
        shown = sites if len(sites) <= _SITES else [*sites[: _SITES - 1], f"... ({len(sites)} in all)"]
        table.add_row(name, f"{weights:,}", ", ".join(shown))
    table.columns[2].justify = "left"
    console = out()
    console.print(table if models else "Models need torch: pip install tnlayers[torch]")
    table = _table("network type", "what it is", "from")
    table.columns[1].justify = table.columns[2].justify = "left"
    for kind in kinds:
        keywords = _facts(kind)["keywords"].items()
        words = ", ".join(key if default is None else f"{key}={default}" for key, default in keywords)
        table.add_row(f"{kind.name}({words})", kind.summary, kind.source)
    console.print()
    console.print(table)
    _print_notes([(None, sentence) for sentence in broken])


def _facts(kind: NetworkType) -> dict[str, Any]:
    """What the list shows about a network type; a keyword without a default number has None."""
    defaults = {SHORT_NAMES.get(key, key): default for key, default in kind.keywords.items()}
    return {
        "summary": kind.summary,
        "cores": kind.cores,
        "keywords": {key: None if value is inspect.Parameter.empty else value for key, value in defaults.items()},
        "per_edge": sorted(SHORT_NAMES.get(key, key) for key in kind.per_edge),
        "source": kind.source,
    }


def _table(*headings: str) -> Table:
    """A table without lines around it: the first column left, the others right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _print_notes(notes: list[tuple[str | None, str]]) -> None:
    for name, note in notes:
        out().print(f"note: {name}: {note}" if name else f"note: {note}")
