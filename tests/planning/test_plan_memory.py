"""What a plan says it has in use at most, beside every allocation that torch makes while it runs."""

from dataclasses import replace
from weakref import ref

import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.planning.memory import peak

torch = framework("torch")

from tnlayers_backends.torch.run import workspace  # noqa: E402
from tnlayers_backends.torch.run.workspace import release  # noqa: E402

from tnlayers.bench.call_memory import memory  # noqa: E402

SPECS = [
    "mpo(in=8x8x8, out=8x8x8, bond=16)",
    "ring(in=4x8x4, out=8x4x4, bond=8)",
    "tree(in=4x4x4x4, out=4x4x4x4, bond=8)",
]
# Copies of gradients on their way from merged cores to cores are not counted: they matter in small layers.
ABOUT = {"rel": 0.2, "abs": 2**12}


def measured(plan):
    """The most bytes that torch has in use in one call of a plan's layer, from empty buffers."""
    layer = tnl.build(plan.title, seed=0)
    layer.use_plan(plan)
    training = plan.objective == "training"
    x = torch.ones(plan.batch, layer.in_features, requires_grad=training)
    grad_y = torch.ones(plan.batch, layer.out_features)
    leaves = [x, *layer.parameters()] if training else []

    def call():
        y = layer(x)
        if training:
            y.backward(grad_y)
        return y

    with torch.set_grad_enabled(training):
        call()  # what happens in the first call only
        release()
        layer.invalidate()
        # What inference caches is guarded by a copy of the cores, which is the layer's and not the plan's.
        guard = sum(core.nbytes for core in layer.cores.values()) if not training and plan.prepared else 0
        return memory(call, leaves)[0] - guard


def plans(spec, objective):
    for batch in (1, 48):
        for chunk in (None, 1, 16)[: 1 if batch == 1 else 3]:
            for optimize in ("auto", "greedy"):
                plan = tnl.plan(spec, batch, objective=objective, optimize=optimize)
                yield replace(plan, chunk=chunk)


@pytest.mark.parametrize("objective", ["inference", "training"])
@pytest.mark.parametrize("spec", SPECS)
def test_torch_has_in_use_what_the_plan_says(spec, objective):
    for plan in plans(spec, objective):
        assert measured(plan) == pytest.approx(peak(plan), **ABOUT), plan
        assert plan.memory <= peak(plan)


def test_the_comparison_sees_a_state_too_many():
    plan = next(plans(SPECS[0], "training"))
    wider = replace(plan, contraction=tnl.plan(SPECS[0], 2 * plan.batch).contraction)
    assert measured(plan) != pytest.approx(peak(wider), **ABOUT)


def test_a_buffer_that_is_too_small_goes_before_a_larger_one_comes(monkeypatch):
    """The backward pass needs more than the forward pass; the two buffers are never there at once."""
    release()
    like, empty = torch.zeros(1), torch.empty
    first = ref(workspace.buffer(64, like))
    assert first() is workspace.buffer(32, like)
    there = []
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: there.append(first()) or empty(*args, **kwargs))
    assert workspace.buffer(128, like).numel() == 128
    assert there == [None]
