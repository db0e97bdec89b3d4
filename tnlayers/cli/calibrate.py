"""`tnlayers calibrate`: measure what this machine can do, so that plans are made for it."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from tnlayers.calibrate import calibrate as measure_and_keep
from tnlayers.calibrate import machine_file
from tnlayers.cli.shared import JsonOption, out, print_json
from tnlayers.machine import Machine
from tnlayers.progress import progress


def calibrate(as_json: JsonOption = False) -> None:
    """Measure this machine's rates, in a few seconds, and keep them for all later plans.

    Products of matrices by their shape, memory in and out of the cache, and the
    cost of a call: plans weigh these against each other. The file that they are
    kept in is told; delete it to plan with the defaults again.
    """
    with progress("measuring"):
        found = measure_and_keep()
    if as_json:
        print_json({"file": str(machine_file()), "rates": asdict(found)})
        return
    table = Table("rate", "here", "default", box=None)
    default = asdict(Machine())
    for name, value in asdict(found).items():
        table.add_row(name, f"{value:.3g}", f"{default[name]:.3g}")
    out().print(table)
    print(f"kept in {machine_file()}")
