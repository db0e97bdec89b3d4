"""Copies, state dicts, deferred initialisation, moves, parametrisations and threads."""

import copy
import pickle
import threading

import pytest
import torch
from tnlayers_backends.torch.layers import cores as held
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch_cases import CASES, FEW, assert_differentiates, assert_forward, built, vectors

import tnlayers as tnl


def small(**options):
    return tnl.nn.MPOLinear(12, 10, in_modes=(3, 4), out_modes=(2, 5), bond_dim=3, **options)


@pytest.mark.parametrize("name", CASES)
def test_copies_and_pickles(name):
    layer = built(name)
    x = vectors(layer, 4)
    for twin in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.spec == layer.spec
        assert list(twin.state_dict()) == list(layer.state_dict())
        assert_differentiates(twin, twin, x)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", FEW)
def test_state_dict_loads_strictly(name, assign):
    layer, other = built(name), built(name, "float64")
    other.reset_parameters(99)
    state = layer.state_dict()
    before = dict(other.named_parameters())
    other.load_state_dict(state, strict=True, assign=assign)
    x = vectors(layer, 3)
    if assign:  # the tensors of the file themselves, dtype and all
        assert all(p.data_ptr() == state[key].data_ptr() for key, p in other.named_parameters())
        assert_forward(layer, other(x), x)
    else:  # their numbers, in the parameters that optimizers know
        assert all(p is before[key] for key, p in other.named_parameters())
        assert_forward(layer, other(x.double()), x.double())
    first = next(iter(state))
    for wrong, message in (
        ({key: value for key, value in state.items() if key != first}, f'Missing key.*"{first}"'),
        (state | {"weight": torch.zeros(1)}, 'Unexpected key.*"weight"'),
        (state | {first: torch.zeros(1, 1, 1)}, f"size mismatch for {first}"),
    ):
        with pytest.raises(RuntimeError, match=message):
            other.load_state_dict(wrong, strict=True, assign=assign)


@pytest.mark.parametrize("name", FEW)
def test_meta_device_and_deferred_initialisation(name):
    reference = built(name)
    with torch.device("meta"):
        layer = tnl.build(CASES[name], backend="torch")
    assert all(parameter.is_meta for parameter in layer.parameters())
    y = layer(torch.empty(4, layer.in_features, device="meta"))
    assert y.is_meta
    assert y.shape == (4, layer.out_features)
    layer.to_empty(device="cpu").reset_parameters(seed=3)
    for key, parameter in layer.named_parameters():
        assert torch.equal(parameter, reference.get_parameter(key)), key
    assert_differentiates(layer, layer, vectors(layer, 3))


def test_a_meta_layer_takes_its_numbers_from_a_file():
    reference = small(seed=5)
    layer = small(device="meta")
    layer.load_state_dict(reference.state_dict(), assign=True)
    x = vectors(layer, 3)
    assert_forward(reference, layer(x), x)


def test_skip_init():
    layer = nn.utils.skip_init(tnl.nn.MPOLinear, 12, 10, bond_dim=3, cores=2)
    assert {parameter.device.type for parameter in layer.parameters()} == {"cpu"}
    layer.reset_parameters(seed=0)
    assert_differentiates(layer, layer, vectors(layer, 3))


def test_a_model_resets_by_apply():
    """The usual recipe after `to_empty`: every module with `reset_parameters` is asked."""
    with torch.device("meta"):
        model = nn.Sequential(small(), nn.ReLU(), small(), nn.LayerNorm(10))
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert 0.01 < model[0].to_dense().std() < 1


class Doubled(nn.Module):
    def forward(self, core):
        return 2 * core

    def right_inverse(self, core):
        return core / 2


def test_cores_take_parametrisations():
    layer, x = small(seed=0), vectors(small(), 4)
    parametrize.register_parametrization(layer, "core_0", Doubled())
    assert_forward(layer, layer(x), x)
    assert_forward(small(seed=0), layer(x), x)  # `right_inverse` kept the core's value
    layer(x).sum().backward()
    assert layer.parametrizations.core_0.original.grad is not None
    assert sorted(layer.state_dict()) == ["bias", "core_1", "parametrizations.core_0.original"]
    parametrize.remove_parametrizations(layer, "core_0")
    assert_differentiates(layer, layer, x)


@pytest.mark.parametrize("apply", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_apply_to_a_core(apply):
    layer, x = small(seed=0), vectors(small(), 4)
    apply(layer, "core_1")
    y = layer(x)
    layer.eval()  # spectral norm takes a step of its iteration at each access in training
    assert_forward(layer, layer(x), x)
    y.sum().backward()


@pytest.mark.parametrize("apply", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_of_the_weight_are_refused_by_torch(apply):
    """`weight` is rebuilt at each access and no parameter: torch says that there is none of that name."""
    with pytest.raises(ValueError, match=r"does not have a parameter.*'weight'"):
        apply(small())


def test_pruning_a_core():
    layer, x = small(seed=0), vectors(small(), 4)
    prune.l1_unstructured(layer, "core_0", amount=0.5)
    assert (layer.cores["core_0"] == 0).sum() == layer.core_0.numel() // 2
    assert_forward(layer, layer(x), x)
    prune.remove(layer, "core_0")
    assert_differentiates(layer, layer, x)


IN_PLACE = {
    "reset": lambda layer: layer.reset_parameters(),
    "canonicalise": lambda layer: layer.canonicalise_(),
    "balance": lambda layer: layer.balance_(),
    "prune": lambda layer: layer.prune_(1e-3),
    "round": lambda layer: layer.round_(bond_dim=1),
    "grow": lambda layer: layer.grow_(bond_dim=8),
    "untie": lambda layer: layer.untie_(),
}


@pytest.mark.parametrize(
    "compute",
    [
        lambda layer: parametrize.register_parametrization(layer, "core_0", Doubled()),
        lambda layer: prune.random_unstructured(layer, "core_0", amount=0.5),
    ],
)
@pytest.mark.parametrize("change", IN_PLACE)
def test_changes_in_place_of_a_computed_core_are_refused(compute, change):
    layer = small()
    compute(layer)
    before = layer.to_dense()
    with pytest.raises(tnl.TNLayersError, match="core_0 of this layer are computed from other numbers"):
        IN_PLACE[change](layer)
    assert torch.equal(layer.to_dense(), before)


class Sharded(nn.Parameter):
    """A part of a core, as far as anybody can see."""


@pytest.mark.parametrize("change", IN_PLACE)
def test_changes_in_place_of_a_sharded_core_are_refused(change):
    layer = small()
    layer.core_0 = Sharded(layer.core_0.detach())
    with pytest.raises(tnl.TNLayersError, match="are Sharded, no ordinary parameters"):
        IN_PLACE[change](layer)


def moved(layer, monkeypatch):
    """The layer, after a move to what it takes for a GPU."""
    monkeypatch.setattr(held, "device_name", lambda device: "cuda imagined")
    return layer.to(torch.float64)  # all moves go the same way


def test_all_plans_of_an_embedding_follow_its_cores_to_another_device(monkeypatch):
    def devices(layer):
        return {plan.device for plan in (*layer.plan_for(4), layer._decoder.plan_for(4), layer._map.weight_plan(0))}

    layer = tnl.nn.TNEmbedding(64, 16, network="mpo(cores=2, bond=4)", seed=0)
    assert devices(layer) == {"cpu"}
    assert devices(moved(layer, monkeypatch)) == {"cuda imagined"}


@pytest.mark.parametrize("view", ["kernel", "flat"])
def test_a_plan_that_is_pinned_moves_with_a_convolution(view, monkeypatch):
    layer = tnl.nn.TNConv2d(4, 4, 3, view=view, in_size=(6, 6) if view == "flat" else None, seed=0)
    plan = layer.plan_for((3, 4, 6, 6))
    layer.use_plan(plan)
    assert moved(layer, monkeypatch).plan_for((50, 4, 6, 6)) is plan


@pytest.mark.parametrize("name", ["mpo-bias", "mpo-padded", "sum-bias"])
def test_threads_share_a_layer(name):
    """Each thread has batches of its own, some of them planned for the first time here; forward and backward."""
    layer = built(name)
    failures = []
    barrier = threading.Barrier(4)

    def work(number):
        try:
            barrier.wait(timeout=10)
            for turn in range(15):
                x = vectors(layer, 1 + (7 * number + 5 * turn) % 40, seed=100 * number + turn).requires_grad_()
                y = layer(x)
                assert_forward(layer, y, x)
                (grad,) = torch.autograd.grad(y.sum(), x)
                expected = layer.to_dense().sum(0).expand_as(x)
                torch.testing.assert_close(grad, expected)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
