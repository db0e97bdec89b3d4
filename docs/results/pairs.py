"""Two commits of this library on the named cells, paired: rounds alternate between two processes, one per commit.

    python docs/results/pairs.py OLD_CHECKOUT NEW_CHECKOUT [--rounds 15] [--out docs/results/pairs.json]

Each checkout is a folder with both packages at its top (`git worktree add`). Each round times every cell in one
process and at once in the other, in turn the first; the figure is the ratio new to old within a round, its median and
quartiles over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

from tnlayers.bench.cells import NAMED

MODES = ("forward", "training", "inference")

WORKER = """
import sys, time, warnings, json
warnings.simplefilter("ignore")
import torch, tnlayers as tnl
torch.set_num_threads(1)
cells = json.loads(sys.argv[1])
made = {}
for cell in cells:
    i, o, c, r, b = cell
    layer = tnl.nn.TNLinear(i, o, network=f"mpo(cores={c}, bond={r})", seed=0)
    made[tuple(cell)] = layer, torch.randn(b, i, generator=torch.Generator().manual_seed(1))

def step(layer, x, mode):
    if mode == "inference":
        with torch.no_grad():
            return layer(x)
    y = layer(x)
    if mode == "training":
        y.backward(y.detach())
        layer.zero_grad(set_to_none=True)

for line in sys.stdin:
    cell, mode = json.loads(line)
    layer, x = made[tuple(cell)]
    step(layer, x, mode)
    begin, count = time.process_time(), 0
    while time.process_time() - begin < 0.15 or count < 3:
        step(layer, x, mode)
        count += 1
    print((time.process_time() - begin) / count, flush=True)
"""


class Side:
    """One checkout's process.

    Args:
        folder: The checkout.
    """

    def __init__(self, folder: Path) -> None:
        paths = os.pathsep.join(str(folder / part) for part in ("", "backends"))
        environment = {**os.environ, "PYTHONPATH": paths, "TNLAYERS_KEEP_PLANS": "0", "TNLAYERS_CACHE": "/nowhere"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(NAMED)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, cell: tuple[int, ...], mode: str) -> float:
        """Processor seconds of one step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([cell, mode]) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def compared(old: Side, new: Side, rounds: int) -> list[dict[str, object]]:
    """The rows of the table: one per cell and mode."""
    ratios: dict[tuple[tuple[int, ...], str], list[float]] = {}
    seconds: dict[tuple[tuple[int, ...], str], list[float]] = {}
    for number in range(rounds):
        for cell in NAMED:
            for mode in MODES:
                sides = (old, new) if number % 2 else (new, old)
                found = {id(side): side.seconds(cell, mode) for side in sides}
                if number == 0:
                    continue  # planning, and the first pages of memory
                ratios.setdefault((cell, mode), []).append(found[id(new)] / found[id(old)])
                seconds.setdefault((cell, mode), []).append(found[id(new)])
    return [
        {
            "cell": "{}-{}-c{}-r{}-b{}".format(*cell),
            "mode": mode,
            "ratio": round(median(found), 4),
            "quartiles": [round(value, 4) for value in quantiles(found, n=4)[::2]],
            "milliseconds": round(1e3 * median(seconds[cell, mode]), 4),
        }
        for (cell, mode), found in ratios.items()
    ]


def main() -> None:
    """Time, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows = compared(Side(asked.old), Side(asked.new), asked.rounds)
    for row in rows:
        print(f"{row['cell']:24} {row['mode']:10} {row['ratio']:7.3f}  {row['quartiles']}  {row['milliseconds']} ms")
    if asked.out is not None:
        commits = {
            name: subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()
            for name, folder in (("old", asked.old), ("new", asked.new))
        }
        machine = {"processor": platform.processor() or platform.machine(), "processors": os.cpu_count()}
        stored = {"command": "python docs/results/pairs.py", "rounds": asked.rounds, **commits, **machine, "rows": rows}
        asked.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
