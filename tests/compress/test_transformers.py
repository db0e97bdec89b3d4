"""Real models of Hugging Face's transformers, small and drawn from their configurations, compressed as they are."""

from __future__ import annotations

import warnings
from copy import deepcopy

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")

# What transformers says about itself is not ours to mend; models this small meet a budget from below only.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA = SMALL | {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "max_position_embeddings": 32}
BERT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
T5 = {"d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0}
MODELS = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", SMALL | {"n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 4}),
    "bert": ("BertForMaskedLM", "BertConfig", SMALL | BERT | {"max_position_embeddings": 32}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"tie_word_embeddings": True}),
    "t5": ("T5ForConditionalGeneration", "T5Config", SMALL | T5),
}
TIED = {
    "gpt2": ("transformer.wte", "lm_head"),
    "bert": ("bert.embeddings.word_embeddings", "cls.predictions.decoder"),
    "llama-tied": ("model.embed_tokens", "lm_head"),
    "t5": ("shared", "lm_head"),
}


def made(name):
    torch.manual_seed(0)
    kind, config, keywords = MODELS[name]
    return getattr(transformers, kind)(getattr(transformers, config)(**keywords)).eval()


def ids():
    return torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(1))


def inputs(name):
    return {"input_ids": ids()} | ({"decoder_input_ids": ids()} if name == "t5" else {})


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    dense = made(request.param)
    calls = []
    first = next(module for module in dense.modules() if type(module) in (torch.nn.Linear, transformers.Conv1D))
    first.register_forward_hook(lambda module, args, y: calls.append(type(module).__name__))
    sample = inputs("llama") if request.param == "llama" else None  # with it the small tables here stay dense
    # Untrained weights have no error that matters: low rank of 1 is the best of a table, and all tokens would be alike.
    return request.param, dense, tnl.compress(dense, ratio=0.4, network="mpo", sample=sample), calls


def test_the_budget_is_met_and_the_model_stays_itself(pair):
    name, dense, result, calls = pair
    model = result.model
    assert type(model) is type(dense)
    config = model.config.to_dict()
    assert "tnlayers" in config.pop("quantization_config")  # which from_pretrained refuses
    assert config == dense.config.to_dict()
    assert 0.39 < count(model) / count(dense) <= 0.4
    assert count(model) == result.report.after.parameters
    modules = {path for path, _ in dense.named_modules(remove_duplicate=False)}
    assert modules <= {path for path, _ in model.named_modules(remove_duplicate=False)}
    calls.clear()
    model(**inputs(name))
    assert len(calls) >= 1  # the hook came along
    if name in TIED:
        one, other = map(model.get_submodule, TIED[name])
        assert isinstance(one, tnl.nn.TNEmbedding)
        assert all(one.cores[key] is core for key, core in other.cores.items())


def test_it_computes_what_its_weights_say(pair):
    """The same as the dense model with every replaced weight contracted, to rounding; and not what it was."""
    name, dense, result, _ = pair
    twin = deepcopy(dense)
    with torch.no_grad():
        for path, layer in result.model.named_modules():
            if isinstance(layer, (tnl.nn.TNLinear, tnl.nn.TNEmbedding)):
                own, weight = twin.get_submodule(path), layer.to_dense()
                own.weight.copy_(weight.mT if isinstance(own, transformers.Conv1D) else weight)
        found, wanted, was = (model(**inputs(name)).logits for model in (result.model, twin, dense))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert (found - was).abs().max() > 1e-2 * was.abs().max()  # teeth


def test_it_learns_and_generates(pair):
    name, _, result, _ = pair
    model = deepcopy(result.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        loss = model(ids(), labels=ids()).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    if name != "bert":
        assert model.generate(ids(), max_new_tokens=3, min_new_tokens=3, do_sample=False).shape[1] in (4, 12)


def test_adapters_in_gpt2_merge_back():
    model = made("gpt2").double()
    wanted = deepcopy(model)
    block = model.transformer.h[0].attn
    block.c_attn = tnl.nn.TNAdapter(block.c_attn, "mpo(cores=2, bond=3)", seed=0)
    with torch.no_grad():
        assert torch.equal(model(ids()).logits, wanted(ids()).logits)
        block.c_attn.delta.core_1.normal_()
        changed = model(ids()).logits
        block.c_attn = block.c_attn.merge()
        assert isinstance(block.c_attn, transformers.Conv1D)
        torch.testing.assert_close(model(ids()).logits, changed, rtol=1e-12, atol=1e-12)
    assert (changed - wanted(ids()).logits).abs().max() > 1e-3  # teeth


def test_it_is_saved_loaded_and_tied_by_both_libraries(pair, tmp_path):
    name, dense, result, _ = pair
    model, wanted = result.model, result.model(**inputs(name)).logits
    tnl.save(model, tmp_path / "model.safetensors")
    again = tnl.load(tmp_path / "model.safetensors", into=deepcopy(dense))
    assert torch.equal(again(**inputs(name)).logits, wanted)
    assert count(again) == count(model)
    twin = deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(**inputs(name)).logits, wanted)
    for one in (model, again):
        one.tie_weights()
        assert torch.equal(one(**inputs(name)).logits, wanted)
        one.save_pretrained(tmp_path / "theirs")  # as Trainer does at every checkpoint
        assert count(one) == count(model)
