"""What each backend can do: every cell of the table is the test that shows it, or why there is none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests"

NO_TRACE = "numpy runs as it is called: there is nothing to trace"
NO_GRADIENTS = "numpy does not differentiate"

# Ability -> cell of numpy, torch and jax: "file::test" (below tests/, without .py; with the folder where several files
# of that name have the test), several by commas, or a reason.
ABILITIES: dict[str, tuple[str, str, str]] = {
    "forward equals the float64 einsum of every network type": (
        "test_layers::test_forward",
        "test_layers::test_forward",
        "test_jax::test_forward_gradients_and_weight",
    ),
    "gradients equal those of the einsum": (
        NO_GRADIENTS,
        "test_layers::test_gradients",
        "test_jax::test_forward_gradients_and_weight",
    ),
    "`tnlayers check`: every network type, every dtype": (
        ("test_check::test_every_network_type_on_every_backend_and_dtype",) * 3
    ),
    "`tnlayers check --kinds`: every kind of one network": (
        ("test_kinds::test_every_kind_is_within_the_tolerance",) * 3
    ),
    "dense weight, differentiable where gradients are": (
        "test_layers::test_dense_forms",
        "test_layers::test_the_weight_is_differentiable",
        "test_jax::test_forward_gradients_and_weight",
    ),
    "same cores of the same seed": (
        "test_layers::test_numpy_and_torch_draw_the_same_cores",
        "test_layers::test_numpy_and_torch_draw_the_same_cores",
        "test_jax_layer::test_the_same_seed_gives_the_same_cores",
    ),
    "the framework's own generator": (
        "test_jax_layer::test_without_a_seed_each_layer_is_another",
        "test_torch_layer::test_seeds",
        "test_jax_layer::test_init_draws_parameters_of_the_layers_own_kind",
    ),
    "jit / compile": (
        NO_TRACE,
        "test_torch_compile::test_compiles_with_inductor",
        "test_jax_transforms::test_jit_with_a_changing_batch",
    ),
    "compilations over changing batch sizes": (
        NO_TRACE,
        "test_torch_compile::test_compiles_once_for_all_batch_sizes",
        "test_jax_layer::test_equal_layers_share_structure_and_compiled_code",
    ),
    "export with an open batch": (
        NO_TRACE,
        "test_torch_compile::test_exports_with_a_dynamic_batch",
        "test_jax_transforms::test_export_with_a_symbolic_batch",
    ),
    "ONNX at another batch size": (
        NO_TRACE,
        "test_torch_compile::test_onnx_runs_at_other_batch_sizes",
        'jax has no ONNX exporter of its own; move the layer with `tnl.to_backend(layer, "torch")`',
    ),
    "functional gradients": (
        NO_GRADIENTS,
        "test_torch_func::test_grad_and_gradients_per_sample",
        "test_jax_transforms::test_a_layer_of_gradients_trains",
    ),
    "gradients per sample": (
        NO_GRADIENTS,
        "test_torch_func::test_grad_and_gradients_per_sample",
        "test_jax_transforms::test_gradients_per_example",
    ),
    "vmap": (
        "leading axes: test_layers::test_forward",
        "test_torch_func::test_vmap_over_the_batch, test_torch_func::test_vmap_over_stacked_cores",
        "test_jax_transforms::test_vmap_over_inputs_and_over_layers",
    ),
    "forward mode (jvp)": (
        NO_GRADIENTS,
        "test_torch_func::test_jvp_and_jacrev",
        "test_jax_transforms::test_jvp, test_jax_planned::test_forward_mode_is_asked_for",
    ),
    "second order": (
        NO_GRADIENTS,
        "test_torch_func::test_hessian_vector_products_over_the_cores, "
        "test_torch_func::test_gradcheck_and_gradgradcheck",
        "test_jax_transforms::test_hessian_times_vector",
    ),
    "activation checkpointing": (
        NO_GRADIENTS,
        "test_torch_parallel::test_activation_checkpointing",
        "test_jax_transforms::test_checkpoint_changes_no_gradient",
    ),
    "the same plans": (("test_jax_planned::test_all_backends_plan_alike",) * 3),
    "the batch in chunks, with a planned backward pass": (
        "test_numpy::test_chunks_give_the_same, test_numpy::test_chunks_take_the_memory_of_a_few_rows",
        "test_planned::test_values_and_gradients, test_planned::test_function_transforms",
        "test_jax_planned::test_values_and_gradients, "
        "test_jax_planned::test_transformations_agree_with_plain_operations, "
        "test_jax_planned::test_memory_does_not_grow_with_the_batch",
    ),
    "float64": (
        "test_layers::test_forward",
        "test_torch_dtypes::test_forward_and_gradients",
        "test_jax::test_forward_gradients_and_weight, test_jax::test_64_bits_without_the_flag_are_refused",
    ),
    "float16": (
        "test_numpy::test_dtypes_beside_the_usual_two",
        "test_torch_dtypes::test_half_precision_of_two_to_twelve_cores",
        "test_jax::test_half_precision",
    ),
    "bfloat16": (
        "numpy has no bfloat16: test_backends::test_to_backend_keeps_the_dtype_or_refuses",
        "test_torch_dtypes::test_half_precision_of_two_to_twelve_cores",
        "test_jax::test_half_precision",
    ),
    "complex64, complex128": (
        "test_numpy::test_dtypes_beside_the_usual_two",
        "test_torch_dtypes::test_forward_and_gradients",
        "test_jax::test_forward_gradients_and_weight",
    ),
    "autocast": (
        NO_TRACE,
        "test_torch_dtypes::test_autocast_computes_in_bfloat16_and_leaves_float32_gradients",
        "jax has none: cast the layer with `jax.tree.map`",
    ),
    "deferred initialisation": (
        "arrays are made when a layer is built",
        "test_torch_lifecycle::test_meta_device_and_deferred_initialisation",
        "test_jax_layer::test_init_draws_parameters_of_the_layers_own_kind",
    ),
    "several devices": (
        "numpy has one",
        "test_torch_parallel::test_ddp_gradients_are_those_of_one_process, "
        "test_torch_parallel::test_a_step_under_fully_shard_is_that_of_one_process",
        "test_jax_transforms::test_two_devices_with_sharded_data, "
        "test_jax_tools::test_a_training_over_eight_devices_is_that_of_one",
    ),
    "buffers given back (donation)": (
        "numpy frees by reference: test_numpy::test_memory_is_what_the_plan_states",
        "torch frees by reference",
        "test_jax_transforms::test_donated_layers_are_reused",
    ),
    "quantisation": (
        "numpy has none",
        "test_torch_hosts::test_dynamic_quantisation_leaves_the_layer_and_takes_its_dense_form",
        "jax has none",
    ),
    "inside models of others": (
        "numpy has none",
        "test_torch_hosts::test_transformer_encoder_layer",
        "test_jax_models::test_equinox, test_jax_models::test_flax_linen, test_jax_modules::test_tools_of_flax",
    ),
    "training step by step as the torch twin, by Adam in float64": (
        NO_GRADIENTS,
        "test_jax_modules::test_training_follows_the_torch_twin",
        "test_jax_modules::test_training_follows_the_torch_twin, test_parity::test_parity",
    ),
    "every other kind of layer": (
        "test_parity::test_parity, test_gaps::test_every_kind_works_on_every_backend",
        "test_parity::test_parity",
        "test_parity::test_parity",
    ),
    "recurrent cells": (
        "test_parity::test_parity",
        "test_jax_modules::test_cells_are_those_of_torch",
        "test_jax_modules::test_cells_are_those_of_torch",
    ),
    "dropout between stacked recurrent layers": (
        "numpy evaluates",
        "test_sequence::test_dropout_between_layers_draws_as_torch",
        "test_jax_dropout::test_a_share_is_dropped_and_the_rest_is_scaled, "
        "test_jax_dropout::test_nothing_is_dropped_in_inference",
    ),
    "whole models of torch": (
        "test_elsewhere::test_logits_on_numpy, test_elsewhere::test_a_language_model_gives_the_same_logits, "
        "test_elsewhere::test_a_model_is_served_without_torch",
        "they are its own",
        "test_elsewhere::test_logits_and_gradients_on_jax, test_elsewhere::test_logits_of_deep_models_on_both, "
        "test_elsewhere::test_a_language_model_gives_the_same_logits",
    ),
    "checkpoints of a framework's own": (
        "numpy has none",
        "a state dict: test_torch_lifecycle::test_copies_and_pickles",
        "test_jax_tools::test_orbax_writes_and_reads_what_nnx_trains, "
        "test_jax_tools::test_leaves_of_equinox_are_written_and_read",
    ),
    "layers stacked and scanned, rematerialised": (
        "numpy has none",
        "torch has no scan over modules",
        "test_jax_modules::test_layers_are_stacked_and_scanned, "
        "test_jax_tools::test_stacked_layers_are_scanned_and_rematerialised",
    ),
    "a cast of all parameters": (
        "`to_backend` keeps the dtype: test_backends::test_to_backend_keeps_the_dtype_or_refuses",
        "test_torch_dtypes::test_half_precision_of_two_to_twelve_cores",
        "test_jax_tools::test_a_cast_by_tree_map_is_followed",
    ),
    "copy and pickle": (
        "plain Python objects",
        "test_torch_lifecycle::test_copies_and_pickles",
        "test_jax_layer::test_equal_layers_share_structure_and_compiled_code",
    ),
    "a plan of one's own": (
        "test_layers::test_every_plan_gives_the_same",
        "test_torch_layer::test_plans_are_chosen_by_batch_unless_one_is_pinned",
        "test_jax_layer::test_use_plan_gives_another_layer",
    ),
    "save and load": (
        ("io/test_layers::test_saved_on_one_backend_loads_on_every_other_without_the_declaring_code",) * 3
    ),
    "`to_backend` to and from each other": (("test_backends::test_to_backend_keeps_everything",) * 3),
    "products reach BLAS": (
        "test_numpy::test_products_reach_blas",
        "the products are `mm` and `bmm`: test_counting::test_flops_of_training_are_those_torch_counts",
        "XLA chooses the kernels",
    ),
    "loads no other framework": (
        "test_numpy::test_nothing_else_is_loaded",
        "test_structure::test_importing_the_package_loads_no_framework",
        "test_backends_foreign::test_a_framework_that_is_absent_is_named_with_its_extra",
    ),
}

_TEST = re.compile(r"\b([\w/]+)::(\w+)")


def tests_of(file: Path) -> set[str]:
    """Names of the test functions of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def homes(file: str, test: str) -> list[Path]:
    """Files of this name, in any folder of tests/, that have the test."""
    return [found for found in sorted(TESTS.rglob(f"{file}.py")) if test in tests_of(found)]


def missing() -> list[str]:
    """Tests that a cell names and no file, or more than one, has."""
    named = {pair for cells in ABILITIES.values() for cell in cells for pair in _TEST.findall(cell)}
    return sorted(f"{file}::{test}" for file, test in named if len(homes(file, test)) != 1)


def abilities() -> str:
    """The table; raises if a test that it names does not exist."""
    if absent := missing():
        raise SystemExit(f"These tests do not exist: {', '.join(absent)} (or exist twice: then name the folder).")

    def link(found: re.Match[str]) -> str:
        file, test = found.groups()
        (home,) = homes(file, test)
        return f"[{test.removeprefix('test_').replace('_', ' ')}](../tests/{home.relative_to(TESTS).as_posix()})"

    lines = ["| | numpy | torch | jax |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {' | '.join(_TEST.sub(link, cell) for cell in cells)} |" for name, cells in ABILITIES.items()
    ]
    return "\n".join(lines)
