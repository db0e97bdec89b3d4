"""The forms of what `--json` prints: every key, its type and what it means, for docs/json.md and its test.

A path goes down through objects by `.`, through lists by `[]`; `*` is a key that is a name of the user's data. A type
is one of JSON's (`integer`, `number`, `text`, `true or false`, `null`) or the name of a part, which has a table of its
own; several are joined by " or ". A key whose type ends with `?` is not always there.
"""

from __future__ import annotations

from typing import NamedTuple

Rows = dict[str, tuple[str, str]]


class Form(NamedTuple):
    """What one command prints.

    Attributes:
        command: The command, for the page.
        words: A call of it that takes little, for the example and the test; "{folder}" is a folder of the test's.
        rows: Path -> (type, meaning).
        format: The value of the key `format`.
    """

    command: str
    words: tuple[str, ...]
    rows: Rows
    format: str | int


FORMAT = {"format": ("text", "which form this is; the number goes up where a key changes its meaning")}
LAYER = "mpo(in=4x4, out=4x4, bond=2)"

PARTS: dict[str, Rows] = {
    "cost": {
        "flops": ("integer", "floating-point operations; a multiplication and an addition are two"),
        "bytes": ("integer", "bytes read and written, copies included"),
        "copied": ("integer", "bytes of copies among them"),
        "kept": ("integer", "bytes saved for the backward pass beyond inputs and parameters"),
        "result": ("integer", "bytes of the largest result of a step"),
    },
    "size": {
        "parameters": ("integer", "numbers stored"),
        "bytes": ("integer", "bytes that they take"),
        "flops": ("integer", "floating-point operations of a forward pass at the report's batch"),
    },
    "spread": {
        "mean": ("number or null", "over seeds"),
        "std": ("number or null", "sample standard deviation over seeds; null for one seed"),
    },
    "epoch": {
        "epoch": ("integer", "its number, from 1"),
        "train_loss": ("number", "mean loss of its batches, in nats"),
        "test_loss": ("number", "loss on the test part, in nats"),
        "test_accuracy": ("number", "share of the test part that is right"),
        "lr": ("number", "learning rate"),
        "seconds": ("number", "seconds of its training steps"),
        "test_seconds": ("number", "seconds of its test"),
        "validation_loss": ("number or null", "loss on what was held out of training, in nats"),
        "validation_accuracy": ("number or null", "share of that which is right"),
    },
    "rates": {
        "flops_per_second": ("number", "of a large product of matrices"),
        "side": ("number", "length at which a side of a product halves that rate"),
        "cached_bytes_per_second": ("number", "reading and writing within the cache"),
        "bytes_per_second": ("number", "beyond the cache"),
        "fresh_bytes_per_second": ("number", "writing memory that was never touched"),
        "fresh_bytes": ("integer", "bytes from which on an allocation is such memory"),
        "permuted_bytes_per_second": ("number", "copies in another order of axes, pieces of 16 entries apart"),
        "cached_permuted_bytes_per_second": ("number", "the same within the cache"),
        "runs_bytes_per_second": ("number", "such copies, pieces side by side"),
        "cached_runs_bytes_per_second": ("number", "the same within the cache"),
        "repeated_bytes_per_second": ("number", "writing out a matrix for each of a stack"),
        "cache_bytes": ("integer", "bytes that one core has at hand"),
        "seconds_per_layer": ("number", "of applying a layer without gradients, beside its operations"),
        "seconds_per_training": ("number", "of a training step of a layer, beside its operations"),
        "seconds_per_function": ("number", "of entering a batch in chunks, forward and backward"),
        "seconds_per_entry": ("number", "of entering chunks without gradients"),
        "seconds_per_call": ("number", "of one operation"),
        "seconds_per_chunk_call": ("number", "of one operation in a chunk"),
        "seconds_per_recorded": ("number", "that recording an operation for its gradient takes"),
        "seconds_per_product": ("number", "of a product, before its arithmetic"),
        "seconds_per_matrix": ("number", "of each matrix of a stack in a product"),
        "seconds_per_sum": ("number", "of each matrix of a stack that is added up"),
    },
}

PLAN: Rows = {
    "title": ("text", "the layer's spec"),
    "operands.*[]": ("integer", "indices of each operand's axes; x is the input"),
    "output[]": ("integer", "indices of the output's axes"),
    "sizes[]": ("integer", "size of each index"),
    "batch_index": ("integer or null", "the index of the batch"),
    "features[]": ("integer", "in_features and out_features"),
    "objective": ("text", "what was minimised: forward, training or inference"),
    "dtype": ("text", "the dtype that bytes are counted for"),
    "found_by": ("text", "the optimizer that proposed the order"),
    "device": ("text", "whose rates ranked the candidates"),
    "path[][]": ("integer", "pairs of registers to contract: operands first, then each result"),
    "chunk": ("integer or null", "rows of the batch at a time; null: all at once"),
    "slices[][]": ("integer?", "an index, and the parts in which it is summed"),
    "stacked": ("true or false", "whether a core may be multiplied with each matrix of a stack"),
    "batch": ("integer", "the batch that was planned for"),
    "flops": ("integer", "floating-point operations of the objective"),
    "forward": ("cost", "the forward pass"),
    "backward": ("cost", "the backward pass"),
    "workspace": ("integer", "bytes that chunks run in"),
    "prepared": ("integer", "bytes made from the cores before the batch is read"),
    "memory": ("integer", "bytes in use at most beyond input, output, cores and their gradients"),
    "dense_forward": ("cost", "the dense layer's forward pass"),
}
PARTS["plan"] = FORMAT | PLAN

FORMS = (
    Form(
        "tnlayers describe MODEL",
        ("describe", "lenet5", "--json"),
        FORMAT
        | {
            "model": ("text", "its name"),
            "network": ("text", "the template"),
            "replaced.*": ("integer", "weights of the replaced layers, as the network and dense"),
            "rho": ("number", "parameters over dense weights of the replaced layers"),
            "total.*.weights": ("integer", "weights of the whole model"),
            "total.*.trainable": ("integer", "all its trainable parameters"),
            "layers[].name": ("text", "a replaced layer"),
            "layers[].replaces": ("text", "what it was"),
            "layers[].spec": ("text", "what it is"),
            "layers[].parameters": ("integer", "its weights"),
            "layers[].uniform_parameters": ("integer", "the same if no bond were clipped"),
            "layers[].dense_weights": ("integer", "the dense layer's weights"),
            "layers[].bias": ("integer", "parameters of its bias"),
            "layers[].notes[]": ("text?", "what was adjusted"),
            "differences[].key": ("text", "a point where the paper and its code disagree"),
            "differences[].models[]": ("text", "the models that it is about"),
            "differences[].what": ("text", "both sides"),
            "differences[].here": ("text", "what this library does"),
        },
        "tnlayers.model/1",
    ),
    Form(
        "tnlayers describe SPEC",
        ("describe", LAYER, "--json"),
        FORMAT
        | {
            "spec": ("text", "the sized spec"),
            "in_features": ("integer", "input features"),
            "out_features": ("integer", "output features"),
            "cores[].name": ("text", "a core"),
            "cores[].shape[]": ("integer", "its shape"),
            "cores[].parameters": ("integer", "its entries"),
            "parameters": ("integer", "entries of all cores"),
            "bias": ("integer", "parameters of the bias"),
            "dense_parameters": ("integer", "those of the dense layer, without bias"),
            "rho": ("number", "parameters / dense_parameters"),
            "notes[]": ("text?", "what was adjusted"),
        },
        "tnlayers.layer/1",
    ),
    Form(
        "tnlayers describe --list",
        ("describe", "--list", "--json"),
        FORMAT
        | {
            "models.*.weights": ("integer", "weights of the dense model"),
            "models.*.replaces[]": ("text", "layers that a network replaces"),
            "networks.*.summary": ("text", "the type in a line"),
            "networks.*.cores": ("integer or null", "cores by default; null: as the type needs"),
            "networks.*.keywords.*": ("integer or number or text or null", "a keyword's default"),
            "networks.*.per_edge[]": ("text?", "keywords that take a size for each bond"),
            "networks.*.source": ("text", "built in, a package or a file"),
            "broken[]": ("text?", "packages whose types cannot be loaded"),
        },
        "tnlayers.list/1",
    ),
    Form("tnlayers plan SPEC", ("plan", LAYER, "--json"), FORMAT | PLAN, "tnlayers.plan/1"),
    Form(
        "tnlayers plan SUM",
        ("plan", "mpo(bond=2) + lowrank(rank=2)", "--in", "16", "--out", "16", "--json"),
        FORMAT
        | {
            "title": ("text", "the layer's spec"),
            "features[]": ("integer", "in_features and out_features"),
            "flops": ("integer", "floating-point operations of the objective, all terms"),
            "terms[]": ("plan", "one for each network of the sum"),
        },
        "tnlayers.sumplan/1",
    ),
    Form(
        "tnlayers draw SPEC",
        ("draw", LAYER, "--json"),
        FORMAT
        | {
            "title": ("text", "the picture's title"),
            "description": ("text", "what it shows, for people who cannot see it"),
            "size[]": ("number", "width and height, in pixels"),
            "items[].kind": ("text", "bond, mode, core or label"),
            "items[].title": ("text", "what a reader is shown on it"),
            "items[].index": ("text?", "the index of a bond"),
            "items[].size": ("text?", "the size of a bond or mode"),
            "items[].name": ("text?", "the name of a mode or core"),
            "items[].shape": ("text?", "the shape of a core"),
            "items[].box[]": ("number", "left, top, right and bottom, in pixels"),
        },
        "tnlayers.picture/1",
    ),
    Form(
        "tnlayers explore SPEC",
        ("explore", LAYER, "-o", "{folder}/page.html", "--json"),
        FORMAT
        | {
            "file": ("text", "the page"),
            "bytes": ("integer", "its size"),
            "plans": ("integer", "plans in it"),
            "batches[]": ("integer", "batches that can be chosen"),
            "networks.*[]": ("text", "specs that can be chosen, by type"),
            "optimizers[]": ("text", "optimizers that can be chosen"),
        },
        "tnlayers.explored/1",
    ),
    Form(
        "tnlayers spectra FILE",
        ("spectra", "{folder}/model.safetensors", "--network", "mpo(cores=2)", "--json"),
        {
            "[].format": FORMAT["format"],
            "[].layer": ("text", "its name in the model"),
            "[].network": ("text", "the network that cuts the weight"),
            "[].error": ("number", "the relative error that sizes are advised for"),
            "[].bonds[].cores[]": ("text", "the cores on both sides of a bond"),
            "[].bonds[].entropy": ("number", "entropy of its squared singular values, in nats"),
            "[].bonds[].largest_entropy": ("number", "the most that it could be"),
            "[].bonds[].advice": ("integer", "the size that is enough for the error"),
            "[].bonds[].standing_out": ("integer", "values above the weight's noise (analytic VBMF)"),
            "[].bonds[].values[]": ("number", "the singular values, largest first"),
        },
        "tnlayers.spectra/1",
    ),
    Form(
        "tnlayers check SPEC, and check --kinds",
        ("check", LAYER, "--backend", "numpy", "--json"),
        FORMAT
        | {
            "good": ("true or false", "whether all differences are within the tolerance"),
            "differences[].spec": ("text", "the layer"),
            "differences[].backend": ("text", "the backend"),
            "differences[].dtype": ("text", "the dtype"),
            "differences[].quantity": ("text", "cores, forward or gradients"),
            "differences[].where": ("text", "the array that differs most"),
            "differences[].units": ("number", "the largest difference from float64, 1 is the tolerance"),
            "differences[].good": ("true or false", "whether it is at most 1"),
        },
        "tnlayers.check/1",
    ),
    Form(
        "tnlayers calibrate",
        ("calibrate", "--json"),
        FORMAT
        | {
            "file": ("text", "where the rates are saved"),
            "dtype": ("text", "the dtype that they are for"),
            "rates": ("rates", "the rates"),
            "half.file": ("text?", "the same for half precision"),
            "half.dtype": ("text?", "the dtype of that"),
            "half.rates": ("rates?", "its rates"),
        },
        "tnlayers.rates/1",
    ),
    Form(
        "tnlayers compress FILE",
        (
            "compress",
            "{folder}/model.safetensors",
            "--ratio",
            "0.5",
            "--network",
            "mpo(cores=2)",
            "--dry-run",
            "--json",
        ),
        FORMAT
        | {
            "model": ("text", "its class"),
            "asked": ("text", "the budget, in words"),
            "batch": ("integer", "vectors or images that flops and times are for"),
            "layers[].name": ("text", "a layer"),
            "layers[].kind": ("text", "its class"),
            "layers[].asked": ("text", "what it was given"),
            "layers[].network": ("text or null", "its network; null: it stays dense"),
            "layers[].bond[]": ("integer?", "the bonds"),
            "layers[].before": ("size", "as it was"),
            "layers[].after": ("size", "as it is"),
            "layers[].error": ("number or null", "relative error of the weight"),
            "layers[].output_error": ("number or null", "relative error of its output on the sample"),
            "layers[].sensitivity": ("number or null", "how much the model's output hangs on it"),
            "layers[].searched": ("integer or number or text or null", "what a search of shapes found"),
            "layers[].time": ("number or null", "predicted time over the dense layer's"),
            "layers[].note": ("text", "why it stays as it is, if it does"),
            "others": ("size", "all other parameters"),
            "dry_run": ("true or false", "whether nothing was built; errors are then bounds"),
            "rest[].name": ("text?", "a parameter among the others"),
            "rest[].parameters": ("integer?", "its numbers"),
            "rest[].reason": ("text?", "why it stays"),
            "others_after": ("size or null", "the others, where they were rounded"),
            "bits": ("number or null", "bits of each rounded number, scales included"),
            "file_bytes": ("integer or null", "bytes of the file, where a budget was one of bytes"),
            "before": ("size", "the whole model as it was"),
            "after": ("size", "the whole model as it is"),
            "ratio": ("number", "parameters after over before"),
            "replaced_ratio": ("number", "the same of the replaced layers"),
        },
        "tnlayers.compressed/1",
    ),
    Form(
        "tnlayers train MODEL",
        ("train", "fc2", "--network", "mpo", "--data", "digits", "--epochs", "1", "--out", "{folder}/runs", "--json"),
        FORMAT
        | {
            "format": ("integer", "which form this is, as in results.json of a run's folder"),
            "model": ("text", "its name"),
            "data": ("text", "the data set"),
            "recipe.*": ("integer or number or text or true or false", "the settings (docs/training.md)"),
            "precision": ("text", "of the arithmetic"),
            "complete": ("true or false", "whether every network and seed is finished"),
            "networks[].network": ("text", "dense, or the template"),
            "networks[].parameters.*.*": ("integer", "weights, dense weights and trainable parameters"),
            "networks[].rho": ("number", "parameters over dense weights of the replaced layers"),
            "networks[].final_test_accuracy": ("spread", "after the last epoch"),
            "networks[].best_test_epoch_accuracy": ("spread", "of the epoch that is best on the test part"),
            "networks[].validation_epoch_test_accuracy": ("spread or null", "of the epoch chosen by what was held out"),
            "networks[].median_seconds_per_epoch": ("number", "seconds"),
            "networks[].seeds[].seed": ("integer", "the seed"),
            "networks[].seeds[].epochs": ("integer", "epochs trained"),
            "networks[].seeds[].final": ("epoch", "the last epoch"),
            "networks[].seeds[].best_test_epoch": ("epoch", "the best on the test part"),
            "networks[].seeds[].validation_epoch": ("epoch or null", "the one chosen by what was held out"),
            "networks[].seeds[].median_seconds_per_epoch": ("number", "seconds"),
            "networks[].seeds[].weights_file": ("text", "in the run's folder"),
            "networks[].final_test_loss_nats": ("spread?", "of a language model"),
            "networks[].final_test_bits_per_character": ("spread?", "of a language model"),
            "text.*": ("integer or number or text?", "of a language model: what it read"),
            "environment.*": ("integer or text", "versions, commit, processor, threads and the command"),
            "note": ("text", "what the figures are"),
            "directory": ("text", "the run's folder"),
        },
        1,
    ),
    Form(
        "tnlayers generate RUN",
        ("generate", "{folder}/language", "--prompt", "O ", "--json"),
        FORMAT
        | {
            "prompt": ("text", "what is continued"),
            "seed": ("integer", "of the draws"),
            "temperature": ("number", "0: always the likeliest"),
            "top_k": ("integer or null", "how many of the likeliest tokens are drawn from"),
            "texts.*": ("text", "the continuation by each network"),
        },
        "tnlayers.texts/1",
    ),
    Form(
        "tnlayers reproduce",
        ("reproduce", "table1", "--dry-run", "--json"),
        FORMAT
        | {
            "missing[].part": ("text", "a table or figure of the paper"),
            "missing[].model": ("text", "a model"),
            "missing[].network": ("text", "dense, or the template"),
            "missing[].data": ("text", "the data set"),
            "missing[].seed": ("integer", "the seed"),
            "missing[].recipe": ("text", "the recipe's name"),
            "missing[].epochs": ("integer", "its epochs"),
            "missing[].paper_selection": ("true or false", "whether the best test epoch counts"),
            "missing[].stored_with_other_selection": ("true or false", "whether such a run is there by the other rule"),
            "missing[].minutes": ("number", "the price"),
            "missing[].source": ("text", "what the price is from"),
            "missing[].folder": ("text", "where it will run"),
            "missing[].begun": ("true or false", "whether a part of it is there"),
            "missing_minutes": ("number", "of all of them"),
            "chosen": ("integer", "runs that fit the budget"),
            "finished[]": ("text?", "runs that were finished"),
            "page": ("text", "the page that was written"),
            "differences[]": ("text", "points where the paper and its code disagree"),
            "taken_in": ("integer", "runs taken in from other folders"),
        },
        "tnlayers.reproduction/1",
    ),
    Form(
        "tnlayers bench",
        (),
        FORMAT | {"*": ("cell of docs/results/benchmarks.json", "each cell that was measured, by name")},
        "tnlayers.benchmark/1",
    ),
    Form(
        "any command that refuses",
        ("plan", "mpo(bond=2", "--json"),
        FORMAT
        | {
            "error": ("text", "the paragraph of the refusal"),
            "status": ("integer", "the exit status: 2 where the words of the call are wrong, else 1"),
        },
        "tnlayers-error/1",
    ),
)
