"""`tnlayers bench`: time layers against dense ones, other libraries and the machine's limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tnlayers.backends import backend
from tnlayers.cli.shared import JsonOption, print_json
from tnlayers.files.progress import progress

MOST = 10_000  # layers of a draw: more than anybody measures


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few small cells, in minutes.")] = False,
    cells: Annotated[
        str | None,
        typer.Option("--cells", metavar="TEXT", help="Only cells whose name contains this, as b128-training."),
    ] = None,
    drawn: Annotated[
        int | None,
        typer.Option("--random", min=1, max=MOST, metavar="N", help="N layers with a batch each, drawn at random."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="S", help="Of --random's draw (default 0).")
    ] = None,
    cap: Annotated[
        float, typer.Option("--cap", min=0, metavar="S", help="Seconds of rounds per cell; named cells take 3 times.")
    ] = 5.0,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, metavar="MIN", help="Begin nothing that would end later than this; 0: report."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Results; cells that it has are not measured again.")
    ] = Path("runs/bench.json"),
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PAGE.md", help="Write this page, with pictures beside it.")
    ] = None,
    gpu: Annotated[
        Path | None, typer.Option("--gpu", metavar="FILE", help="A GPU's results for the page, by docs/results/gpu.py.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again what FILE has of another commit, machine or version.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Time layers against dense ones, other libraries and this machine's limit.

    The most telling cells come first, and results are written after each, so
    that a run may be stopped, and continues when it is called again. Nothing else
    should run on the machine meanwhile. Other libraries are compared where they
    are installed; `make bench` installs all of them.

    [bold]Examples[/bold]

    tnlayers bench --quick

    tnlayers bench --budget 45 --report bench.md

    tnlayers bench --cells 4096-4096-c4-r16

    tnlayers bench --random 60 --seed 7 --out runs/random.json --report random.md
    """
    if drawn is not None and quick:
        raise typer.BadParameter("--quick and --random each say which cells are measured: leave one of the two.")
    if seed is not None and drawn is None:
        raise typer.BadParameter("--seed is of a draw: it goes with --random N.")
    # torch's profiler, which measures memory, is chatty
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    backend("torch")  # says what to install
    from tnlayers.bench.call_memory import spare_the_machine
    from tnlayers.bench.drawn import drawn as draw
    from tnlayers.bench.report import write_report
    from tnlayers.bench.run import run_items
    from tnlayers.bench.schedule import quick as few
    from tnlayers.bench.schedule import schedule, select

    spare_the_machine()
    of_all = draw(drawn, seed or 0) if drawn is not None else few() if quick else schedule()
    chosen = select(of_all, cells)
    with progress("measuring", len(chosen)) as step:

        def report_line(line: str) -> None:
            step()
            if not as_json:
                typer.echo(line)

        data = run_items(chosen, out, cap=cap, budget=budget, again=again, report_line=report_line)
    if report is not None:
        write_report(data, report, gpu)
    if as_json:
        measured = data["cells"] | data["growth"]
        print_json("benchmark", {item.name: measured[item.name] for item in chosen if item.name in measured})
