"""The tools that people already use, and what tnlayers does in each: a row for each thing, with its tests.

`docs/results/conformance_page.py` makes docs/conformance.md of this table, and runs its tests.
"""

from dataclasses import dataclass

WORKS, REFUSED = "works", "refused in words"


@dataclass(frozen=True)
class Row:
    """One thing: what it is, in which packages, what happens, and the tests, as "folder/file::test"."""

    item: str
    packages: tuple[str, ...]
    result: str
    tests: tuple[str, ...]


HF, PEFT, TORCH, ONNX = ("transformers",), ("peft",), ("torch",), ("onnx", "onnxscript", "onnxruntime")
_PRE, _TABLE, _LORA, _CODES = "hf/test_pretrained", "hf/test_tables", "hf/test_lora", "hf/test_codes"
_MODULES, _RUN, _ONNX = "backends/torch/modules", "backends/torch/run", "backends/torch/layers/test_onnx"
_EXPERTS, _QUANTISE = "compress/test_experts", f"{_MODULES}/test_quantising"

ROWS = (
    Row(
        "`save_pretrained` and `AutoModel.from_pretrained`, exact: BERT, GPT-2 (tied, Conv1D), Llama, "
        "Qwen2, T5, ViT, Whisper, CLIP, Mamba",
        HF,
        WORKS,
        (f"{_PRE}::test_it_comes_back_exactly",),
    ),
    Row(
        "a checkpoint's base model, and a head of another kind",
        HF,
        WORKS,
        (
            f"{_PRE}::test_its_base_comes_back_and_trains",
            f"{_PRE}::test_a_head_of_another_kind_is_drawn_and_the_networks_are_kept",
        ),
    ),
    Row("dtypes, shards and `device_map`", HF, WORKS, (f"{_PRE}::test_dtypes_and_shards",)),
    Row(
        "`Trainer`: checkpoints, resuming, the best model",
        HF,
        WORKS,
        (f"{_PRE}::test_the_trainer_stops_resumes_and_keeps_the_best",),
    ),
    Row(
        "`Trainer` evaluates the weights that it trains",
        ("transformers", "accelerate"),
        WORKS,
        (f"{_MODULES}/test_trainer::test_evaluation_between_steps_equals_that_of_a_fresh_copy",),
    ),
    Row("`pipeline` on the folder", HF, WORKS, (f"{_PRE}::test_a_pipeline_runs_on_the_folder",)),
    Row("a model card with the report", HF, WORKS, (f"{_PRE}::test_the_folder_has_a_card_with_the_report",)),
    Row("`generate` with a cache, training", HF, WORKS, ("compress/test_transformers::test_it_learns_and_generates",)),
    Row(
        "`resize_token_embeddings` of a table that is a network",
        HF,
        REFUSED,
        (f"{_PRE}::test_tables_of_tokens_keep_their_size",),
    ),
    Row(
        "`from_pretrained` without `import tnlayers.hf` (by transformers, which does not name tnlayers)",
        HF,
        REFUSED,
        (f"{_TABLE}::test_without_the_import_loading_refuses",),
    ),
    Row(
        "a damaged table in `config.json`",
        HF,
        REFUSED,
        (f"{_TABLE}::test_a_changed_table_is_refused", f"{_TABLE}::test_damage_shows_by_the_digest"),
    ),
    Row(
        "stacks of experts: Mixtral, Qwen-MoE, GPT-OSS",
        HF,
        WORKS,
        (
            f"{_EXPERTS}::test_forward_equals_the_twin",
            f"{_EXPERTS}::test_it_trains_and_generates",
            f"{_EXPERTS}::test_it_comes_back_by_both_libraries",
        ),
    ),
    Row(
        'LoRA on networks by `tnlayers.hf.lora`: "all-linear", merging, unmerging, files',
        PEFT,
        WORKS,
        (f"{_LORA}::test_all_linear_layers_are_targets_and_merging_is_right", f"{_LORA}::test_two_adapters_and_a_bias"),
    ),
    Row("LoRA that was there before `tnl.compress`", PEFT, WORKS, (f"{_LORA}::test_compress_leaves_adapters_alone",)),
    Row(
        '"all-linear" of PEFT alone, networks as targets of PEFT alone',
        PEFT,
        REFUSED,
        (
            f"{_LORA}::test_all_linear_of_peft_alone_is_refused",
            f"{_LORA}::test_peft_alone_refuses_and_never_loses_what_was_learned",
        ),
    ),
    Row("merging DoRA into a network", PEFT, REFUSED, (f"{_LORA}::test_what_does_not_go_is_refused",)),
    Row(
        "`tnl.adapt`: adapters of any network type, files of them alone, merging",
        TORCH,
        WORKS,
        (f"{_MODULES}/test_adapting::test_from_zero_to_the_merged_model",),
    ),
    Row(
        "8 and 4 bits: forward, files, copies, `torch.export`",
        TORCH,
        WORKS,
        (
            f"{_QUANTISE}::test_every_kind_computes_with_what_its_codes_stand_for_and_files_keep_them",
            f"{_QUANTISE}::test_copies_pickles_moves_export_and_compiled_code",
        ),
    ),
    Row(
        "training a weight in 8 or 4 bits",
        TORCH,
        REFUSED,
        (f"{_QUANTISE}::test_learning_is_refused_and_adapters_learn_beside_it",),
    ),
    Row("`save_pretrained` of 8 and 4 bits", HF, REFUSED, (f"{_CODES}::test_models_run_save_and_load",)),
    Row(
        "torchao beside `tnl.quantise`",
        ("torchao",),
        WORKS,
        (f"{_QUANTISE}::test_torchao_rounds_the_dense_layers_beside_networks",),
    ),
    Row(
        "ONNX by `dynamo=True` and `dynamo=False`: files hold cores, batches stay open",
        ONNX,
        WORKS,
        (
            f"{_ONNX}::test_a_file_holds_the_cores_and_gives_what_the_layer_gives",
            f"{_RUN}/test_torch_compile::test_onnx_runs_at_other_batch_sizes",
        ),
    ),
    Row("ONNX of 8 and 4 bits", ONNX, WORKS, (f"{_QUANTISE}::test_onnx_files_compute_the_same",)),
    Row(
        "`torch.export`, run by a process without tnlayers",
        TORCH,
        WORKS,
        (
            f"{_MODULES}/test_export_alone::test_what_torch_exports_runs_without_tnlayers",
            f"{_RUN}/test_torch_compile::test_exports_with_a_dynamic_batch",
        ),
    ),
    Row(
        "`torch.compile`",
        TORCH,
        WORKS,
        (
            f"{_RUN}/test_torch_compile::test_compiles_once_for_all_batch_sizes",
            f"{_RUN}/test_torch_compile::test_compiles_with_inductor",
        ),
    ),
    Row(
        "`torch.compile` of recurrent layers with gradients, in one graph",
        TORCH,
        WORKS,
        (
            "backends/torch/layers/test_sequence_compiled::test_compiles_into_one_graph_with_the_gradients_of_eager_mode",
        ),
    ),
    Row(
        "`torch.optim.Muon` on cores, by `tnl.nn.matrix_optimizer`",
        TORCH,
        WORKS,
        (f"{_MODULES}/test_matrices::test_muon_does_with_a_core_what_it_does_with_that_matrix",),
    ),
    Row(
        "Factors (LoRETTA), MetaTT, frozen centre (MPOP) by `tnl.adapt`",
        TORCH,
        WORKS,
        (f"{_MODULES}/test_adapting::test_kinds_of_adapters_begin_as_the_model_learn_are_saved_and_merge",),
    ),
    Row(
        "`tnl.nn.symbolic_trace`: layers as single nodes; `torch.fx.symbolic_trace` refused",
        TORCH,
        WORKS,
        (f"{_MODULES}/test_conventions::test_layers_are_leaves_of_our_tracer_and_refused_to_others",),
    ),
    Row("names of layers in a profile", TORCH, WORKS, (f"{_MODULES}/test_conventions::test_profiles_name_the_layers",)),
    Row(
        "conventions of `nn.Module` over every class; `torch.jit.script` refused",
        TORCH,
        WORKS,
        (f"{_MODULES}/test_conventions::test_conventions",),
    ),
    Row(
        "DDP and `fully_shard` with two processes",
        TORCH,
        WORKS,
        (
            f"{_MODULES}/test_torch_parallel::test_ddp_gradients_are_those_of_one_process",
            f"{_MODULES}/test_torch_parallel::test_a_step_under_fully_shard_is_that_of_one_process",
        ),
    ),
    Row("activation checkpointing", TORCH, WORKS, (f"{_MODULES}/test_torch_parallel::test_activation_checkpointing",)),
    Row(
        "parametrisations and pruning of cores",
        TORCH,
        WORKS,
        (
            f"{_MODULES}/test_torch_lifecycle::test_cores_take_parametrisations",
            f"{_MODULES}/test_torch_lifecycle::test_pruning_a_core",
        ),
    ),
    Row(
        "writes into `layer.weight`, which is computed",
        TORCH,
        REFUSED,
        ("backends/torch/layers/test_computed_weights::test_writes_are_refused",),
    ),
)
