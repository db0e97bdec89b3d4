"""What tests of exporters share."""

import copy
import functools
import importlib

import pytest


@pytest.fixture(scope="session")
def onnx_table():
    """torch's table of ONNX functions is made once: each export parses 500 functions for it anew, half of its time.

    Every export gets a copy, as it may add to it. Where torch keeps its table elsewhere, nothing is changed.
    """
    try:
        table = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
        make = functools.cache(table.from_torchlib)
    except (ImportError, AttributeError):
        yield
        return

    def copied(*args, **kwargs):
        found = copy.copy(make(*args, **kwargs))
        found.functions = {name: [*choices] for name, choices in found.functions.items()}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "from_torchlib", staticmethod(copied))
        yield
