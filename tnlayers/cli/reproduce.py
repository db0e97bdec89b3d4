"""`tnlayers reproduce`: run what is missing of the paper's tables and figures, and write the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from tnlayers.cli import completion
from tnlayers.cli.shared import JsonOption, out, print_json
from tnlayers.errors import TNLayersError
from tnlayers.files import stopping

if TYPE_CHECKING:
    from tnlayers.reproduce.schedule import Job


def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PART",
            help="table1, table2, fig2, fig3 or all; or types: other networks in the same places, not part of all.",
            autocompletion=completion.part,
        ),
    ] = "all",
    budget: Annotated[
        float, typer.Option(min=0, metavar="MINUTES", help="Time for training; 0 only writes the page.")
    ] = 60.0,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each row, seeds 0 to N-1.")] = 5,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="paper (default), or fast where a model has it."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="Other than the recipe's.")
    ] = None,
    paper_selection: Annotated[
        bool,
        typer.Option(
            "--paper-selection", help="No validation set: best test epoch, as in the paper. Reported as such."
        ),
    ] = False,
    time_steps: Annotated[
        bool, typer.Option("--time-steps", help="First time a training step of each row, up to 20 s each, if unknown.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Only the rows of this model.", autocompletion=completion.model
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Where data lie, as for train.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", show_default=False, help="CPU threads.")] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs, old and new.")] = Path("runs"),
    docs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of paper.md, results/ and img/.")] = Path("docs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would run, and how long.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run what is missing of the paper's tables and figures, and write docs/paper.md.

    Runs that are stored already, or lie finished in the folder of runs, are not
    run again. The budget ends the last training at a checkpoint, and the same
    command continues it.

    [bold]Examples[/bold]

    tnlayers reproduce --dry-run

    tnlayers reproduce fig2 --paper-selection --seeds 3 --budget 120

    tnlayers reproduce types --model lenet5 --seeds 1

    tnlayers reproduce --budget 0
    """
    from tnlayers.backends import backend

    backend("torch")  # says what to install
    from tnlayers.models.differences import differences
    from tnlayers.reproduce.paper import PARTS, TYPES, rows
    from tnlayers.reproduce.running import work
    from tnlayers.reproduce.schedule import schedule, within
    from tnlayers.reproduce.store import Store
    from tnlayers.reproduce.writing import complete, measure_steps, write

    if what not in ("all", TYPES, *PARTS):
        raise typer.BadParameter(f"{what!r} is none of all, {', '.join(PARTS)}, {TYPES}.")
    wanted = [row for row in rows(what) if model in (None, row.model)]
    if not wanted:
        there = dict.fromkeys(row.model for row in rows(what))
        raise TNLayersError(f"{what} has no row of model={model!r}; it has {', '.join(there)}.")
    stopping.announce("Stopped. What is done is stored: the same command continues from the last checkpoint.")
    store = Store(folder=docs / "results")
    structure = complete(store, keep=not dry_run)
    taken = [] if dry_run else store.gather(sorted(folder for folder in runs.glob("*") if folder.is_dir()))
    if time_steps and not dry_run:
        measure_steps(store, wanted)
    jobs = schedule(
        wanted, store.runs(), structure, seeds=seeds, out=runs, recipe=recipe, epochs=epochs, selection=paper_selection
    )
    chosen = within(jobs, budget)
    points = dict.fromkeys(point.key for row in wanted for point in differences(row.model))
    if not as_json:
        _print(jobs, chosen, budget)
        if taken:
            out().print(f"{len(taken)} finished runs in {runs} are new and stored.", soft_wrap=True)
        out().print(
            f"Paper and code disagree in {len(points)} points on these models (listed at the end of the page, and by "
            f"tnlayers describe): {', '.join(points)}.",
            soft_wrap=True,
        )
    finished = []
    if not dry_run:
        for job, found in work(chosen, minutes=budget, data_root=data_root, threads=threads):
            store.add(found)
            if found:
                finished.append(job)
                write(store, docs)
        write(store, docs)
    if as_json:
        print_json(
            "reproduction",
            _report(jobs, chosen, finished, docs) | {"differences": list(points), "taken_in": len(taken)},
        )
    elif not dry_run:
        out().print(f"{len(finished)} runs finished. The page: {docs / 'paper.md'}", soft_wrap=True)


def _report(jobs: list[Job], chosen: list[Job], finished: list[Job], docs: Path) -> dict[str, Any]:
    return {
        "missing": [job.as_dict() for job in jobs],
        "missing_minutes": round(sum(job.minutes for job in jobs), 1),
        "chosen": len(chosen),
        "finished": [job.as_dict() for job in finished],
        "page": str(docs / "paper.md"),
    }


def _print(jobs: list[Job], chosen: list[Job], budget: float) -> None:
    """The runs that fit, and how much more is missing."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("part", "model", "network", "seed", "epochs", "minutes", "predicted by"):
        table.add_column(heading, justify="right" if heading in ("seed", "minutes") else "left")
    for job in chosen:
        words = f"{job.source}{', started' if job.unfinished else ''}"
        row = job.row
        table.add_row(
            row.part, row.model, row.network, str(job.seed), f"{job.epochs} {job.recipe}", f"{job.minutes:,.0f}", words
        )
    console = out()
    if chosen:
        console.print(table)
    if chosen and chosen[0].minutes / chosen[0].epochs > budget > 0:
        console.print(
            f"An epoch of the first takes about {chosen[0].minutes / chosen[0].epochs:,.0f} minutes here, and a run "
            "continues from its last whole epoch: this budget gains nothing.",
            soft_wrap=True,
        )
    total = sum(job.minutes for job in jobs)
    console.print(
        f"{len(jobs)} runs are missing, about {total:,.0f} minutes here; a budget of {budget:g} minutes begins "
        f"{len(chosen)} of them.",
        soft_wrap=True,
    )
    if otherwise := [job for job in jobs if job.otherwise]:
        stored, option = ("with", "without") if otherwise[0].selection else ("without", "with")
        console.print(
            f"{len(otherwise)} of them are stored {stored} a validation set: {option} --paper-selection they count.",
            soft_wrap=True,
        )
