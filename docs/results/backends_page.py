"""Write the measured parts of docs/backends.md: `python docs/results/backends_page.py` (minutes; --table: seconds).

Between two comments of a block's name stands what this script makes: the table of abilities, each cell a test that is
looked up in its file; the table of parity, each cell a test; the largest differences that `tnlayers check` finds over
all network types; the time of `import tnlayers`; and the example backend, which is a file of the tests.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from abilities import abilities
from marks import filled

from tnlayers.files.origin import version

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "backends.md"
EXAMPLE = ROOT / "tests" / "support" / "fractions_backend.py"


def differences() -> str:
    """The largest difference of each backend and dtype over one layer of every network type."""
    sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT), str(ROOT / "backends")]
    from specs import one_of_each_type

    from tnlayers.verify.agreement import check

    specs = one_of_each_type()
    found = check(specs)
    lines = [
        f"Over {len(specs)} layers, one of each network type, some padded or with bias, in units of the tolerance:",
        "",
        "| backend | dtype | forward | gradients |",
        "| --- | --- | --- | --- |",
    ]
    for backend, dtype in dict.fromkeys((one.backend, one.dtype) for one in found):
        largest = {}
        for one in found:
            if (one.backend, one.dtype) == (backend, dtype):
                largest[one.quantity] = max(largest.get(one.quantity, 0.0), one.units)
        cells = [f"{largest[q]:.3f}" if q in largest else "none" for q in ("forward", "gradients")]
        lines.append(f"| {backend} | {dtype} | {' | '.join(cells)} |")
    worst = max((one for one in found if one.quantity != "cores"), key=lambda one: one.units)
    where = f"{worst.quantity} of `{worst.spec}` on {worst.backend}, {worst.dtype}"
    lines += ["", f"The largest is {worst.units:.3f}: {where}."]
    return "\n".join(lines)


def import_time(runs: int = 21) -> str:
    """The median over fresh interpreters, the start of Python itself taken off.

    Processor time: unlike the time on the clock, it does not tell how busy the machine was.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def median(code: str) -> float:
        seconds = []
        for _ in range(runs):
            begin = used()
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
            seconds.append(used() - begin)
        return statistics.median(seconds)

    bare, full = median("pass"), median("import tnlayers")
    return (
        f"Importing tnlayers takes {full - bare:.2f} s of processor time: the median of {runs} fresh interpreters, "
        f"beyond the {bare:.2f} s of Python's own start (Python {platform.python_version()}, numpy {version('numpy')})."
        " TensorNetwork is imported when the first graph is declared, a framework when its first layer is built."
    )


def parity() -> str:
    """Kinds of layers by where they live, as `tests/backends/test_parity.py` runs them."""
    sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT), str(ROOT / "backends")]
    import parity

    reasons = {parity.reason(place, ability): None for _, place, ability in parity.CELLS}
    notes = "\n".join(f"- {text}" for text in reasons if text)
    return f"{parity.table()}\n\nWhere a letter is missing:\n\n{notes}"


def example() -> str:
    """The example backend, as the tests run it."""
    return f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--table", action="store_true", help="only what needs no measuring")
    page = PAGE.read_text(encoding="utf-8")
    blocks = {"abilities": abilities, "parity": parity, "example": example}
    if not parser.parse_args().table:
        blocks |= {"differences": differences, "import time": import_time}
    for block, make in blocks.items():
        page = filled(page, block, make())
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
