"""`tnlayers check`: one layer on every backend and dtype, against the einsum of its declaration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from tnlayers.cli import completion
from tnlayers.cli.shared import (
    InOption,
    JsonOption,
    LoadOption,
    OptionalSpecArgument,
    OutOption,
    load_files,
    out,
    print_json,
    read_spec,
)
from tnlayers.cli.usage import WrongCall
from tnlayers.errors import did_you_mean
from tnlayers.files.progress import progress

if TYPE_CHECKING:
    from tnlayers.verify.agreement import Difference


def check(
    spec: OptionalSpecArgument = None,
    in_features: InOption = None,
    out_features: OutOption = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Only this backend; may be repeated.",
            show_default="all",
            autocompletion=completion.backend,
        ),
    ] = None,
    load: LoadOption = None,
    kinds: Annotated[bool, typer.Option("--kinds", help="Small layers of every kind, in place of a SPEC.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a layer on every installed backend and dtype, and compare.

    Cores, output and gradients are compared with the float64 einsum of the
    declaration; differences are in units of the tolerance, which follows from
    the dtype and the number of summed terms. The exit status is 1 if one is
    above 1. jax in 64 bits runs in a process of its own.

    With --kinds, convolutions, embeddings and every other kind of layer are
    compared with their dense arithmetic in float64, forward.

    [bold]Examples[/bold]

    tnlayers check "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"

    tnlayers check "cp(rank=8)" --in 784 --out 256 --backend numpy --backend jax

    tnlayers check --kinds
    """
    load_files(load)
    from tnlayers.backends import backend as find
    from tnlayers.backends import installed, known
    from tnlayers.verify.agreement import check as run
    from tnlayers.verify.kinds import check_kinds

    if (spec is None) != kinds:
        raise WrongCall("Give a SPEC, or --kinds.")
    names = backend or installed()
    made = [] if spec is None else [read_spec(spec, in_features, out_features)]
    unknown = [name for name in names if name not in known()]
    if unknown:
        raise WrongCall(
            f"There is no backend {unknown[0]!r}.{did_you_mean(unknown[0], known())} Known backends: "
            f"{', '.join(sorted(known()))}."
        )
    with progress("checking", sum(len(find(name).dtypes) for name in names)) as step:
        found = check_kinds(names, step) if kinds else run(made, names, step)
    good = all(one.good for one in found)
    if as_json:
        print_json("check", {"good": good, "differences": [asdict(one) | {"good": one.good} for one in found]})
    else:
        out().print(_kinds(found) if kinds else _table(found))
        print("All within the tolerance." if good else "OFF: differences above 1 are no rounding.")
    if not good:
        raise typer.Exit(1)


def _table(found: Sequence[Difference]) -> Table:
    quantities = ("cores", "forward", "gradients")
    table = Table(box=box.SIMPLE, title=found[0].spec, title_justify="left")
    for name in ("backend", "dtype"):
        table.add_column(name)
    for name in quantities:
        table.add_column(name, justify="right")
    for backend, dtype in dict.fromkeys((one.backend, one.dtype) for one in found):
        row = {one.quantity: one for one in found if (one.backend, one.dtype) == (backend, dtype)}
        table.add_row(backend, dtype, *(_cell(row.get(quantity)) for quantity in quantities))
    return table


def _kinds(found: Sequence[Difference]) -> Table:
    table = Table(box=box.SIMPLE, title="Layers of every kind, forward", title_justify="left")
    dtypes = list(dict.fromkeys(one.dtype for one in found))
    for name in ("kind", "backend"):
        table.add_column(name)
    for name in dtypes:
        table.add_column(name, justify="right")
    by_cell = {(one.spec, one.backend, one.dtype): one for one in found}
    for text, backend in dict.fromkeys((one.spec, one.backend) for one in found):
        cells = [by_cell.get((text, backend, dtype)) for dtype in dtypes]
        table.add_row(text.partition(":")[0], backend, *("" if one is None else _cell(one) for one in cells))
    return table


def _cell(one: Difference | None) -> str:
    if one is None:
        return "no gradients"
    return f"{one.units:.3f}" if one.good else f"{one.units:.3g} ({one.where})"
