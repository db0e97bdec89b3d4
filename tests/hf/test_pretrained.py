"""Compressed models of transformers come back by their own `from_pretrained`, to the last bit."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from small_pretrained import MODELS, inputs, outputs, pretrained  # noqa: E402

import tnlayers.hf  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what transformers says about itself
TIED = {
    "gpt2": ("transformer.wte", "lm_head"),
    "llama": ("model.embed_tokens", "lm_head"),
    "qwen2": ("model.embed_tokens", "lm_head"),
    "t5": ("shared", "lm_head"),
}


def small(name, **changed):
    """Compressed so far that tied tables become networks too."""
    return tnl.compress(pretrained(name, **changed), ratio=0.5, network=("mpo", "lowrank"), progress=False).model


def networks(model):
    return {path: str(layer.spec) for path, layer in model.named_modules() if hasattr(layer, "spec")}


def differences(one, other):
    """The largest difference of each tensor of two models, which hold the same."""
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert [value.dtype for value in first.values()] == [second[name].dtype for name in first]
    return {name: float((value - second[name]).abs().max()) for name, value in first.items() if value.numel()}


@pytest.fixture(scope="module", params=MODELS)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = small(request.param)
    model.save_pretrained(folder)
    return request.param, model, folder


def test_it_comes_back_exactly(saved):
    name, model, folder = saved
    again, info = type(model).from_pretrained(folder, device_map="cpu", output_loading_info=True)
    assert not any(info.values()), info
    assert networks(again) == networks(model)
    assert len(networks(model)) >= 3
    assert max(differences(again, model).values()) == 0.0
    assert torch.equal(outputs(again, name), outputs(model, name))
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    assert not hasattr(again, "is_quantized")
    for path in networks(model):
        one, other = again.get_submodule(path), model.get_submodule(path)
        assert (one.tied, one.training) == (other.tied, False)
    if name in TIED:
        one, other = map(again.get_submodule, TIED[name])
        assert isinstance(one, tnl.nn.TNEmbedding)
        assert all(one.cores[key] is core for key, core in other.cores.items())
    again.save_pretrained(folder / "again")
    third = type(model).from_pretrained(folder / "again")
    assert max(differences(third, model).values()) == 0.0


def test_its_base_comes_back_and_trains(saved):
    name, model, folder = saved
    base = transformers.AutoModel.from_pretrained(folder)
    within = model if type(base) is type(model) else getattr(model, model.base_model_prefix, model)
    assert networks(base) == {path: spec for path, spec in networks(within).items() if path != "lm_head"}
    own = {key: value for key, value in within.state_dict().items() if not key.startswith("lm_head")}
    held = {key: value for key, value in base.state_dict().items() if not key.startswith("pooler")}  # BERT's masks none
    assert held.keys() >= own.keys() - {key for key in own if key.startswith("proj_out")}
    for key, value in held.items():
        assert torch.equal(value, own[key]), key
    base.train()
    found = base(**inputs(name))
    (found[0] if found[0].is_floating_point() else found[1]).square().mean().backward()
    assert any(p.grad is not None for p in base.parameters())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_dtypes_and_shards(name, tmp_path):
    model = small(name).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len([*tmp_path.glob("*.safetensors")]) > 1
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert max(differences(again, model).values()) == 0.0
    wide = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert {p.dtype for p in wide.parameters()} == {torch.float32}
    assert max(differences(wide, model.float()).values()) == 0.0


def test_what_changed_since_is_written(tmp_path):
    """Rounded, exchanged by hand, with orders of features, frozen, copied and unpickled: each save writes what is."""
    model = small("llama")
    path = next(path for path in networks(model) if "mlp" in path)
    model.get_submodule(path).round_(bond_dim=2)
    block = model.model.layers[0].self_attn
    block.o_proj = tnl.nn.MPOLinear(32, 32, bias=False, cores=2, bond_dim=3)
    from tnlayers_backends.torch.layers.feature_orders import set_orders

    set_orders(block.o_proj, list(range(31, -1, -1)), None)
    tnl.freeze(model)
    for one in (model, deepcopy(model), pickle.loads(pickle.dumps(model))):
        one.save_pretrained(tmp_path)
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
        assert networks(again) == networks(model)
        assert again.model.layers[0].self_attn.o_proj.in_order[0] == 31
        assert torch.equal(outputs(again, "llama"), outputs(model, "llama"))


@pytest.mark.parametrize("by", ["attach", "save_pretrained"])
def test_layers_by_hand_are_in_the_table(by, tmp_path):
    model = pretrained("gpt2")
    model.transformer.h[0].attn.c_attn = tnl.nn.TNLinear(32, 96, network="lowrank(rank=4)")
    if by == "attach":
        tnlayers.hf.attach(model)
        model.save_pretrained(tmp_path)
    else:
        tnlayers.hf.save_pretrained(model, tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(outputs(again, "gpt2"), outputs(model, "gpt2"))


def test_a_model_read_by_tnlayers_is_saved_by_transformers(tmp_path):
    model = small("gpt2")
    tnl.save(model, tmp_path / "m.safetensors")
    read = tnl.load(tmp_path / "m.safetensors", into=pretrained("gpt2"))
    read.save_pretrained(tmp_path / "folder")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    assert max(differences(again, model).values()) == 0.0


def test_a_head_of_another_kind_is_drawn_and_the_networks_are_kept(tmp_path):
    model = small("bert")
    model.save_pretrained(tmp_path)
    found, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, output_loading_info=True
    )
    assert "classifier.weight" in info["missing_keys"]
    assert {path for path in networks(found) if "encoder" in path} == {
        path for path in networks(model) if "encoder" in path
    }
    found.bert.save_pretrained(tmp_path / "base")
    with pytest.raises(tnl.TNLayersError, match=r"ties cls\.predictions\.decoder\.weight to bert\.emb"):
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "base")
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "base", tie_word_embeddings=False)
    path = next(path for path in networks(model) if "encoder" in path)
    wanted = model.get_submodule(path).to_dense()
    assert torch.equal(again.get_submodule(path).to_dense(), wanted)


def test_tables_of_tokens_keep_their_size():
    for name, rules, refused in (
        ("gpt2", None, True),
        ("llama", {"model.embed_tokens": None}, True),  # the head alone is a network: nothing may change before it
        ("llama", {"model.embed_tokens": None, "lm_head": None}, False),
    ):
        model = pretrained(name, tie_word_embeddings=rules is None)
        model = tnl.compress(model, ratio=0.5, network="lowrank", rules=rules, progress=False).model
        before, table = outputs(model, name), model.get_input_embeddings()
        assert model.resize_token_embeddings() is table
        if refused:
            with pytest.raises(tnl.TNLayersError, match="keep both ends dense"):
                model.resize_token_embeddings(100)
            with pytest.raises(tnl.TNLayersError, match=r"resize_token_embeddings\(128\)"):
                model.resize_token_embeddings(pad_to_multiple_of=64)
            assert torch.equal(outputs(model, name), before)
            assert model.resize_token_embeddings(96) is table
        else:
            model.resize_token_embeddings(100)
            torch.testing.assert_close(outputs(model, name)[..., :96], before)


def test_the_trainer_stops_resumes_and_keeps_the_best(tmp_path):
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(3, 96, (16, 8), generator=generator)
    data = [{"input_ids": row, "labels": row} for row in rows]

    def trainer(model):
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=4, per_device_train_batch_size=8, learning_rate=1e-2, save_steps=2, eval_steps=2,
            eval_strategy="steps", save_strategy="steps", load_best_model_at_end=True, report_to=[], use_cpu=True,
            disable_tqdm=True, seed=0,
        )  # fmt: skip
        return transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data)

    whole = trainer(small("gpt2"))
    whole.train()
    best = transformers.AutoModelForCausalLM.from_pretrained(whole.state.best_model_checkpoint)
    assert max(differences(best, whole.model).values()) == 0.0
    half = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-2")
    assert max(differences(half, whole.model).values()) > 0
    again = trainer(half)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert max(differences(again.model, whole.model).values()) == 0.0


def test_a_pipeline_runs_on_the_folder(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"w{k}": k for k in range(96)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="w0").save_pretrained(tmp_path)
    model = small("gpt2")
    model.save_pretrained(tmp_path)
    run = transformers.pipeline("text-generation", model=str(tmp_path), device="cpu")
    found = run("w5 w6 w7", max_new_tokens=4, do_sample=False, return_full_text=False)[0]["generated_text"]
    wanted = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False)[0, 3:]
    assert found.split() == [f"w{k}" for k in wanted.tolist()]


def test_the_folder_has_a_card_with_the_report(tmp_path):
    result = tnl.compress(pretrained("gpt2"), ratio=0.6, progress=False)
    tnlayers.hf.save_pretrained(result.model, tmp_path, result, name="me/small", base="me/large")
    card = (tmp_path / "README.md").read_text()
    from huggingface_hub import ModelCard

    read = ModelCard(card)
    assert (read.data.base_model, read.data.library_name) == ("me/large", "transformers")
    assert str(result.report) in card
    assert 'GPT2LMHeadModel.from_pretrained("me/small")' in card
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["layers"]
    for wrong in ({"name": 'a"b'}, {"base": "a\nlicense: x"}, {"push_to_hub": True}):
        with pytest.raises(tnl.TNLayersError):
            tnlayers.hf.save_pretrained(result.model, tmp_path, **wrong)
    with pytest.raises(tnl.TNLayersError, match="no save_pretrained"):
        tnlayers.hf.save_pretrained(torch.nn.Linear(2, 2), tmp_path)
