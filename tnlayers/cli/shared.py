"""What several commands share: options, reading a spec, and printing."""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tnlayers.cli import completion, usage
from tnlayers.declare.grammar import EQUAL
from tnlayers.declare.spec import Spec, spec
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.networks.yaml_file import load_network

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _spec_argument(metavar: str) -> Any:
    help = "A layer in quotes, or a .yaml or .json file."
    return typer.Argument(metavar=metavar, help=help, show_default=False, autocompletion=completion.spec)


SpecArgument = Annotated[str, _spec_argument("SPEC")]
OptionalSpecArgument = Annotated[str | None, _spec_argument("[SPEC]")]
InOption = Annotated[
    int | None, typer.Option("--in", min=1, metavar="N", help="Input features, for a SPEC without sizes.")
]
OutOption = Annotated[
    int | None, typer.Option("--out", min=1, metavar="N", help="Output features, for a SPEC without sizes.")
]
PictureOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write the picture to this .svg, .html, .png or .pdf file."),
]
ThemeOption = Annotated[
    str,
    typer.Option(
        "--theme",
        metavar="NAME",
        help="light, dark, or auto: as the reader prefers.",
        autocompletion=completion.theme,
    ),
]
LoadOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--load",
        metavar="FILE",
        help="Read network types first: run a Python file that declares them, or read a YAML file.",
    ),
]


def read_spec(text: str, in_features: int | None, out_features: int | None, bond: int | None = None) -> Spec:
    """Make the sized spec that the arguments of a command describe.

    Args:
        text: A spec's string, or the path of a .json, .yaml or .yml file.
        in_features: Value of --in.
        out_features: Value of --out.
        bond: Value of --bond; it wins over the text.

    Raises:
        TNLayersError: The file is no spec.
        WrongCall: The text is no spec, or the sizes are missing.
        typer.BadParameter: One of --in and --out is there without the other.
    """
    if (in_features is None) != (out_features is None):
        raise typer.BadParameter("--in and --out go together, such as --in 784 --out 256.")
    keywords = {} if bond is None else {"bond_dim": bond}
    with warnings.catch_warnings():  # a file's own sizes may be adjusted before --bond is applied: reported once, below
        warnings.simplefilter("ignore", TNLayersWarning)
        given = _read_file(Path(text)) if Path(text).suffix in (".json", ".yaml", ".yml") else text
    if completion.is_model(text):
        raise usage.WrongCall(
            f"{text!r} is a whole model, and a layer is needed here, such as 'mpo(cores=4, bond=16)' with --in 784 "
            f"--out 256. `tnlayers describe {text}` lists the model's layers."
        )
    with usage.words():
        made = spec(given, in_features, out_features, **keywords)
    if not made.sized:
        raise usage.WrongCall(
            f"{made} is a template, it has no sizes. Add them, such as --in 784 --out 256, or write the modes: "
            f"'{made.network}(in=4x7x7x4, out=4x4x4x4)'."
        )
    return made


def check_networks(networks: Iterable[str]) -> None:
    """Refuse what is no network for the places of a model, before any framework is loaded.

    Args:
        networks: Each "dense", a template such as "mpo(bond=8)", or a type with "(equal)".

    Raises:
        WrongCall: One of them is none of these.
    """
    with usage.words():
        for network in networks:
            if network != "dense":
                spec(network.removesuffix(EQUAL))


def _read_file(path: Path) -> Spec:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TNLayersError(f"Cannot read the spec file {path}: {getattr(error, 'strerror', error)}.") from error
    try:
        return Spec.from_json(text) if path.suffix == ".json" else Spec.from_yaml(text)
    except TNLayersError as error:
        raise TNLayersError(f"{path}: {error}") from error


def load_files(paths: list[Path] | None) -> None:
    """Read the user's own network types: Python files are run, YAML files are read.

    Raises:
        TNLayersError: A file is absent or fails.
    """
    for path in paths or []:
        if path.suffix in (".yaml", ".yml"):
            load_network(path)
            continue
        found = importlib.util.spec_from_file_location(path.stem, path)
        if path.suffix != ".py" or not path.is_file() or found is None or found.loader is None:
            raise TNLayersError(
                f"--load {path}: there is no such Python file. It must exist and end in .py (a network file in .yaml)."
            )
        module = importlib.util.module_from_spec(found)
        # Known by its name while it runs and after: dataclasses and pickle look modules up there.
        sys.modules.setdefault(path.stem, module)
        try:
            found.loader.exec_module(module)
        except TNLayersError as error:
            raise TNLayersError(f"--load {path}: {error}") from error
        except Exception as error:
            raise TNLayersError(
                f"--load {path} failed: {type(error).__name__}: {error}. TNLAYERS_DEBUG=1 shows where."
            ) from error


def print_json(form: str, data: Any) -> None:
    """Print data as JSON to the standard output, with its `format`, "tnlayers.<form>/1"; a list has it in each entry.

    `docs/json.md` lists the keys of all forms.
    """
    mark = {"format": f"tnlayers.{form}/1"}
    print(json.dumps([mark | one for one in data] if isinstance(data, list) else mark | data, indent=2))


def out() -> Console:
    """The standard output for tables: text in brackets is text, numbers stay uncoloured."""
    return Console(markup=False, highlight=False, emoji=False)
