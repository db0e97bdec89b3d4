"""One cache for many: eight processes at once, and clocks that go wrong."""

import os
import subprocess
import sys
import time

import pytest

import tnlayers as tnl
from tnlayers.planning import choosing as optimise
from tnlayers.program.layout import assemble

SPEC = "mpo(in=4x4x4x4, out=4x4x4x4, bond=4)"
SCRIPT = f"import tnlayers as tnl; print(tnl.plan({SPEC!r}, 128).to_json())"


def forget():
    optimise._cached_search.cache_clear()
    assemble.cache_clear()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "1")
    forget()
    yield tmp_path / "plans"
    forget()


def test_eight_processes_on_one_cache(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-W", "error", "-c", SCRIPT]
    started = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    ends = [process.communicate() for process in started]
    assert [error for _, error in ends] == [""] * 8
    assert len({out for out, _ in ends}) == 1
    assert [file.suffix for file in folder.iterdir()] == [".json"]  # one plan, and no half-written file


@pytest.mark.parametrize("years", [-40, 100])
def test_the_clock_says_nothing_about_a_plan(folder, monkeypatch, years):
    plan = tnl.plan(SPEC, 128)
    (file,) = folder.iterdir()
    moment = time.time() + years * 3e7
    os.utime(file, (moment, moment))
    before = file.read_bytes()
    forget()
    monkeypatch.setattr(optimise, "_search", None)  # it is read, not searched
    assert tnl.plan(SPEC, 128) == plan
    assert file.read_bytes() == before


def test_many_sizes_of_batches_keep_few_plans(folder):
    """Convolutions plan by the next power of two: ten thousand different batches have fourteen plans."""
    torch = pytest.importorskip("torch")
    layer = tnl.nn.TNConv2d(2, 2, 1, network="mpo(bond=1)", seed=0)
    for batch in [*range(1, 40), 100, 1000, 10_000]:
        layer(torch.zeros(batch, 2, 1, 1))
    kept = layer._conv._plans
    assert len(kept) <= 2 * 15
