"""`tnlayers reproduce` on digits: the command with one row of the paper, whose data need no download.

    python tests/fuzz/reproducing.py reproduce types --docs DIR --runs DIR --budget 5 --seeds 2 --epochs 3 --threads 1

It is a program of its own, so that it can be killed; the trainings that it starts are those of the command.
"""

import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
sys.argv[0] = "tnlayers"  # whose signals are handled from here on

from tnlayers.__main__ import main  # noqa: E402

if __name__ == "__main__":
    from tnlayers.reproduce import cost, paper

    row = next(row for row in paper.OTHERS if row.model == "lenet5" and row.network != "dense")
    paper.OTHERS = (replace(row, data="digits"),)
    cost.IMAGES["digits"] = 1437
    main()
