"""The scripts of docs/results as modules."""

import importlib.util

import pytest
from places import RESULTS


def script(name):
    """A script, loaded without running its main part; it finds its neighbours as when it is run."""
    found = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RESULTS))
        found.loader.exec_module(module)
    return module
