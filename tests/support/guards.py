"""Guards that no test has run, from the data of coverage: `python tests/support/guards.py [DATA ...]`.

A guard is a `raise` of an error of its own, or a `return` that an `if` has to itself. `make coverage` prints the list
and stores it as `tests/uncovered.txt`; each line has the file, the function and the condition (or handler) above it.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "tests" / "uncovered.txt"
FOLDERS = (ROOT / "tnlayers", ROOT / "backends")


def guards(code: str) -> Iterator[tuple[int, str, str]]:
    """Each guard of a file: its line, its function, and what it does under which condition."""

    def walk(node: ast.AST, function: str, above: str) -> Iterator[tuple[int, str, str]]:
        for _, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST):
                    continue
                name, reason = function, above
                if isinstance(child, ast.FunctionDef | ast.ClassDef):
                    name = f"{function}.{child.name}".lstrip(".")
                    reason = ""
                elif isinstance(child, ast.If):
                    reason = f"if {ast.unparse(child.test)}"
                elif isinstance(child, ast.ExceptHandler):
                    reason = f"except {ast.unparse(child.type)}" if child.type else "except"
                raises = isinstance(child, ast.Raise) and child.exc is not None
                returns = isinstance(child, ast.Return) and isinstance(node, ast.If) and value == [child]
                if raises or returns:
                    yield child.lineno, name, f"{'raise' if raises else 'return'} {reason}".rstrip()
                yield from walk(child, name, reason)

    yield from walk(ast.parse(code), "", "")


def not_run(data: list[Path]) -> list[str]:
    """The guards of all files that no test has run, by files of data of coverage, which are read together."""
    with tempfile.TemporaryDirectory() as folder:
        together = Coverage(data_file=str(Path(folder) / "data"), config_file=str(ROOT / "pyproject.toml"))
        together.combine([str(path) for path in data], keep=True)
        found = []
        for file in sorted(file for base in FOLDERS for file in base.rglob("*.py")):
            missing = set(together.analysis2(str(file))[3])
            for line, function, above in guards(file.read_text(encoding="utf-8")):
                if line in missing:
                    found.append(f"{file.relative_to(ROOT)}::{function}: {above:.100}")
    return found


def main() -> None:
    """Print the list, and store it if asked."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("data", nargs="*", type=Path, default=[ROOT / ".coverage"])
    words.add_argument("--store", metavar="COMMAND", help="write tests/uncovered.txt; the command that the data are of")
    asked = words.parse_args()
    text = report(not_run(asked.data))
    print(text, end="")
    if asked.store:
        STORED.write_text(f"# {datetime.date.today()}, by {asked.store}\n{text}", encoding="utf-8")


def report(found: list[str]) -> str:
    """The list with its count, refusals before early returns."""
    refusals = [line for line in found if ": raise" in line]
    others = [line for line in found if ": raise" not in line]
    head = f"# {len(refusals)} refusals and {len(others)} early returns that no test runs\n"
    return head + "".join(f"{line}\n" for line in refusals + others)


if __name__ == "__main__":
    main()
