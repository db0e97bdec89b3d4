"""`tnlayers bench`: time layers against dense ones, other libraries and the machine's limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tnlayers.backends import backend
from tnlayers.cli.shared import JsonOption, print_json
from tnlayers.progress import progress


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few small cells, in minutes.")] = False,
    cells: Annotated[
        str | None,
        typer.Option("--cells", metavar="TEXT", help="Only cells whose name contains this, as b128-training."),
    ] = None,
    cap: Annotated[float, typer.Option("--cap", min=0, metavar="S", help="Seconds per cell for rounds.")] = 20.0,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Results; cells that it has are not measured again.")
    ] = Path("runs/bench.json"),
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PAGE.md", help="Write this page, with pictures beside it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time layers against dense ones, other libraries and this machine's limit.

    Nothing else should run on the machine meanwhile. Other libraries are
    compared where they are installed; `make bench` installs all of them.

    [bold]Examples[/bold]

    tnlayers bench --quick

    tnlayers bench --cells 4096-4096-c4-r16 --report bench.md
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which measures memory, is chatty
    backend("torch")  # says what to install
    from tnlayers.bench.cells import grid, select
    from tnlayers.bench.cells import quick as few
    from tnlayers.bench.report import write_report
    from tnlayers.bench.run import run_cells

    chosen = select(few() if quick else grid(), cells)
    with progress("measuring", len(chosen)) as step:

        def tell(line: str) -> None:
            step()
            if not as_json:
                typer.echo(line)

        data = run_cells(chosen, out, cap=cap, tell=tell)
    if report is not None:
        write_report(data, report)
    if as_json:
        print_json({cell.name: data["cells"][cell.name] for cell in chosen})
