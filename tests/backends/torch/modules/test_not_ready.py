"""Models that are not ready: lazy ones are refused in words; what is made under inference_mode can be trained."""

from __future__ import annotations

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


def dense():
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))


def network():
    return tnl.nn.MPOLinear(32, 32, bond_dim=4, cores=2)


def adapted():
    return tnl.adapt(dense(), "0", "mpo(bond=2, cores=2)")


def saved(folder, what):
    tnl.save(what, folder / "file.safetensors")
    return folder / "file.safetensors"


# What a model or layer is before, and what is done to it under inference_mode.
IN_PLACE = {
    "adapt": (dense, lambda model, _: tnl.adapt(model, "0", "mpo(bond=2, cores=2)")),
    "merge": (adapted, lambda model, _: tnl.merge_adapters(model)),
    "adapters of a file": (dense, lambda model, folder: tnl.load(folder / "adapters.safetensors", into=model)),
    "load into": (dense, lambda model, folder: tnl.load(saved(folder, nn.Sequential(*dense())), into=model)),
    "load_dense": (
        lambda: nn.Sequential(network()),
        lambda model, _: tnl.load_dense(model, nn.Sequential(nn.Linear(32, 32)).state_dict()),
    ),
    "grow_": (network, lambda layer, _: layer.grow_(bond_dim=8)),
    "round_": (network, lambda layer, _: layer.round_(bond_dim=2)),
    "prune_": (network, lambda layer, _: layer.prune_(0.5)),
    "untie_": (network, lambda layer, _: layer.untie_()),
    "canonicalise_": (network, lambda layer, _: layer.canonicalise_()),
}


def assert_trains(model):
    assert not [name for name, one in model.named_parameters() if one.is_inference()]
    model(torch.randn(3, 32)).square().sum().backward()
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in model.parameters())


@pytest.mark.parametrize("change", IN_PLACE)
def test_what_is_changed_under_inference_mode_can_be_trained(change, tmp_path):
    make, changed = IN_PLACE[change]
    model = make()
    tnl.save(tnl.adapters(adapted()), tmp_path / "adapters.safetensors")
    with torch.inference_mode():
        changed(model, tmp_path)
    assert_trains(model)


@pytest.mark.parametrize("change", ["compress", "compress by a sample"])
def test_a_model_compressed_under_inference_mode_can_be_trained(change):
    before = dense()
    with torch.inference_mode():
        model = quiet(
            lambda: tnl.compress(
                before, ratio=0.5, network="lowrank", sample=torch.randn(64, 32) if "sample" in change else None
            )
        ).model
    assert_trains(model)


def test_a_model_is_repaired_under_inference_mode():
    teacher, model = dense(), nn.Sequential(network(), nn.ReLU(), nn.Linear(32, 32))
    with torch.inference_mode():
        report = tnl.repair(model, teacher, [torch.randn(32, 32)], progress=False)
    assert report.delivered < report.began
    assert_trains(model)


def test_a_computed_weight_is_read_by_copies_under_inference_mode():
    layer, own = network(), torch.zeros(32, 32)
    with torch.inference_mode():
        own.copy_(layer.weight)
        own.add_(layer.weight)
        with pytest.raises(tnl.TNLayersError, match="would be lost"):
            layer.weight.copy_(own)
    assert torch.equal(own, 2 * layer.to_dense())


def test_a_model_made_under_inference_mode_gets_no_adapters():
    with torch.inference_mode():
        model = dense()
    with pytest.raises(tnl.TNLayersError, match=r"made under torch\.inference_mode: clone it outside"):
        tnl.adapt(model, "0", "mpo(bond=2, cores=2)")


def lazy():
    return nn.Sequential(nn.LazyLinear(32), nn.LazyBatchNorm1d(), network())


LAZY = {
    "compress": lambda _: tnl.compress(lazy(), ratio=0.5),
    "adapt": lambda _: tnl.adapt(lazy(), "0", "mpo(bond=2, cores=2)"),
    "save": lambda folder: tnl.save(lazy(), folder / "file.safetensors"),
    "quantise": lambda _: tnl.quantise(lazy(), bits=8),
    "load_dense": lambda _: tnl.load_dense(lazy(), dense().state_dict()),
}


@pytest.mark.parametrize("what", LAZY)
def test_lazy_models_are_refused_in_words(what, tmp_path):
    with pytest.raises(
        tnl.TNLayersError, match=r"have no sizes yet \(lazy modules\): run the model once on an example"
    ):
        LAZY[what](tmp_path)
    assert not list(tmp_path.iterdir())


STATES = {
    "numpy": (lambda w: w.numpy(), "is a ndarray: give tensors of torch"),
    "list": (lambda w: w.tolist(), "is a list: give tensors of torch"),
    "sparse": (lambda w: w.to_sparse(), "layout torch.sparse_coo"),
    "8 bits": (lambda w: w.to(torch.float8_e4m3fn), "is kept in 8 bits"),
    "quantised": (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "dequantize"),
    "subclass": (lambda w: w.as_subclass(type("Packed", (torch.Tensor,), {})), "is a Packed"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("kind", STATES)
def test_checkpoints_of_other_tensors_are_refused_in_words(kind):
    change, words = STATES[kind]
    model = nn.Sequential(network())
    state = nn.Sequential(nn.Linear(32, 32)).state_dict()
    state["0.weight"] = change(state["0.weight"])
    before = model[0].to_dense()
    with pytest.raises(tnl.TNLayersError, match=words):
        tnl.load_dense(model, state)
    assert torch.equal(model[0].to_dense(), before)


def test_load_dense_refuses_parametrised_cores():
    model = nn.Sequential(network())
    nn.utils.parametrizations.weight_norm(model[0], "core_0")
    with pytest.raises(tnl.TNLayersError, match="are computed from other numbers"):
        tnl.load_dense(model, nn.Sequential(nn.Linear(32, 32)).state_dict())


def test_repair_leaves_parametrised_cores_as_they_are_and_still_gets_better():
    teacher, model = nn.Sequential(nn.Linear(32, 32)), nn.Sequential(network())
    nn.utils.parametrizations.weight_norm(model[0], "core_0")
    before = model[0].core_0.detach().clone()
    report = tnl.repair(model, teacher, [torch.randn(64, 32)], progress=False, epochs=0)
    assert report.delivered < 0.9 * report.began
    assert torch.equal(model[0].core_0, before)


@pytest.mark.parametrize("given", [None, 5, "model", nn.Linear, [nn.Linear(2, 2)]])
def test_what_is_no_module_is_refused_in_words(given):
    for call in (tnl.freeze, tnl.thaw, tnl.frozen, lambda one: tnl.repair(one, dense(), [torch.ones(1, 32)])):
        with pytest.raises(tnl.TNLayersError, match="A layer or a model of torch is needed, got"):
            call(given)
    with pytest.raises(tnl.TNLayersError, match=r"teacher=.*the dense model of torch is needed"):
        tnl.repair(network(), given, [torch.ones(1, 32)])
    if not isinstance(given, (str, list)):
        with pytest.raises(tnl.TNLayersError, match=r"loader=.*an iterable of batches is needed"):
            tnl.repair(network(), nn.Linear(32, 32), given)
