"""`repair`: bring a compressed model back towards the one that it came from.

First layer by layer: the cores of each layer by least squares against what the dense layer puts out, from the inputs
that the compressed model really has there. Then all together: a short distillation (Hinton, Vinyals, Dean 2015,
arXiv 1503.02531) from the original. What is kept is the best on the validation batches, what it began with included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from tnlayers_backends.torch.module import TNModule
from tnlayers_backends.torch.training import layers_in
from torch import nn

from tnlayers.compress.distil import Best, Loss, distance_of, distilled, measured, tell
from tnlayers.compress.layerwise import layerwise
from tnlayers.compress.trainable import Trainable, frozen
from tnlayers.errors import TNLayersError


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What repair did; print it.

    Attributes:
        began: The distance from the teacher on the validation batches before anything was done.
        layers: By layer, the relative error of its outputs before and after least squares.
        skipped: Layers that least squares left alone, and why.
        layerwise: The distance after least squares; None without.
        epochs: The distance after each epoch of distillation.
        kept: What the model is now: "as it began", "layerwise" or "epoch k".
        delivered: Its distance.
    """

    began: float
    layers: dict[str, tuple[float, float]]
    skipped: dict[str, str]
    layerwise: float | None
    epochs: tuple[float, ...]
    kept: str
    delivered: float

    def __str__(self) -> str:
        lines = [f"{name}: error of the outputs {old:.4g} -> {new:.4g}" for name, (old, new) in self.layers.items()]
        lines += [f"{name}: left alone, {reason}" for name, reason in self.skipped.items()]
        worse = "; nothing that was tried was better" if self.kept == "as it began" else ""
        return "\n".join(
            [*lines, f"distance from the teacher {self.began:.4g} -> {self.delivered:.4g}, kept: {self.kept}{worse}"]
        )


def repair(
    model: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    *,
    validation: Iterable[Any] | None = None,
    sweeps: int = 2,
    epochs: int = 1,
    lr: float = 1e-3,
    loss: Loss = "kl",
    temperature: float = 2.0,
    trainable: Trainable = "all",
    seed: int = 0,
    fabric: Fabric | None = None,
    progress: bool = True,
) -> Repaired:
    """Repair a compressed model from the original, in place.

    Args:
        model: The compressed model.
        teacher: The original; it stays as it is. Layers are matched by name.
        loader: Batches of inputs, or tuples that begin with them (labels are not looked at); iterated several times.
        validation: Batches to choose by; the loader's own if None.
        sweeps: How often least squares solves for every core of a layer; 0 leaves that stage out.
        epochs: Passes of distillation; 0 leaves that stage out.
        lr: The first learning rate of Adam; it falls to 0 over the epochs by half a cosine.
        loss: "kl" of the softened class probabilities, "mse" of the outputs, or a function of (outputs, teacher's).
        temperature: Softens the probabilities of "kl".
        trainable: "all" parameters, those of "cores" (and the biases of their layers), or the "auxiliary" cores alone:
            all but the largest core of each network, which holds most of the parameters (Liu et al. 2021,
            arXiv 2106.02205), and no bias.
        seed: Of dropout and whatever else the model draws.
        fabric: Decides device and precision; one device of any kind if None.
        progress: Whether to tell of each stage on the error stream.

    Returns:
        What was done; the model is never further from the teacher than it began, on the validation batches.

    Raises:
        TNLayersError: If the model has no layers of tnlayers, the loader is empty or can be iterated only once, or an
            argument is out of range.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> _ = torch.manual_seed(0)
        >>> teacher = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> model = torch.nn.Sequential(tnl.nn.MPOLinear.from_linear(teacher[0], bond_dim=4), *teacher[1:])
        >>> report = repair(model, teacher, [torch.randn(64, 16)], epochs=5, progress=False)
        >>> report.delivered < report.began
        True
    """
    _check(loader, sweeps=sweeps, epochs=epochs, lr=lr, temperature=temperature, trainable=trainable)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, TNModule)}
    next(layers_in(model))
    distance = distance_of(loss, temperature)
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    model.to(fabric.device)
    with _like(teacher, fabric.device) as original, frozen(model, trainable), torch.random.fork_rng():
        torch.manual_seed(seed)
        modes = {module: module.training for module in model.modules()}
        chosen = loader if validation is None else validation
        best = Best(model, lambda: measured(model, original, chosen, distance, fabric))
        began, after = best.distance, None
        fitted: dict[str, tuple[float, float]] = {}
        skipped: dict[str, str] = {}
        if sweeps:
            fitted, skipped = layerwise(model, original, layers, loader, sweeps, trainable, fabric)
            after = best.offer("layerwise")
            tell(progress, f"repair: layer by layer, {began:.4g} -> {after:.4g}")
        model.load_state_dict(best.state)
        told = tuple(distilled(model, original, loader, distance, epochs, lr, fabric, best, progress))
        model.load_state_dict(best.state)
        for module, mode in modes.items():
            module.training = mode
    return Repaired(
        began=began,
        layers=fitted,
        skipped=skipped,
        layerwise=after,
        epochs=told,
        kept=best.kept,
        delivered=best.distance,
    )


@contextmanager
def _like(teacher: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """A copy of the teacher for evaluation on a device; the teacher keeps its mode and its place."""
    yield deepcopy(teacher).to(device).eval().requires_grad_(False)


def _check(loader: Iterable[Any], *, sweeps: int, epochs: int, lr: float, temperature: float, trainable: str) -> None:
    if iter(loader) is loader:
        raise TNLayersError(
            "The loader can be iterated only once, and repair needs it several times: give list(loader)."
        )
    if sweeps < 0 or epochs < 0 or not lr > 0 or not temperature > 0:
        raise TNLayersError(
            f"sweeps={sweeps}, epochs={epochs}, lr={lr}, temperature={temperature}: the first two are 0 or more, the "
            "others positive."
        )
    if trainable not in ("all", "cores", "auxiliary"):
        raise TNLayersError(f"trainable={trainable!r}: there are 'all', 'cores' and 'auxiliary'.")
