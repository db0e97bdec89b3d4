"""Searches that are given seconds, by the seconds of this process: other work on the machine does not shorten them."""

import time
from types import SimpleNamespace

import pytest

from tnlayers.compress import search
from tnlayers.decompose import arrangement


@pytest.fixture(autouse=True)
def processor_time(monkeypatch):
    """The clock of searches is the processor's."""
    for module in (arrangement, search):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=time.process_time))
