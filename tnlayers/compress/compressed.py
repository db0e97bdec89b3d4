"""`compress`: a trained model within a budget, each layer with the network and the size that serve the whole best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnlayers.compress.budgets import Budget, RatioOf
from tnlayers.declare.arguments import checks_arguments

if TYPE_CHECKING:
    from tnlayers.compress.report import CompressReport
    from tnlayers.compress.rules import Given
    from tnlayers.declare.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """A compressed model and what was delivered.

    Attributes:
        model: The model; None after a dry run.
        report: Per layer and in total; print it.
    """

    model: Any
    report: CompressReport

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


@checks_arguments(
    network=None, ratio=None, max_params=None, max_flops=None, max_bytes=None, bits=None, search=None
)  # sizes are checked with the budget
def compress(
    model: Any,
    *,
    ratio: float | None = None,
    max_params: int | None = None,
    max_flops: int | None = None,
    max_bytes: int | None = None,
    error: float | None = None,
    network: str | Spec | Sequence[str | Spec] | None = None,
    rules: Mapping[str, Given] | None = None,
    sample: Any = None,
    data_aware: bool = True,
    batch: int = 1,
    ratio_of: RatioOf = "model",
    bits: int | None = None,
    group: int = 32,
    strict: bool = False,
    avoid_slower: bool = False,
    dry_run: bool = False,
    inplace: bool = False,
    cache: str | Path | None = None,
    progress: bool | None = None,
    search: float = 0.0,
) -> Compressed:
    """Put networks in the place of a trained torch model's weights, within exactly one budget.

    The budget is one problem over all layers and types: each type offers each weight its sizes at the error that its
    singular values show, and those are taken that lower the sum of errors most per parameter. A weight that a network
    would not make smaller stays dense. Class, names, hooks, device, dtype and modes of the model are kept.

    Args:
        model: A torch module with nn.Linear, nn.Conv1d to 3d, nn.Embedding, nn.MultiheadAttention, nn.LSTMCell,
            nn.GRUCell, or Hugging Face's Conv1D inside.
        ratio: At most this share of the parameters, biases and untouched layers included.
        max_params: At most so many parameters of the whole model.
        max_flops: At most so many flops of the layers that can be replaced, in a forward pass of `batch`.
        max_bytes: At most so many bytes of the file that `tnl.save` writes. Files are written to find the parameters,
            up to four times; nothing of them stays.
        error: At most this relative error of each layer's weight, ||W - W'|| / ||W||; with a sample and
            `data_aware`, of its outputs.
        network: A network type or template, or several to choose from by what singular values show. None offers low
            rank and an MPO; within a budget of parameters each weight then takes the one of least measured error, of
            its outputs on the sample, else of itself, their sum among them. The report shows what was measured.
        rules: By patterns on layer names ("encoder.*"): a template, a mapping with `network` and one of bond_dim,
            max_params, ratio and error, or None for dense. The last that matches counts.
        sample: Inputs of the model: a tensor, a tuple of arguments, a mapping of keywords, or an iterable of those.
            Then errors count by how much they change the model's outputs.
        data_aware: With a sample, whether to minimise the error of each layer's outputs, not of its weight.
        batch: Images or vectors that flops and predicted times are for.
        ratio_of: "model"; "replaced": `ratio` is then of the layers that may be replaced alone; or "bytes": of the
            bytes of the model's parameters and buffers, which the file is to keep to.
        bits: 8 or 4: cores and dense weights are rounded afterwards, as by `tnl.quantise`. Not with `error`.
        group: Entries that share a scale then.
        strict: Refuse a budget that can only be met more than 2 % below it.
        avoid_slower: Whether networks that are predicted to be slower than the dense layer are out of the question.
        dry_run: Only report; nothing is built.
        inplace: Change the model itself, all of it or, after an error, nothing.
        cache: A folder that keeps sensitivities, singular values and finished layers: a run that was stopped goes on.
        progress: False shows no bar; else there is one where the error stream is a terminal.
        search: Seconds to search, for linear layers and embeddings that became networks, for other factorisations of
            their sizes and other orders of their features, of less error at no more parameters. The fit at work is
            finished. Each row of the report shows what it bought. Not with `max_flops` or `avoid_slower`.

    Returns:
        The model and the report.

    Raises:
        TNLayersError: If not exactly one budget is given, it is out of reach, a rule matches no layer, or the model
            does not run on the sample.

    Example:
        >>> import torch
        >>> from tnlayers.compress import compress  # which is tnl.compress
        >>> model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
        >>> result = compress(model, ratio=0.3)
        >>> 0.294 < result.report.ratio <= 0.3
        True
    """
    budget = Budget.of(ratio, max_params, max_flops, error, max_bytes, ratio_of=ratio_of, strict=strict)
    from tnlayers.backends import backend

    backend("torch")  # says what to install
    from tnlayers.compress.contest import OFFERED
    from tnlayers.compress.in_bytes import Stored, in_bytes, rounded
    from tnlayers.compress.pipeline import Compression

    stored = Stored.of(bits, group, budget)
    given = OFFERED if network is None else network

    def compressed(budget: Budget, folder: Path | None, dry: bool, own: bool) -> tuple[Any, CompressReport]:
        compression = Compression(
            model=model,
            budget=budget,
            networks=[given] if isinstance(given, str) or not isinstance(given, Sequence) else list(given),
            compared=network is None,
            rules=rules,
            sample=sample,
            data_aware=data_aware,
            batch=batch,
            avoid_slower=avoid_slower,
            cache=folder,
            progress=progress,
            search=search,
        )
        report, made = compression.run(dry_run=dry)
        if made is None:
            return None, report
        from tnlayers.compress.modules.placing import placed

        return placed(model, made, inplace=own), report

    import torch

    folder = None if cache is None else Path(cache)
    with torch.inference_mode(False):  # the result can be trained, wherever it was made
        if budget.of_bytes:
            done = in_bytes(model, budget, stored, compressed, folder, dry_run=dry_run, inplace=inplace)
        else:
            done = rounded(compressed(budget, folder, dry_run, inplace), stored)
    return Compressed(model=done[0], report=done[1])
