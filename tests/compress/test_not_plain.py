"""Modules that are more than their class says: baked in where that is exact, else left dense or refused."""

from __future__ import annotations

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn
prune = pytest.importorskip("torch.nn.utils.prune")
old = nn.utils
new = nn.utils.parametrizations
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")


def scaled_norm(layer):
    """A norm that has been trained: g is not the norm of v any more."""
    layer = old.weight_norm(layer)
    with torch.no_grad():
        layer.weight_g.mul_(2)
        layer.weight_v.add_(0.1)
    return layer  # `.weight` is stale until the first forward


def moved(layer, how):
    layer = how(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.05)
    return layer


BAKED = {
    "weight_norm": scaled_norm,
    "spectral_norm": lambda layer: moved(layer, old.spectral_norm),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "pruned twice": lambda layer: prune.random_unstructured(prune.l1_unstructured(layer, "weight", 0.3), "weight", 0.2),
    "pruned bias": lambda layer: prune.l1_unstructured(layer, "bias", 0.5),
    "new weight_norm": lambda layer: moved(layer, new.weight_norm),
    "new spectral_norm": lambda layer: moved(layer, new.spectral_norm),
    "orthogonal": new.orthogonal,
}
DENSE = {"linear": lambda: nn.Linear(40, 40), "conv": lambda: nn.Conv1d(40, 40, 1)}


def chain(layer):
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten(1), nn.Linear(40, 4))


def example(kind):
    torch.manual_seed(1)
    return torch.randn(8, 40) if kind == "linear" else torch.randn(8, 40, 1)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("how", BAKED)
def test_computed_weights_are_baked_in(how, kind, inplace, sampled):
    def made():
        torch.manual_seed(0)
        return chain(BAKED[how](DENSE[kind]())).eval()

    model, twin, x = made(), made(), example(kind)
    with torch.no_grad():
        wanted = twin(x)
        true = twin[0].weight.detach().clone()
    count = sum(p.numel() for p in model.parameters())
    result = quiet(
        lambda: tnl.compress(model, ratio=0.6, network="lowrank", inplace=inplace, sample=x if sampled else None)
    )
    small, row = result.model, result.report.layers[0]
    assert isinstance(small[0], tnl.nn.TNLinear | tnl.nn.TNConv1d)
    off = (small[0].weight.detach() - true).norm() / true.norm()
    assert row.error == pytest.approx(float(off), rel=1e-4)
    assert small(x).isfinite().all()
    after = sum(p.numel() for p in small.parameters())
    assert result.report.before.parameters == count
    assert result.report.after.parameters == after <= 0.6 * count
    if not inplace:  # the model is as it was
        assert type(model[0]).__name__ == type(twin[0]).__name__
        assert model.state_dict().keys() == twin.state_dict().keys()
        assert torch.equal(model(x), wanted)
    full = quiet(lambda: tnl.compress(made(), error=1e-6, network="lowrank")).model
    torch.testing.assert_close(full(x), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", BAKED)
def test_layers_from_computed_weights(how):
    torch.manual_seed(0)
    dense = BAKED[how](nn.Linear(12, 12)).eval()
    layer = quiet(lambda: tnl.nn.TNLinear.from_linear(dense, "lowrank", error=0))
    x = torch.randn(3, 12)
    torch.testing.assert_close(layer(x), dense(x), atol=1e-4, rtol=1e-4)


class Noise(nn.Module):
    def forward(self, w):
        return w + torch.randn_like(w)


def with_pre_hook(layer):
    weight = layer.weight
    del layer._parameters["weight"]
    layer.weight_orig = nn.Parameter(weight.data)
    layer.weight = weight.data
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", 2 * module.weight_orig))
    return layer


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class OnlyTrained(nn.Linear):
    def forward(self, x):
        y = nn.functional.linear(x, self.weight, self.bias)
        return 2 * y if self.training else y


class WithMethod(nn.Linear):
    def fused(self, x):
        return self.forward(x)


class OtherState(nn.Linear):
    def state_dict(self, *args, **kwargs):
        return super().state_dict(*args, **kwargs)


class Wrapped(torch.Tensor):
    """A quantised weight of another library, as far as anybody can see."""


def quantised(layer):
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Wrapped), requires_grad=False)
    return layer


def on_instance(layer):
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)
    return layer


def with_buffer(layer):
    layer.register_buffer("mask", torch.ones(40, 40))
    return layer


def with_gradient_hook(layer):
    layer.weight.register_hook(lambda g: g * 0)
    return layer


def under_inference(_):
    with torch.inference_mode():
        return nn.Linear(40, 40)


def with_state_hook(register):
    def make(layer):
        register(layer)(lambda *_: None)
        return layer

    return make


LEFT = {
    "hook on the state": (with_state_hook(lambda x: x.register_state_dict_post_hook), "hooks on its state_dict"),
    "hook before the state": (with_state_hook(lambda x: x.register_state_dict_pre_hook), "hooks on its state_dict"),
    "hook on loading": (with_state_hook(lambda x: x.register_load_state_dict_pre_hook), "hooks on its state_dict"),
    "hook after loading": (with_state_hook(lambda x: x.register_load_state_dict_post_hook), "hooks on its state_dict"),
    "old spectral_norm in training": (lambda x: old.spectral_norm(x).train(), "SpectralNorm"),
    "new spectral_norm in training": (lambda x: new.spectral_norm(x).train(), "SpectralNorm"),
    "own parametrization": (lambda x: nn.utils.parametrize.register_parametrization(x, "weight", Noise()), "Noise"),
    "own hook": (with_pre_hook, "code that is not known"),
    "own forward": (lambda _: Scaled(40, 40), "forward of its own"),
    "own forward in training": (lambda _: OnlyTrained(40, 40), "forward of its own"),
    "own method": (lambda _: WithMethod(40, 40), "methods that a network would not have (fused)"),
    "own state": (lambda _: OtherState(40, 40), "overrides state_dict"),
    "quantised": (quantised, "is a Wrapped"),
    "inference mode": (under_inference, "inference_mode"),
    "replaced forward": (on_instance, "replaced on the instance"),
    "buffer": (with_buffer, "holds mask"),
    "hook on the gradient": (with_gradient_hook, "hook on its gradient"),
}


@pytest.mark.parametrize("how", LEFT)
def test_others_are_left_dense_with_the_reason(how):
    make, words = LEFT[how]
    torch.manual_seed(0)
    model = nn.Sequential(make(nn.Linear(40, 40)), nn.ReLU(), nn.Linear(40, 60))
    report = quiet(lambda: tnl.compress(model, error=0.5, network="lowrank", dry_run=True)).report
    assert report.layers[0].network == "dense"
    assert words in report.layers[0].note
    assert report.before.parameters == sum(p.numel() for p in model.parameters())
    result = quiet(lambda: tnl.compress(model, error=0.5, network="lowrank", inplace=True))
    assert type(result.model[0]) is type(model[0])
    assert type(result.model[2]) is tnl.nn.TNLinear


@pytest.mark.parametrize("how", LEFT)
def test_others_are_refused_by_constructors_and_adapters(how):
    make, words = LEFT[how]
    dense = make(nn.Linear(40, 40))
    for made in (lambda: tnl.nn.TNLinear.from_linear(dense, "lowrank", bond_dim=2), lambda: tnl.nn.TNAdapter(dense)):
        with pytest.raises(tnl.TNLayersError, match="is more than that") as caught:
            made()
        assert words in str(caught.value)
        assert len(str(caught.value)) < 2000


def test_lazy_modules_are_refused():
    model = nn.Sequential(nn.Linear(8, 8), nn.LazyLinear(4))
    with pytest.raises(tnl.TNLayersError, match="no sizes yet"):
        tnl.compress(model, ratio=0.5)
    for made in (
        lambda: tnl.nn.TNLinear.from_linear(nn.LazyLinear(4), bond_dim=2),
        lambda: tnl.nn.TNConv2d.from_conv(nn.LazyConv2d(4, 3), bond_dim=2),
        lambda: tnl.nn.TNAdapter(nn.LazyLinear(4)),
    ):
        with pytest.raises(tnl.TNLayersError, match="no sizes yet"):
            made()


def test_hooks_of_the_user_go_on():
    calls = []
    layer = scaled_norm(nn.Linear(40, 40))
    layer.register_forward_hook(lambda *_: calls.append("forward"))
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    layer.register_full_backward_hook(lambda *_: calls.append("backward"))
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(40, 4)).eval()
    small = quiet(lambda: tnl.compress(model, ratio=0.5, network="lowrank")).model
    assert type(small[0]) is tnl.nn.TNLinear
    small(torch.randn(3, 40, requires_grad=True)).sum().backward()
    assert calls == ["before", "forward", "backward"]


def test_shared_parts_of_computed_weights_stay():
    first, second = scaled_norm(nn.Linear(40, 40)), scaled_norm(nn.Linear(40, 40))
    second.weight_v = first.weight_v
    model = nn.Sequential(first, second, nn.Linear(40, 60))
    report = quiet(lambda: tnl.compress(model, error=0.5, network="lowrank")).report
    assert ["other modules have too" in layer.note for layer in report.layers] == [True, True, False]
    assert report.before.parameters == sum(p.numel() for p in model.parameters())


def test_recurrent_and_attention_with_computed_weights_stay():
    lstm = old.weight_norm(nn.LSTM(8, 8), "weight_hh_l0")
    attention = nn.MultiheadAttention(8, 2)
    old.weight_norm(attention.out_proj)
    model = nn.ModuleList([lstm, attention, nn.Linear(40, 60)])
    report = quiet(lambda: tnl.compress(model, error=0.5, network="lowrank", inplace=True)).report
    assert all("is computed" in layer.note for layer in report.layers[:-1])
    assert report.layers[-1].network != "dense"


def test_after_an_error_the_model_is_as_it_was():
    model = chain(scaled_norm(nn.Linear(40, 40)))
    names = list(model.state_dict())
    with pytest.raises(tnl.TNLayersError, match="matches none"):
        tnl.compress(model, ratio=0.5, rules={"nothing": None})
    assert list(model.state_dict()) == names
    assert len(model[0]._forward_pre_hooks) == 1
