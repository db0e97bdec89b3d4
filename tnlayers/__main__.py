"""The command line: `tnlayers` and `python -m tnlayers`.

Each command lives in its own module of `tnlayers.cli`. Here is what they share: a refusal becomes one paragraph on the
error stream and exit status 1 (2 where the words of the call alone are wrong), an adjustment becomes one line that
begins with "note:", and the standard output holds results alone; with --json a refusal is there too, as JSON. Nothing
here loads a framework.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn, TextIO

import typer

from tnlayers import __version__
from tnlayers.cli.bench import bench
from tnlayers.cli.calibrate import calibrate
from tnlayers.cli.check import check
from tnlayers.cli.compress import compress
from tnlayers.cli.describe import describe
from tnlayers.cli.draw import draw
from tnlayers.cli.explore import explore
from tnlayers.cli.generate import generate
from tnlayers.cli.plan import plan
from tnlayers.cli.reproduce import reproduce
from tnlayers.cli.spectra import spectra
from tnlayers.cli.train import train
from tnlayers.cli.usage import Command, Group, WrongCall
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files import stopping

app = typer.Typer(
    name="tnlayers",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tnlayers {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with `tnlayers describe lenet5`; `tnlayers train --help` shows what a command takes.")
def _tnlayers(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Neural-network layers declared as tensor-network graphs: count them, plan them, train them."""


_LOOK, _RUN, _HERE = "Look at a layer or a model", "Train and compress", "Check and measure"
for _command in (describe, plan, draw, explore, spectra):
    app.command(cls=Command, no_args_is_help=True, rich_help_panel=_LOOK)(_command)
app.command(cls=Command, no_args_is_help=True, rich_help_panel=_RUN)(train)
app.command(cls=Command, no_args_is_help=True, rich_help_panel=_RUN)(compress)
app.command(cls=Command, no_args_is_help=True, rich_help_panel=_RUN)(generate)
app.command(cls=Command, rich_help_panel=_RUN)(reproduce)
app.command(cls=Command, no_args_is_help=True, rich_help_panel=_HERE)(check)
app.command(cls=Command, rich_help_panel=_HERE)(bench)
app.command(cls=Command, rich_help_panel=_HERE)(calibrate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused, 2 a wrong call, 130 interrupted, 143 terminated.

    With --json a refusal is also on the standard output, as {"format": "tnlayers-error/1", "error": TEXT, "status": N}.
    TNLAYERS_DEBUG=1 in the environment shows the traceback of a refusal.

    Args:
        arguments: The words after the program's name; None takes them from `sys.argv`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    try:
        with stopping.at_work(), warnings.catch_warnings():
            _print_notes()
            status = app(args=given, prog_name="tnlayers", standalone_mode=not as_json)
            sys.exit(status if isinstance(status, int) else 0)
    except TNLayersError as error:
        _exit_if_stopped(error)
        if os.environ.get("TNLAYERS_DEBUG"):
            raise
        _refuse(str(error), 2 if isinstance(error, WrongCall) else 1, as_json)
    except BaseException as error:
        _exit_if_stopped(error)
        worded = getattr(error, "format_message", None)  # typer's own, which it prints where it ends the process
        if as_json and worded is not None:
            _refuse(worded(), getattr(error, "exit_code", 2), as_json)
        raise


def _refuse(text: str, status: int, as_json: bool) -> NoReturn:
    """One paragraph on the error stream, and with --json the same as JSON where the result would have been."""
    if as_json:
        print(json.dumps({"format": "tnlayers-error/1", "error": text, "status": status}))
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)


def _exit_if_stopped(error: BaseException) -> None:
    """Whatever a signal led to, such as an error of a library in the middle of which it came: end as it asks."""
    interrupted = isinstance(error, SystemExit) and error.code == 128 + signal.SIGINT  # typer's word for Ctrl-C
    number = stopping.received() or (signal.SIGINT if interrupted else None)
    if number is not None:
        stopping.say(sys.stderr.write)
        sys.exit(128 + number)


def _print_notes() -> None:
    """From now on show what tnlayers adjusted as one plain line each, once; other warnings stay as they are."""
    warnings.simplefilter("always", TNLayersWarning)
    show_others, shown = warnings.showwarning, set[str]()
    main_process = os.environ.get("LOCAL_RANK", "0") == "0"  # the other processes of a training would say it again

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, TNLayersWarning):
            show_others(message, category, filename, lineno, file, line)
        elif main_process and str(message) not in shown:
            shown.add(str(message))
            print(f"note: {message}", file=sys.stderr)

    warnings.showwarning = show


if __name__ == "__main__":
    main()
