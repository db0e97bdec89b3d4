"""`tnlayers calibrate`: measure what this machine can do, so that plans are made for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tnlayers.bench.calibration import calibrate as measure_and_keep
from tnlayers.bench.calibration import measured_name
from tnlayers.cli.shared import JsonOption, out, print_json
from tnlayers.files.progress import progress
from tnlayers.machine.rates import Machine, default_machine
from tnlayers.machine.saved_rates import machine_file


def calibrate(
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, or cuda, cuda:1, ...")] = "cpu",
    backend: Annotated[str, typer.Option(metavar="NAME", help="torch, or jax: XLA's rates, for jax.")] = "torch",
    as_json: JsonOption = False,
) -> None:
    """Measure a device's rates, in a few seconds, and save them for all later plans.

    Products of matrices by their shape, memory in and out of the cache, and the
    cost of a call, in single and in half precision: plans weigh these against
    each other. The files that they are saved in are printed; delete them to plan
    with the defaults again.
    """
    found = {}
    with progress("measuring"):
        for dtype in ("float32", "bfloat16"):
            found[dtype] = measure_and_keep(device, dtype, backend)
    files = {dtype: str(machine_file(measured_name(device, backend), dtype)) for dtype in found}
    if as_json:
        single, half = ({"file": files[t], "dtype": t, "rates": asdict(rates)} for t, rates in found.items())
        print_json("rates", single | {"half": half})
        return
    for dtype, rates in found.items():
        _print(rates, default_machine(device, dtype), dtype)
        print(f"saved in {files[dtype]}")


def _print(rates: Machine, default: Machine, dtype: str) -> None:
    table = Table("rate", dtype, "default", box=None)
    usual = asdict(default)
    for name, value in asdict(rates).items():
        table.add_row(name, f"{value:.3g}", f"{usual[name]:.3g}")
    out().print(table)
