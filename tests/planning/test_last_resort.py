"""Slices are the last resort of a memory limit: ordinary planning and execution do not pass through them."""

import numpy as np
import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.planning import choosing
from tnlayers.planning import sliced as running

torch = framework("torch")

# Bytes, less than one row at a time needs; another for each, since plans of a process are cached.
LIMITS = {"numpy": 3400, "torch": 3500, "jax": 3600}


@pytest.mark.parametrize("backend", LIMITS)
def test_without_a_limit_neither_planning_nor_execution_comes_here(backend, monkeypatch):
    """Counted at the two places that every use of slices passes: the next cut, and the places of the pieces."""
    framework(backend)
    asked = []
    cut, places = choosing.next_cut, running.piece_places
    monkeypatch.setattr(choosing, "next_cut", lambda *args: asked.append("cut") or cut(*args))
    monkeypatch.setattr(running, "piece_places", lambda *args: asked.append("places") or places(*args))
    spec = "ring(in=5x11x6, out=4x7x9, bond=4)"
    layer = tnl.build(spec, backend=backend, seed=0)
    x = torch.ones(3, 330) if backend == "torch" else np.ones((3, 330), np.float32)
    layer(x)
    assert asked == []
    plan = tnl.plan(spec, 103, memory_limit=LIMITS[backend], objective="forward")
    assert asked.pop() == "cut"
    limited = tnl.build(spec, backend="numpy", seed=0)
    limited.use_plan(plan)
    limited(np.ones((103, 330), np.float32))
    assert asked.pop() == "places"
