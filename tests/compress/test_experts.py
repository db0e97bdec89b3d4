"""Stacks of experts in mixtures: decomposed one by one or as one network, whichever the budget prefers."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from tnlayers_backends.torch.layers.expert_stack import ExpertStack, StackedLinear  # noqa: E402
from tnlayers_backends.torch.layers.kinds import kind_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 4}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32, "num_experts_per_tok": 2}
SIZES |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MODELS = {
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {"num_local_experts": 4}),
    "qwen": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", {"num_experts": 4, "moe_intermediate_size": 24}),
    "gpt-oss": ("GptOssForCausalLM", "GptOssConfig", {"num_local_experts": 4, "layer_types": ["full_attention"]}),
}
IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def mixture(name, alike=False):
    """Experts that differ, or experts that are one matrix but for a little."""
    kind, config, more = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**SIZES, **more)).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(5)
        if parameter.ndim == 3 and alike:
            parameter.copy_(parameter[:1] + 0.05 * parameter)
    return model


@torch.no_grad()
def logits(model):
    return model(IDS).logits


def stacks(model):
    return {path: one for path, one in model.named_modules() if isinstance(one, ExpertStack)}


@torch.no_grad()
def twin_of(model, dense):
    """The dense model with every weight that is a network now."""
    for path, layer in model.named_modules():
        if isinstance(layer, (tnl.nn.TNLinear, tnl.nn.TNEmbedding)) and ".experts." not in path:
            dense.get_submodule(path).weight.copy_(layer.to_dense())
    for path, stack in stacks(model).items():
        assert dense.get_parameter(path).shape == stack.shape
        dense.get_parameter(path).copy_(stack.to_dense())
    return dense


@pytest.fixture(scope="module", params=[("mixtral", False), ("mixtral", True), ("qwen", False), ("gpt-oss", True)])
def pair(request):
    dense = mixture(*request.param)
    return request.param, dense, tnl.compress(dense, ratio=0.4, network=("mpo", "lowrank"), progress=False)


def test_forward_equals_the_twin(pair):
    (name, alike), dense, result = pair
    found = logits(result.model)
    assert stacks(result.model)
    assert 0.39 < result.report.ratio <= 0.4
    wanted = logits(twin_of(result.model, mixture(name, alike)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert (found - logits(dense)).abs().max() > 1e-2 * wanted.abs().max()  # teeth
    assert sum(p.numel() for p in result.model.parameters()) == result.report.after.parameters


def test_alike_experts_are_one_network_and_others_one_each(pair):
    (_, alike), _, result = pair
    as_one = [path for path, stack in stacks(result.model).items() if "all" in stack._modules]
    assert bool(as_one) == alike
    rows = [layer.name for layer in result.report.layers if ".experts." in layer.name and layer.network != "dense"]
    assert any(row.endswith("proj.all") for row in rows) == alike
    assert all(f"{path}.all" in rows for path in as_one)


def test_it_comes_back_by_both_libraries(pair, tmp_path):
    (name, alike), _, result = pair
    result.model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(result.model))
    tnl.save(result.model, tmp_path / "m.safetensors")
    read = tnl.load(tmp_path / "m.safetensors", into=mixture(name, alike))
    assert torch.equal(logits(read), logits(result.model))
    for copied in (deepcopy(result.model), pickle.loads(pickle.dumps(result.model))):
        assert torch.equal(logits(copied), logits(result.model))


def test_it_trains_and_generates(pair):
    _, dense, result = pair
    model = deepcopy(result.model)
    loss = model(IDS, labels=IDS).loss
    loss.backward()
    asked = [p for path, stack in stacks(model).items() for p in stack.parameters()]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in asked)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
    assert float(model(IDS, labels=IDS).loss.detach()) < float(loss.detach())
    assert model.generate(IDS, max_new_tokens=2, min_new_tokens=2, do_sample=False).shape == (2, 11)
    own = dense.model.layers[0].mlp.experts
    assert isinstance(own.gate_up_proj, torch.nn.Parameter)  # the model itself is as it was


def test_a_stack_that_stays_dense_beside_one_that_does_not_is_saved(tmp_path):
    """Transformers stores experts one by one in some models, and would cut what is a network too."""
    rules = {"*": None, "*experts.gate_up_proj.[0-3]": "lowrank(rank=2)"}
    model = tnl.compress(mixture("mixtral"), error=0.9, rules=rules, progress=False).model
    assert len(stacks(model)) == 1
    for _ in range(2):
        model.save_pretrained(tmp_path)
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
        assert torch.equal(logits(again), logits(model))
        model = again


def test_rules_match_stacks_and_single_experts():
    model = mixture("mixtral")
    rules = {
        "*": None,
        "*layers.0.mlp.experts.gate_up_proj.*": "lowrank(rank=2)",
        "*layers.0.mlp.experts.gate_up_proj.all": None,
        "*layers.0.mlp.experts.down_proj.all": {"network": "mpo(cores=2)", "ratio": 0.3},
    }
    made = tnl.compress(model, error=0.5, rules=rules, progress=False)
    found = stacks(made.model)
    assert set(found) == {"model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"}
    assert set(found["model.layers.0.mlp.experts.gate_up_proj"]._modules) == {"0", "1", "2", "3"}
    whole = found["model.layers.0.mlp.experts.down_proj"]._modules["all"]
    assert whole.spec.out_modes[0] == 4  # the expert is an index of its own
    torch.testing.assert_close(logits(made.model), logits(twin_of(made.model, mixture("mixtral"))))


def test_with_a_sample_and_other_budgets(tmp_path):
    dense = mixture("qwen")
    aware = tnl.compress(dense, ratio=0.5, network="lowrank", sample=IDS, progress=False)
    rows = {layer.name: layer for layer in aware.report.layers}
    gates = [row for name, row in rows.items() if "gate_up_proj" in name and row.network != "dense"]
    assert gates
    assert any(row.output_error is not None for row in gates)
    assert tnl.compress(dense, error=0.4, network="lowrank", progress=False).report.ratio < 1
    flops = sum(layer.before.flops for layer in tnl.compress(dense, ratio=0.9, dry_run=True).report.layers)
    assert tnl.compress(dense, max_flops=int(0.9 * flops), network="lowrank", progress=False).report.ratio < 1
    inside = tnl.compress(dense, ratio=0.5, network="lowrank", inplace=True, progress=False).model
    assert inside is dense
    assert stacks(dense)


NETWORKS = ["mpo(cores=2)", "mpo(cores=3, bond=3)", "lowrank(rank=5)", "ring(cores=2, bond=2)", "cp(cores=2, rank=4)"]
NETWORKS += ["tucker(cores=2, bond=3)", "tree(cores=3, bond=3)", "blockdiag(blocks=2)", "mpo(bond=2) + lowrank(rank=2)"]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("modes", ["own", "split"])
def test_one_expert_of_one_network_is_its_part_of_the_weight(network, modes):
    """With the expert as an index of its own, and with the sizes split as they come: cut, or rebuilt."""
    torch.manual_seed(0)
    dense = StackedLinear(12, 6 * 10, bias=False, dtype=torch.float64)
    dense.experts = 6
    template = kind_of(dense).template(network, dense) if modes == "own" else network
    layer = tnl.nn.TNLinear(12, 60, False, dtype=torch.float64, network=template, seed=0)
    for turned in (False, True):
        stack = ExpertStack(6, turned, {"all": layer})
        wanted = layer.to_dense().reshape(6, 10, 12)
        assert torch.equal(stack.to_dense(), wanted.mT if turned else wanted)
        x = torch.randn(5, 12, dtype=torch.float64)
        for expert in range(6):
            one = stack[torch.tensor(expert)]
            found = x @ one if turned else torch.nn.functional.linear(x, one)
            torch.testing.assert_close(found, x @ wanted[expert].mT, rtol=1e-12, atol=1e-12)
        with pytest.raises(IndexError):
            stack[6]
        gradient = torch.autograd.grad((x @ stack[2] if turned else torch.nn.functional.linear(x, stack[2])).sum(),
                                       [*layer.cores.values()])  # fmt: skip
        whole = torch.autograd.grad((x @ layer.to_dense().reshape(6, 10, 12)[2].mT).sum(), [*layer.cores.values()])
        for a, b in zip(gradient, whole, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_whatever_else_is_done_with_an_expert_is_done_with_its_weight():
    layer = tnl.nn.TNLinear(12, 60, False, network="lowrank(rank=3)", seed=0)
    stack = ExpertStack(6, False, {"all": layer})
    wanted = stack.to_dense()
    assert (len(stack), stack.shape) == (6, wanted.shape)
    assert torch.equal(torch.add(stack[3], 1.0), wanted[3] + 1)
    assert torch.equal(torch.nn.functional.linear(torch.ones(2, 10), weight=stack[3].mT), torch.ones(2, 10) @ wanted[3])
    assert stack[-1].shape == (10, 12)
