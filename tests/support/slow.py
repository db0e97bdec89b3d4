"""Which tests are slow, as measured: `make test` leaves them out, `make slow` runs them, `.ci/run` runs both.

`tests/slow.txt` names test functions, all cases of them. To measure again, on a machine that does nothing else:

    .venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=0 > LOG
    python tests/support/slow.py LOG
"""

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

LIST = Path(__file__).parents[1] / "slow.txt"
SECONDS = 0.5  # of all cases of a function together, with their preparation
LONGEST = (  # begin first, so that no process waits for another at the end
    "tests/train/test_scale.py",
    "tests/backends/test_parity.py",
    "tests/backends/torch/layers/test_conv.py",
    "tests/backends/torch/run/test_torch_compile.py",
    "tests/backends/torch/layers/test_grow.py",
    "tests/pages/test_pages.py",
    "tests/verify/test_check.py",
)
A_CASE = 0.05  # on average: many quick cases are worth their seconds
_LINE = re.compile(r"([\d.]+)s (?:call|setup|teardown) +(\S.*)")


def function(test: str) -> str:
    """The name of a test without its case.

    >>> function("tests/cores/test_norm.py::test_norm[mpo-float64]")
    'tests/cores/test_norm.py::test_norm'
    """
    return test.partition("[")[0]


def names() -> frozenset[str]:
    """The functions on the list."""
    return frozenset(LIST.read_text(encoding="utf-8").split("\n")) - {""}


@cache
def files() -> frozenset[Path]:
    """The files that they are in."""
    return frozenset(LIST.parents[1] / name.partition("::")[0] for name in names())


def rank(file: Path) -> int:
    """The place of a file among those that begin first, and one place for all others."""
    known = [LIST.parents[1] / name for name in LONGEST]
    return known.index(file) if file in known else len(known)


def seconds(log: str) -> dict[str, tuple[float, int]]:
    """What each function took in an output of pytest, and by how many cases that are in it.

    >>> seconds("1.5s call     tests/test_a.py::test_b[x]\\n0.25s setup    tests/test_a.py::test_b[y z]")
    {'tests/test_a.py::test_b': (1.75, 2)}
    """
    cases: Counter[str] = Counter()
    for taken, test in _LINE.findall(log):
        cases[test] += float(taken)
    found: dict[str, tuple[float, int]] = {}
    for test, taken in cases.items():
        before, count = found.get(function(test), (0.0, 0))
        found[function(test)] = before + taken, count + 1
    return found


if __name__ == "__main__":
    measured = seconds(Path(sys.argv[1]).read_text(encoding="utf-8"))
    slow = sorted(name for name, (taken, n) in measured.items() if taken >= SECONDS and taken >= A_CASE * n)
    LIST.write_text("\n".join(slow) + "\n", encoding="utf-8")
    print(f"{len(slow)} functions are slow")
    for name, (taken, _) in sorted(measured.items(), key=lambda pair: -pair[1][0])[:10]:
        print(f"| `{name.removeprefix('tests/').replace('::', '`: ', 1)} | {taken:.0f} |")
