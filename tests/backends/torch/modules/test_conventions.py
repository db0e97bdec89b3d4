"""What users of torch expect of any nn.Module, over every class of layers: one table of conventions."""

import copy
import io
import pickle

import pytest
import torch
from every_layer import EVERY, around, first, made
from torch import nn

import tnlayers as tnl


def call(layer, inputs):
    with torch.no_grad():
        return first(layer(*inputs))


def same(twin, layer, inputs):
    """Equal tensors, and outputs that differ by rounding at most: a layer that ran before may run another plan."""
    state = layer.state_dict()
    assert twin.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in twin.state_dict().items())
    torch.testing.assert_close(call(twin, inputs), call(layer, inputs))


def state_dict_round_trip(layer, inputs):
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin.load_state_dict(layer.state_dict(), strict=True) == ([], [])
    same(twin, layer, inputs)


def files_of_torch(layer, inputs):
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True).keys() == layer.state_dict().keys()


def copies_and_pickles(layer, inputs):
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        same(twin, layer, inputs)
        assert {id(p) for p in twin.parameters()}.isdisjoint(id(p) for p in layer.parameters())


def dtypes(layer, inputs):
    wide = copy.deepcopy(layer).double()
    assert {p.dtype for p in wide.parameters()} == {torch.float64}
    found = call(wide, [x.double() if x.is_floating_point() else x for x in inputs])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), call(layer, inputs), rtol=1e-4, atol=1e-5)


def modes_go_down(layer, inputs):
    assert layer.eval() is layer
    assert not any(one.training for one in layer.modules())
    assert layer.train() is layer
    assert all(one.training for one in layer.modules())


def freezing_parameters(layer, inputs):
    asked = [p.requires_grad for p in layer.parameters()]
    assert layer.requires_grad_(False) is layer
    assert not first(layer(*inputs)).requires_grad
    for parameter, one in zip(layer.parameters(), asked, strict=True):
        parameter.requires_grad_(one)


def gradients_come_and_go(layer, inputs):
    first(layer(*inputs)).sum().backward()
    learning = [p for p in layer.parameters() if p.requires_grad]
    assert learning
    assert all(p.grad is not None and p.grad.shape == p.shape for p in learning)
    layer.zero_grad()
    assert all(p.grad is None for p in layer.parameters())


def every_parameter_has_one_name(layer, inputs):
    names = [name for name, _ in layer.named_parameters(remove_duplicate=False)]
    assert len(names) == len({id(p) for p in layer.parameters()})
    assert set(names) <= set(layer.state_dict())
    assert all(isinstance(p, nn.Parameter) for p in layer.parameters())


def drawn_anew(layer, inputs):
    one, other = copy.deepcopy(layer), copy.deepcopy(layer)
    for twin in (one, other):
        twin.reset_parameters(seed=5)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    learning = [name for name, p in layer.named_parameters() if p.requires_grad and not name.endswith("bias")]
    drawn = dict(one.named_parameters())
    assert any(not torch.equal(drawn[name], dict(layer.named_parameters())[name]) for name in learning)


def meta_and_back(layer, inputs):
    empty = copy.deepcopy(layer).to("meta")
    assert all(p.is_meta for p in empty.parameters())
    empty = empty.to_empty(device="cpu")
    empty.load_state_dict(layer.state_dict())
    same(empty, layer, inputs)


def printed(layer, inputs):
    assert type(layer).__name__ in repr(layer)
    assert len(repr(layer)) < 4000


def hooks_run(layer, inputs):
    seen = []
    handles = [layer.register_forward_pre_hook(lambda *_: seen.append("before"))]
    handles.append(layer.register_forward_hook(lambda *_: seen.append("after")))
    call(layer, inputs)
    for handle in handles:
        handle.remove()
    call(layer, inputs)
    assert seen == ["before", "after"]


CONVENTIONS = [
    *(state_dict_round_trip, files_of_torch, copies_and_pickles, dtypes, modes_go_down, freezing_parameters),
    *(gradients_come_and_go, every_parameter_has_one_name, drawn_anew, meta_and_back, printed, hooks_run),
]


@pytest.fixture(scope="module", params=EVERY)
def layer(request):
    return made(request.param)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda one: one.__name__)
def test_conventions(layer, convention):
    convention(*layer)


def test_layers_are_leaves_of_our_tracer_and_refused_to_others(layer):
    one, inputs = layer
    model = around(one, inputs)
    traced = tnl.nn.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["layer"]
    assert torch.equal(first(traced(*inputs)), first(model(*inputs)))
    with pytest.raises(tnl.TNLayersError, match="symbolic_trace"):
        torch.fx.symbolic_trace(model)
    frozen = tnl.freeze(copy.deepcopy(model).eval().requires_grad_(False))
    call(frozen, inputs)
    with pytest.raises(tnl.TNLayersError, match="symbolic_trace"):
        torch.fx.symbolic_trace(frozen)


def test_profiles_name_the_layers(layer):
    one, inputs = layer
    model = around(one, inputs)
    before = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    with torch.profiler.profile() as profile, tnl.nn.profile_labels(model):
        call(model, inputs)
        with pytest.raises((tnl.TNLayersError, TypeError)):
            one("no tensor")
    keys = [event.key for event in profile.key_averages()]
    assert any(key.startswith("layer: ") for key in keys)
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == before
    with torch.profiler.profile() as profile:
        call(model, inputs)
    assert not any(event.key.startswith("layer: ") for event in profile.key_averages())
