"""Plans on disk are searched anew when code that decides plans has changed, and stay when other code has."""

import shutil
from pathlib import Path

import pytest

import tnlayers as tnl
from tnlayers.planning.fingerprint import DECIDING, digest, fingerprint

ROOT = Path(tnl.__file__).parent


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(ROOT, tmp_path / "tnlayers", ignore=shutil.ignore_patterns("__pycache__")))


def test_a_copy_has_the_fingerprint_of_the_code_that_runs(copy):
    assert digest(root=copy) == fingerprint() == digest()


@pytest.mark.parametrize("name", DECIDING)
def test_everything_named_is_there(name):
    assert (ROOT / name).is_file() or list((ROOT / name).glob("*.py"))


@pytest.mark.parametrize(
    "file",
    [
        *(
            "planning/paths.py",
            "planning/conv_search.py",
            "planning/conv_choice.py",
            "planning/fingerprint.py",
            "program/layout.py",
        ),
        *("pricing/seconds.py", "machine/rates.py", "declare/graph.py", "declare/kernel.py"),
    ],
)
def test_code_that_decides_plans_changes_it(copy, file):
    changed = copy / file
    changed.write_text(changed.read_text() + "\n# another thought\n")
    assert digest(root=copy) != digest()


def test_a_new_file_of_a_deciding_package_changes_it(copy):
    (copy / "planning" / "new.py").write_text("")
    assert digest(root=copy) != digest()


@pytest.mark.parametrize(
    "file", ["files/progress.py", "networks/mpo.py", "cores/linear_map.py", "draw/svg.py", "__init__.py", "errors.py"]
)
def test_other_code_does_not(copy, file):
    changed = copy / file
    changed.write_text(changed.read_text() + "\n# another thought\n")
    assert digest(root=copy) == digest()
