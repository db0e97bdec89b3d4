"""Where a framework is not installed, what needs it is skipped and says so: a pytest plugin of `conftest.py`.

`.ci/matrix` runs the suite with numpy alone, and with numpy and jax. Files need no marks for that: a file, a doctest or
a test that fails because it asked for an absent framework is a skip. Where all are installed nothing of this acts.
"""

import doctest
import importlib
import importlib.util

import pytest
from places import ROOT

OPTIONAL = (
    "torch",
    "jax",
    "anywidget",
    "equinox",
    "flax",
    "ipywidgets",
    "lightning_fabric",
    "matplotlib",
    "pooch",
    "sklearn",
)
ABSENT = tuple(name for name in OPTIONAL if importlib.util.find_spec(name) is None)


def skip_if_told(text, **options):
    """Skip if the text says that one of the absent frameworks is not installed."""
    for name in ABSENT:
        if f"No module named '{name}" in text or (name in text and "pip install tnlayers[" in text):
            pytest.skip(f"{name} is not installed", **options)


def skip_if_absent(error, **options):
    """Skip if an error, or what it was raised from, says so."""
    if isinstance(error, doctest.UnexpectedException):
        error = error.exc_info[1]
    while error is not None:
        skip_if_told(str(error), **options)
        error = error.__cause__


class _Absent:
    """Stands for a module: a test that uses it fails as an import would, and so is skipped."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        raise AttributeError(f"No module named '{self.name}'")


def framework(name):
    """The framework as `import` gives it, for files some of whose tests do without it."""
    return _Absent(name) if name.partition(".")[0] in ABSENT else importlib.import_module(name)


def pytest_report_header():
    return [f"not installed, what needs them is skipped: {', '.join(ABSENT)}"] if ABSENT else []


def import_by_name(path):
    """Import a module of the package as Python does, which leaves nothing behind if it fails; pytest's import does."""
    for root in (ROOT / "backends", ROOT):
        if path.suffix == ".py" and path.is_relative_to(root):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[0] != "tests":
                importlib.import_module(".".join(parts).removesuffix(".__init__"))
            return


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A file of tests or doctests that cannot be imported."""
    collect = collector.collect

    def collect_or_skip():
        try:
            import_by_name(collector.path)
            return list(collect())
        except Exception as error:
            skip_if_absent(error, allow_module_level=True)
            raise

    collector.collect = collect_or_skip
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """A fixture that asks for a framework."""
    try:
        return (yield)
    except Exception as error:
        skip_if_absent(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that asks for one."""
    try:
        return (yield)
    except Exception as error:
        skip_if_absent(error)
        raise
