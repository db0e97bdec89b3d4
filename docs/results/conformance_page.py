"""Write docs/conformance.md from its table: `python docs/results/conformance_page.py` (a second).

    --run      run every test of the table first, file by file (minutes), and store what came out in conformance.json
    --tests    print the tests, one a line, and do nothing else: .ci/matrix runs them

The table is tests/support/conformance.py; versions and results on the page are those of the last run that is stored,
or versions alone where none is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from abilities import TESTS, tests_of
from marks import filled

ROOT = Path(__file__).resolve().parents[2]
PAGE, STORED = ROOT / "docs" / "conformance.md", Path(__file__).with_name("conformance.json")
sys.path.insert(0, str(ROOT / "tests" / "support"))

from conformance import REFUSED, ROWS, Row  # noqa: E402

OUTCOMES = ("failure", "error", "skipped")


def missing() -> list[str]:
    """Tests that a row names and that are not there, or that are to show a refusal and expect none."""
    found = []
    for row in ROWS:
        for test in row.tests:
            file, _, name = test.partition("::")
            path = TESTS / f"{file}.py"
            if not path.is_file() or name not in tests_of(path):
                found.append(test)
            elif row.result == REFUSED and "pytest.raises" not in path.read_text(encoding="utf-8"):
                found.append(f"{test} (refuses nothing)")
    return found


def nodes() -> list[str]:
    """All tests of the table, as pytest names them."""
    return list(dict.fromkeys(f"tests/{test.replace('::', '.py::')}" for row in ROWS for test in row.tests))


def versions() -> dict[str, str]:
    """What is installed of the packages of the table."""
    found = {}
    for package in sorted({package for row in ROWS for package in row.packages}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def run() -> dict[str, Any]:
    """Run the tests, file by file, and count what came out of each."""
    from tnlayers.files.origin import commit

    counts: dict[str, Counter[str]] = {}
    by_file: dict[str, list[str]] = {}
    for node in nodes():
        by_file.setdefault(node.partition("::")[0], []).append(node)
    with tempfile.TemporaryDirectory() as folder:
        for file, own in by_file.items():
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *own]
            subprocess.run(command, cwd=ROOT, check=False)
            for case in ElementTree.parse(report).getroot().iter("testcase"):
                name = f"{file}::{case.get('name', '').partition('[')[0]}"
                outcome = next((one for one in OUTCOMES if case.find(one) is not None), "passed")
                counts.setdefault(name, Counter())[outcome] += 1
    return {"commit": commit(), "versions": versions(), "tests": {name: dict(one) for name, one in counts.items()}}


def table(stored: dict[str, Any]) -> str:
    """The rows, with the versions that were there, and what came out of tests that were run for the page."""
    counted = bool(stored["tests"])
    lines = ["| | with | | shown by |" + " cases |" * counted, "| --- | --- | --- | --- |" + " --- |" * counted]
    for row in ROWS:
        packages = ", ".join(f"{name} {stored['versions'].get(name) or '(not there)'}" for name in row.packages)
        cases = f" {_cases(row, stored)} |" if counted else ""
        lines.append(f"| {row.item} | {packages} | {row.result} | {_links(row)} |{cases}")
    return "\n".join(lines)


def _links(row: Row) -> str:
    shown = []
    for test in row.tests:
        file, _, name = test.partition("::")
        shown.append(f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{file}.py)")
    return ", ".join(shown)


def _cases(row: Row, stored: dict[str, Any]) -> str:
    total: Counter[str] = Counter()
    for test in row.tests:
        total.update(stored["tests"].get(f"tests/{test.replace('::', '.py::')}", {"not run": 1}))
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(total.items()))


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--tests", action="store_true")
    asked = parser.parse_args()
    if absent := missing():
        raise SystemExit(f"These tests do not exist: {', '.join(absent)}.")
    if asked.tests:
        print("\n".join(nodes()))
        return
    if asked.run or not STORED.is_file():
        found = run() if asked.run else {"commit": None, "versions": versions(), "tests": {}}
        STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, "conformance", table(stored)), encoding="utf-8")


if __name__ == "__main__":
    main()
