"""The tests' own order: folders that mirror the packages, and no test that imports another."""

import ast
import re
from pathlib import Path

import guards
import pytest
import slow
from places import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("test_*.py"))
# Folders of tests that are no package: both backends' common tests, the documentation's, and the fuzzer's.
OTHERS = {Path("backends"), Path("pages"), Path("fuzz")}


def imported(code):
    """Names of all modules that code imports, wherever the import is."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def only_tests(modules):
    return [name for name in modules if name.rpartition(".")[2].startswith("test_")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_no_test_imports_another(file):
    assert only_tests(imported(file.read_text(encoding="utf-8"))) == []


def test_an_import_of_a_test_is_seen():
    assert only_tests(imported("def f():\n    from test_layers import values\n")) == ["test_layers"]


def test_folders_mirror_the_packages():
    for folder in {file.parent.relative_to(TESTS) for file in FILES} - OTHERS:
        name = folder.as_posix()
        inside = name.removeprefix("backends/")
        package = ROOT / "tnlayers" / name if inside == name else ROOT / "backends" / "tnlayers_backends" / inside
        assert (package / "__init__.py").is_file(), f"tests/{name} mirrors no package"


@pytest.mark.parametrize("name", sorted(slow.names()))
def test_what_the_list_of_slow_tests_names_exists(name):
    """A renamed test would be run by `make test` again."""
    file, *_, function = name.split("::")
    code = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {function}(" in code if file.startswith("tests/") else ">>> " in code


def test_the_list_of_untested_guards_is_of_this_code():
    date, _, *lines = (TESTS / "uncovered.txt").read_text(encoding="utf-8").splitlines()
    assert re.match(r"# 20\d\d-\d\d-\d\d, by ", date)
    for line in lines:
        file, _, rest = line.partition("::")
        name = rest.partition(": ")[0].rpartition(".")[2]
        code = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"\b(def|class) {name}\b", code), (
            f"{file} has no {name}: take its line out of the list"
        )


def test_a_guard_is_a_raise_or_a_return_alone():
    lines = ["def f(x):", "    if x < 0:", "        raise ValueError(x)", "    if x:", "        return 1"]
    code = "\n".join([*lines, "    try:", "        g()", "    except KeyError:", "        raise"])
    assert list(guards.guards(code)) == [(3, "f", "raise if x < 0"), (5, "f", "return if x")]
