"""Without tnlayers.hf, `from_pretrained` refuses a compressed checkpoint instead of drawing its weights at random."""

from __future__ import annotations

import json

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def small(cls=None):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=1, n_head=2)
    return (cls or transformers.GPT2LMHeadModel)(config).eval()


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    return transformers.BertModel(config).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("make", [small, bert])
def test_from_pretrained_refuses_without_the_import(tmp_path, monkeypatch, make, inplace):
    model = make()
    made = tnl.compress(model, ratio=0.6, inplace=inplace).model
    assert hasattr(model.config, "quantization_config") is inplace
    made.save_pretrained(tmp_path)
    assert "tnlayers" in json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    # transformers asks its own function, as in a process that did not import tnlayers.hf (compress did it here)
    quantizers = transformers.quantizers.auto.AutoHfQuantizer
    own = quantizers.supports_quant_method.__closure__[0].cell_contents
    monkeypatch.setattr(quantizers, "supports_quant_method", staticmethod(own))
    for load in (type(model).from_pretrained, transformers.AutoModel.from_pretrained):
        for more in ({}, {"dtype": torch.bfloat16}, {"ignore_mismatched_sizes": True}):
            with pytest.raises(ValueError, match="quantization config"):
                load(tmp_path, **more)


@pytest.mark.filterwarnings("ignore")
def test_the_model_itself_works_and_is_read_back(tmp_path):
    made = tnl.compress(small(), ratio=0.6).model
    ids = torch.arange(8)[None]
    tnl.save(made, tmp_path / "m.safetensors")
    made.save_pretrained(tmp_path / "folder")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "folder")
    into = transformers.AutoModelForCausalLM.from_config(config).eval()
    loaded = tnl.load(tmp_path / "m.safetensors", into=into)
    assert torch.equal(loaded(ids).logits, made(ids).logits)
    assert "tnlayers" in loaded.config.quantization_config
    assert made.generate(ids, max_new_tokens=3, do_sample=False).shape == (1, 11)


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_networks_has_no_mark():
    made = tnl.compress(small(), error=0.0, rules={"*": None}).model
    assert not hasattr(made.config, "quantization_config")
