"""Where the time goes in cells of the benchmark that miss a bar: the table of docs/bars.md, in minutes.

    python docs/results/bars.py --seconds 4

Read from `benchmarks.json` are the cells that miss a bar. For each, every operation of one step of our layer is
recorded with its operands as they lie in memory. Then, in turns: the step, the dense layer, the step's products alone
in their order on these operands, and its copies and sums alone. Each product is timed by itself as well, again and
again on its operands, so that they are at hand. The limit has the same products in the best order of operands, at hand
too. So what products at hand take beyond it is the order of operands, what products in place take beyond that is
memory, and what is left of the step is calls: Python, views and autograd.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from marks import filled
from torch.utils._python_dispatch import TorchDispatchMode

from tnlayers.bench.bars import bars
from tnlayers.bench.cells import Cell, grid
from tnlayers.bench.contenders import OWN, ours
from tnlayers.bench.limit import limit
from tnlayers.bench.measure import DENSE, OURS, measure
from tnlayers.bench.subjects import Given, torch_subject
from tnlayers.files.origin import commit, cpu_name
from tnlayers.machine.saved_rates import machine_file

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "bars.md"
PRODUCTS = ("mm", "bmm", "addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm_")
SECONDS, CALLS = 0.1, 4  # for a product at hand
MOVES = ("copy_", "clone", "_to_copy", "sum", "add", "add_")

Call = Callable[[], Any]


class Recorder(TorchDispatchMode):
    """Notes every operation with its operands."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and note it."""
        self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def again(self, names: Sequence[str]) -> tuple[int, Call]:
        """How many operations of these names there were, and a call that does them again, on the same operands."""
        chosen = [call for call in self.calls if call[0].overloadpacket.__name__ in names]

        @torch.no_grad()
        def run() -> None:
            for func, args, kwargs in chosen:
                func(*args, **kwargs)

        return len(chosen), run

    def at_hand(self, names: Sequence[str]) -> float:
        """Seconds of operations of these names, each by itself; those of the same layout are timed once."""
        alike = defaultdict(list)
        for call in self.calls:
            if call[0].overloadpacket.__name__ in names:
                tensors = [each for each in call[1] if isinstance(each, torch.Tensor)]
                alike[call[0], tuple((each.shape, each.stride()) for each in tensors)].append(call)
        return sum(len(calls) * _shortest(*calls[0]) for calls in alike.values())


@torch.no_grad()
def _shortest(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Seconds of one of many calls in a row, on one core."""
    best, end = float("inf"), time.process_time() + SECONDS
    while time.process_time() < end:
        begin = time.process_time()
        for _ in range(CALLS):
            func(*args, **kwargs)
        best = min(best, (time.process_time() - begin) / CALLS)
    return best


def steps(cell: Cell) -> dict[str, Call]:
    """Calls of our layer and of the dense one, as the benchmark makes them."""
    torch.manual_seed(0)
    given = Given(cell, {name: core.detach() for name, core in ours(cell).cores.items()})
    return {name: torch_subject(name, OWN[name](cell), given).call for name in (OURS, DENSE)}


def row(cell: Cell, seconds: float) -> str:
    """One cell as a row of the table."""
    calls, recorder = steps(cell), Recorder()
    for _ in range(3):
        calls[OURS]()
    with recorder:
        calls[OURS]()
    (products, multiply), (moves, move) = recorder.again(PRODUCTS), recorder.again(MOVES)
    calls |= {"products": multiply, "moves": move}
    times = {name: 1e3 * found.median for name, found in measure(calls, threads=1, cap=seconds).items()}
    least = 1e3 * limit(cell).seconds
    rest = times[OURS] - times["products"] - times["moves"]
    at_hand = 1e3 * recorder.at_hand(PRODUCTS)
    shown = (times[DENSE], times[OURS], least, at_hand, times["products"], times["moves"], rest)
    cells = [f"`{cell.name}`", *(f"{value:.3g}" for value in shown), f"{products} and {moves}"]
    return f"| {' | '.join(cells)} |"


def missed() -> list[str]:
    """Names of the cells that miss a bar, in the order of the bars."""
    data = json.loads((HERE / "benchmarks.json").read_text(encoding="utf-8"))
    told = " ".join(words for bar in bars(data["cells"], data["growth"]) for words in bar.missed)
    return list(dict.fromkeys(re.findall(r"`([^`]+)`", told)))


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each cell")
    parser.add_argument("--cells", nargs="*", help="names of cells (default: those that miss a bar)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = {cell.name: cell for cell in grid()}
    names = asked.cells or missed()
    rows = [row(known[name], asked.seconds) for name in names]
    rates = "measured" if machine_file().exists() else "default"
    head = [
        f"Commit {commit()}, {cpu_name()}, one thread, float32, torch {torch.__version__}, plans by {rates} rates; "
        f"`python docs/results/bars.py --seconds {asked.seconds:g}`. Milliseconds, medians.",
        "",
        "| cell | dense | ours | limit | products at hand | in place | copies and sums | the rest | how many |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    table = "\n".join([*head, *rows])
    print(table)
    if not asked.cells:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), "bars", table), encoding="utf-8")


if __name__ == "__main__":
    main()
