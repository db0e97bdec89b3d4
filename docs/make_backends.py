"""Write the measured parts of docs/backends.md: `python docs/make_backends.py` (minutes; --table: seconds).

Between two comments of a block's name stands what this script makes: the table of abilities, each cell a test that is
looked up in its file; the largest differences that `tnlayers check` finds over all network types; the time of
`import tnlayers`; and the example backend, which is a file of the tests.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "backends.md"
EXAMPLE = ROOT / "tests" / "fractions_backend.py"

NO_TRACE = "numpy runs as it is called: there is nothing to trace"
NO_GRADIENTS = "numpy does not differentiate"

# Ability -> cell of numpy, torch and jax: "file::test" (in tests/, without .py), several by commas, or a reason.
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
    "dense weight, differentiable where gradients are": (
        "test_layers::test_dense_forms",
        "test_layers::test_the_weight_is_differentiable",
        "test_jax::test_forward_gradients_and_weight",
    ),
    "same cores of the same seed": (
        "test_layers::test_numpy_and_torch_draw_the_same_cores",
        "test_layers::test_numpy_and_torch_draw_the_same_cores",
        "test_jax::test_the_same_seed_gives_the_same_cores",
    ),
    "the framework's own generator": (
        "test_jax::test_without_a_seed_each_layer_is_another",
        "test_torch_layer::test_seeds",
        "test_jax::test_init_draws_parameters_of_the_layers_own_kind",
    ),
    "jit / compile": (
        NO_TRACE,
        "test_torch_compile::test_compiles_with_inductor",
        "test_jax::test_jit_with_a_changing_batch",
    ),
    "compilations over changing batch sizes": (
        NO_TRACE,
        "test_torch_compile::test_compiles_once_for_all_batch_sizes",
        "test_jax::test_equal_layers_share_structure_and_compiled_code",
    ),
    "export with an open batch": (
        NO_TRACE,
        "test_torch_compile::test_exports_with_a_dynamic_batch",
        "test_jax::test_export_with_a_symbolic_batch",
    ),
    "ONNX at another batch size": (
        NO_TRACE,
        "test_torch_compile::test_onnx_runs_at_other_batch_sizes",
        'jax has no ONNX exporter of its own; move the layer with `tnl.to_backend(layer, "torch")`',
    ),
    "functional gradients": (
        NO_GRADIENTS,
        "test_torch_func::test_grad_and_gradients_per_sample",
        "test_jax::test_a_layer_of_gradients_trains",
    ),
    "gradients per sample": (
        NO_GRADIENTS,
        "test_torch_func::test_grad_and_gradients_per_sample",
        "test_jax::test_gradients_per_example",
    ),
    "vmap": (
        "leading axes: test_layers::test_forward",
        "test_torch_func::test_vmap_over_the_batch, test_torch_func::test_vmap_over_stacked_cores",
        "test_jax::test_vmap_over_inputs_and_over_layers",
    ),
    "forward mode (jvp)": (
        NO_GRADIENTS,
        "test_torch_func::test_jvp_and_jacrev",
        "test_jax::test_jvp, test_jax_planned::test_forward_mode_is_asked_for",
    ),
    "second order": (
        NO_GRADIENTS,
        "test_torch_func::test_hessian_vector_products_over_the_cores, "
        "test_torch_func::test_gradcheck_and_gradgradcheck",
        "test_jax::test_hessian_times_vector",
    ),
    "activation checkpointing": (
        NO_GRADIENTS,
        "test_torch_parallel::test_activation_checkpointing",
        "test_jax::test_checkpoint_changes_no_gradient",
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
        "test_jax::test_init_draws_parameters_of_the_layers_own_kind",
    ),
    "several devices": (
        "numpy has one",
        "test_torch_parallel::test_ddp_gradients_are_those_of_one_process, "
        "test_torch_parallel::test_a_step_under_fully_shard_is_that_of_one_process",
        "test_jax::test_two_devices_with_sharded_data",
    ),
    "buffers given back (donation)": (
        "numpy frees by reference: test_numpy::test_memory_is_what_the_plan_states",
        "torch frees by reference",
        "test_jax::test_donated_layers_are_reused",
    ),
    "quantisation": (
        "numpy has none",
        "test_torch_hosts::test_dynamic_quantisation_leaves_the_layer_and_takes_its_dense_form",
        "jax has none",
    ),
    "inside models of others": (
        "numpy has none",
        "test_torch_hosts::test_transformer_encoder_layer",
        "test_jax_models::test_equinox, test_jax_models::test_flax_linen, "
        "test_jax_models::test_flax_nnx_with_a_layer_as_parameter",
    ),
    "copy and pickle": (
        "plain Python objects",
        "test_torch_lifecycle::test_copies_and_pickles",
        "test_jax::test_equal_layers_share_structure_and_compiled_code",
    ),
    "a plan of one's own": (
        "test_layers::test_every_plan_gives_the_same",
        "test_torch_layer::test_plans_are_chosen_by_batch_unless_one_is_pinned",
        "test_jax::test_use_plan_gives_another_layer",
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
        "test_backends::test_a_framework_that_is_absent_is_named_with_its_extra",
    ),
}

_TEST = re.compile(r"\b([\w/]+)::(\w+)")


def tests_of(file: str) -> set[str]:
    """Names of the test functions of a file of tests/."""
    tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def missing() -> list[str]:
    """Tests that a cell names and no file has."""
    named = {pair for cells in ABILITIES.values() for cell in cells for pair in _TEST.findall(cell)}
    there = {file: tests_of(file) if (ROOT / "tests" / f"{file}.py").is_file() else set() for file, _ in named}
    return sorted(f"{file}::{test}" for file, test in named if test not in there[file])


def abilities() -> str:
    """The table; raises if a test that it names does not exist."""
    if absent := missing():
        raise SystemExit(f"These tests do not exist: {', '.join(absent)}")

    def link(found: re.Match[str]) -> str:
        file, test = found.groups()
        return f"[{test.removeprefix('test_').replace('_', ' ')}](../tests/{file}.py)"

    lines = ["| | numpy | torch | jax |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {' | '.join(_TEST.sub(link, cell) for cell in cells)} |" for name, cells in ABILITIES.items()
    ]
    return "\n".join(lines)


def differences() -> str:
    """The largest difference of each backend and dtype over one layer of every network type."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT), str(ROOT / "backends")]
    from test_check import one_of_each_type

    from tnlayers.check import check

    specs = one_of_each_type()
    found = check(specs)
    lines = [
        f"Over {len(specs)} layers, one of each network type, some padded or with bias, in units of the tolerance:",
        "",
        "| backend | dtype | forward | gradients |",
        "| --- | --- | --- | --- |",
    ]
    for backend, dtype in dict.fromkeys((one.backend, one.dtype) for one in found):
        largest = {}
        for one in found:
            if (one.backend, one.dtype) == (backend, dtype):
                largest[one.quantity] = max(largest.get(one.quantity, 0.0), one.units)
        cells = [f"{largest[q]:.3f}" if q in largest else "none" for q in ("forward", "gradients")]
        lines.append(f"| {backend} | {dtype} | {' | '.join(cells)} |")
    worst = max((one for one in found if one.quantity != "cores"), key=lambda one: one.units)
    where = f"{worst.quantity} of `{worst.spec}` on {worst.backend}, {worst.dtype}"
    lines += ["", f"The largest is {worst.units:.3f}: {where}."]
    return "\n".join(lines)


def import_time(runs: int = 21) -> str:
    """The median over fresh interpreters, the start of Python itself taken off.

    Processor time: unlike the time on the clock, it does not tell how busy the machine was.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def median(code: str) -> float:
        seconds = []
        for _ in range(runs):
            begin = used()
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
            seconds.append(used() - begin)
        return statistics.median(seconds)

    bare, full = median("pass"), median("import tnlayers")
    return (
        f"Importing tnlayers takes {full - bare:.2f} s of processor time: the median of {runs} fresh interpreters, "
        f"beyond the {bare:.2f} s of Python's own start (Python {platform.python_version()}, numpy {version('numpy')})."
        " TensorNetwork is imported when the first graph is declared, a framework when its first layer is built."
    )


def example() -> str:
    """The example backend, as the tests run it."""
    return f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```"


def filled(page: str, block: str, text: str) -> str:
    """The page with new text between the comments of a block."""
    begin, end = f"<!-- {block} -->", f"<!-- end of {block} -->"
    head, rest = page.split(begin)
    return head + begin + "\n" + text + "\n" + end + rest.split(end)[1]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--table", action="store_true", help="only what needs no measuring")
    page = PAGE.read_text(encoding="utf-8")
    blocks = {"abilities": abilities, "example": example}
    if not parser.parse_args().table:
        blocks |= {"differences": differences, "import time": import_time}
    for block, make in blocks.items():
        page = filled(page, block, make())
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
