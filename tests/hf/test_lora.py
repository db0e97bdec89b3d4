"""LoRA of PEFT on networks: every layer can be a target, and merging keeps what was learned."""

from __future__ import annotations

from copy import deepcopy

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
from small_pretrained import inputs, outputs, pretrained  # noqa: E402
from tnlayers_backends.torch.layers.feature_orders import set_orders  # noqa: E402
from tnlayers_backends.torch.layers.summed import with_low_rank  # noqa: E402

from tnlayers.hf import lora  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def compressed(name):
    return tnl.compress(pretrained(name), ratio=0.5, network="lowrank", progress=False).model


def networks(model):
    return {name for name, module in model.named_modules() if isinstance(module, tnl.nn.TNLinear)}


def tuned(model, **changed):
    """With LoRA that does something."""
    torch.manual_seed(1)
    config = peft.LoraConfig(**({"r": 3, "target_modules": "all-linear", "init_lora_weights": False} | changed))
    return lora.get_peft_model(model, config)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_all_linear_layers_are_targets_and_merging_is_right(name, tmp_path):
    model = compressed(name)
    base, own = outputs(model, name), networks(model) - {"lm_head"}
    model = tuned(model)
    targets = {path.removeprefix("base_model.model.") for path, one in model.named_modules() if hasattr(one, "lora_A")}
    assert own < targets or own == targets
    assert {type(one) for path, one in model.named_modules() if path.removeprefix("base_model.model.") in own} == {
        lora.TNLoraLinear
    }
    wanted = outputs(model, name)
    assert (wanted - base).abs().max() > 0.01  # teeth
    model.merge_adapter()
    close(outputs(model, name), wanted)
    model.unmerge_adapter()
    close(outputs(model, name), wanted)
    model.save_pretrained(tmp_path / "adapter")
    read = lora.load_adapter(compressed(name), str(tmp_path / "adapter"))
    assert torch.equal(outputs(read, name), wanted)
    assert not any(p.requires_grad for p in read.parameters())
    merged = model.merge_and_unload()
    close(outputs(merged, name), wanted)
    assert own <= networks(merged)
    assert all("lowrank" in str(merged.get_submodule(path).spec.terms[-1]) for path in own)
    merged.save_pretrained(tmp_path / "merged")
    again = type(merged).from_pretrained(tmp_path / "merged")
    assert torch.equal(outputs(again, name), outputs(merged, name))


def test_only_lora_trains_and_the_cores_stay():
    model = tuned(compressed("gpt2"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**inputs("gpt2"), labels=inputs("gpt2")["input_ids"]).loss.backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_two_adapters_and_a_bias():
    torch.manual_seed(0)
    model = torch.nn.Sequential(tnl.nn.MPOLinear(16, 12, bias=False, cores=2, bond_dim=2))
    config = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False, lora_bias=True, lora_alpha=7)
    model = lora.get_peft_model(model, config)
    model.add_adapter("other", lora.registered(peft.LoraConfig(r=1, target_modules=["0"], init_lora_weights=False)))
    model.base_model.set_adapter(["default", "other"])
    torch.nn.init.normal_(model.base_model.model[0].lora_B["default"].bias)
    x = torch.randn(3, 16)
    wanted = model(x).detach()
    layer = model.base_model.model[0].base_layer
    model.merge_adapter(safe_merge=True)
    close(model(x).detach(), wanted)
    model.unmerge_adapter()
    assert model.base_model.model[0].base_layer is layer
    merged = model.merge_and_unload()
    close(merged(x).detach(), wanted)
    assert len(merged[0].spec.terms) == 3
    assert merged[0].bias is not None


@pytest.mark.parametrize("network", ["mpo(cores=2, bond=3)", "mpo(cores=2, bond=2) + lowrank(rank=1)", "ring(bond=2)"])
def test_a_term_of_low_rank_is_added_exactly(network):
    torch.manual_seed(0)
    layer = tnl.nn.TNLinear(12, 10, dtype=torch.float64, network=network)
    set_orders(layer, torch.randperm(12).tolist(), torch.randperm(10).tolist())
    down, up = torch.randn(2, 12, dtype=torch.float64), torch.randn(10, 2, dtype=torch.float64)
    before = layer.to_dense().detach()
    new = with_low_rank(with_low_rank(layer, down, up), down, up)
    torch.testing.assert_close(new.to_dense().detach(), before + 2 * up @ down, rtol=1e-12, atol=1e-12)
    x = torch.randn(4, 12, dtype=torch.float64)
    torch.testing.assert_close(new(x), x @ new.to_dense().mT + new.bias, rtol=1e-12, atol=1e-12)
    assert torch.equal(layer.to_dense(), before)
    copied = deepcopy(new)
    assert torch.equal(copied(x), new(x))


def test_what_does_not_go_is_refused():
    layer = tnl.nn.TNLinear(12, 10, network="lowrank(rank=2)")
    with pytest.raises(tnl.TNLayersError, match="full matrix"):
        with_low_rank(layer, torch.zeros(10, 12), torch.zeros(10, 10))
    layer.tied = True
    with pytest.raises(tnl.TNLayersError, match="shares its cores"):
        with_low_rank(layer, torch.zeros(1, 12), torch.zeros(10, 1))
    with pytest.raises(tnl.TNLayersError, match="LoraConfig"):
        lora.registered(peft.IA3Config())
    model = lora.get_peft_model(
        torch.nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2)),
        peft.LoraConfig(r=2, target_modules=["0"], use_dora=True),
    )
    with pytest.raises(tnl.TNLayersError, match="more than a product"):
        model.merge_and_unload()


def test_peft_alone_refuses_and_never_loses_what_was_learned():
    with pytest.raises(ValueError, match="not supported"):
        peft.get_peft_model(compressed("gpt2"), peft.LoraConfig(target_modules=["c_attn"]))
    config = peft.LoraConfig(target_modules=["c_attn"], init_lora_weights=False)
    config._register_custom_module({tnl.nn.TNLinear: peft.tuners.lora.Linear})
    model = peft.get_peft_model(compressed("gpt2"), config)
    with pytest.raises(tnl.TNLayersError, match="computed from its cores"):
        model.merge_and_unload()


def test_all_linear_of_peft_alone_is_refused():
    for config in (peft.LoraConfig, peft.RandLoraConfig):
        with pytest.raises(tnl.TNLayersError, match=r"would pass by the .* networks"):
            peft.get_peft_model(compressed("gpt2"), config(target_modules="all-linear"))
    dense = peft.get_peft_model(pretrained("gpt2"), peft.LoraConfig(target_modules="all-linear", fan_in_fan_out=True))
    assert any(hasattr(module, "lora_A") for module in dense.modules())


def test_compress_leaves_adapters_alone():
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=["c_attn", "c_fc"], init_lora_weights=False)
    model = peft.get_peft_model(pretrained("gpt2"), config)
    wanted = {name: value.clone() for name, value in model.state_dict().items() if "lora_" in name}
    result = tnl.compress(model, ratio=0.6, network="lowrank", progress=False)
    found = {name: value for name, value in result.model.state_dict().items() if "lora_" in name}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())
    notes = {layer.note for layer in result.report.layers if "lora_" in layer.name}
    assert notes == {"it is of an adapter, which stays as it is"}
    assert any(isinstance(one, tnl.nn.TNLinear) for one in result.model.modules())


def test_a_weight_may_be_assigned_to_itself_alone():
    layer = tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=2)
    layer.weight = layer.weight
    old = layer.weight
    with torch.no_grad():
        layer.core_0.mul_(2)
    for wrong in (old, layer.weight.clone(), torch.nn.Parameter(layer.weight)):
        with pytest.raises(tnl.TNLayersError):
            layer.weight = wrong
