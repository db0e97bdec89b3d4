"""Models of transformers of hidden size 32 and two layers, drawn from their configurations, with inputs."""

from __future__ import annotations

import torch
import transformers

WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = {"vocab_size": 96, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
IMAGE = {"image_size": 16, "patch_size": 8}
ROPE = WORDS | WIDE | {"num_key_value_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": True}
CLIP = {
    "text_config": WORDS | WIDE | {"max_position_embeddings": 16, "projection_dim": 16},
    "vision_config": WIDE | IMAGE | {"projection_dim": 16},
    "projection_dim": 16,
}
HEADS = {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
WHISPER = (
    WORDS
    | HEADS
    | {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    | {"num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 20, "decoder_start_token_id": 1}
)
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
MODELS = {
    "bert": ("BertForMaskedLM", "BertConfig", WORDS | WIDE | {"max_position_embeddings": 32}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", WORDS | {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", ROPE),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", ROPE),
    "t5": ("T5ForConditionalGeneration", "T5Config", WORDS | T5),
    "vit": ("ViTForImageClassification", "ViTConfig", WIDE | IMAGE),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER),
    "clip": ("CLIPModel", "CLIPConfig", CLIP),
    "mamba": ("MambaForCausalLM", "MambaConfig", WORDS | {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}),
}


def pretrained(name: str, **changed: object) -> torch.nn.Module:
    """A model in evaluation mode, always with the same numbers."""
    kind, config, keywords = MODELS[name]
    torch.manual_seed(0)
    return getattr(transformers, kind)(getattr(transformers, config)(**(keywords | changed))).eval()


def inputs(name: str) -> dict[str, torch.Tensor]:
    """What it is called with."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 96, (2, 9), generator=generator)
    image = torch.randn(2, 3, 16, 16, generator=generator)
    own = {
        "vit": {"pixel_values": image},
        "clip": {"input_ids": ids, "pixel_values": image},
        "t5": {"input_ids": ids, "decoder_input_ids": ids},
        "whisper": {"input_features": torch.randn(2, 16, 40, generator=generator), "decoder_input_ids": ids},
    }
    return own.get(name, {"input_ids": ids})


@torch.no_grad()
def outputs(model: torch.nn.Module, name: str) -> torch.Tensor:
    """What it gives."""
    found = model(**inputs(name))
    return found.logits_per_image if name == "clip" else found.logits
