"""`repair`: bring a compressed model back towards the one that it came from.

First layer by layer: the cores of each layer by least squares against what the dense layer puts out, from the inputs
that the compressed model really has there. Then all together: a short distillation (Hinton, Vinyals, Dean 2015,
arXiv 1503.02531) from the original. What is kept is the best on the validation batches, what it began with included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from tnlayers_backends.torch.modules.switches import layers_in
from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from tnlayers.compress.repair.batches import by_process
from tnlayers.compress.repair.distillation import Best, Loss, Pupil, distance_of
from tnlayers.compress.repair.layerwise import layerwise
from tnlayers.compress.repair.trainable import Trainable, frozen
from tnlayers.errors import TNLayersError
from tnlayers.files.progress import progress as showing


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


@torch.inference_mode(False)
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
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
    scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    progress: bool = True,
) -> Repaired:
    """Repair a compressed model from the original, in place.

    Args:
        model: The compressed model.
        teacher: The original; it stays as it is. Layers are matched by name, projections of attention and of recurrent
            cells too.
        loader: Batches of inputs; tuples that begin with them; or mappings of keywords, as Hugging Face has them.
            Labels are not looked at. Iterated several times.
        validation: Batches to choose by; the loader's own if None.
        sweeps: How often least squares solves for every core of a layer; 0 leaves that stage out.
        epochs: Passes of distillation; 0 leaves that stage out.
        lr: The first learning rate of Adam; it falls to 0 over the epochs by half a cosine.
        loss: "kl" of the softened class probabilities, "mse" of the outputs, or a function of (outputs, teacher's). Of
            a model that returns a mapping the outputs are its "logits", else its first tensor.
        temperature: Softens the probabilities of "kl".
        trainable: "all" parameters, those of "cores" (and the biases of their layers), or the "auxiliary" cores alone:
            all but the largest core of each network, which holds most of the parameters (Liu et al. 2021,
            arXiv 2106.02205), and no bias.
        optimizer: Makes another optimizer than Adam of the parameters to train.
        scheduler: Makes another schedule of the optimizer; it steps once per epoch.
        seed: Of dropout and whatever else the model draws.
        fabric: Decides device, precision and processes; one device of any kind if None. Of several processes, each
            gives its own share of every batch, and so as many as the others.
        progress: Whether to show a bar with the time left where the error stream is a terminal.

    Returns:
        What was done; the model is never further from the teacher than it began, on the validation batches.

    Raises:
        TNLayersError: If the model has no layers of tnlayers, the loader is empty or can be iterated only once,
            processes have different numbers of batches, or an argument is out of range.

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
    layers_in(model)  # refuses what has none
    if not isinstance(teacher, nn.Module):
        raise TNLayersError(f"teacher={teacher!r:.80} ({type(teacher).__name__}): the dense model of torch is needed.")
    _check(loader, sweeps=sweeps, epochs=epochs, lr=lr, temperature=temperature, trainable=trainable)
    distance = distance_of(loss, temperature)
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    chosen = loader if validation is None else validation
    _check_shares(loader, chosen, fabric)
    total = _batches(loader, chosen, sweeps and len(list(layers_in(model))), epochs)
    with (
        frozen(model, trainable),
        _same_modes(model),
        torch.random.fork_rng(),
        showing("repair", total, wanted=progress and fabric.is_global_zero) as step,
    ):
        torch.manual_seed(seed)
        runnable, stepping, schedule = _set_up(model, fabric, epochs, lr, optimizer, scheduler)
        for layer in layers_in(model):
            if layer._has_cores():  # computed cores (parametrised, or codes of few bits) stay
                layer._revive()
        original = deepcopy(teacher).to(fabric.device).eval().requires_grad_(False)
        pupil = Pupil(model=runnable, teacher=original, distance=distance, fabric=fabric, step=step)
        best = Best(model, lambda: pupil.measured(chosen))
        began, after = _finite(best.distance), None
        fitted: dict[str, tuple[float, float]] = {}
        skipped: dict[str, str] = {}
        if sweeps:
            step(f"repair: layer by layer from {began:.4g}", done=0)
            fitted, skipped = layerwise(model, runnable, original, loader, sweeps, trainable, fabric, step)
            after = best.offer("layerwise")
        model.load_state_dict(best.state)
        epochs_run = tuple(pupil.distilled(loader, epochs, stepping, schedule, best))
        model.load_state_dict(best.state)
    return Repaired(
        began=began,
        layers=fitted,
        skipped=skipped,
        layerwise=after,
        epochs=epochs_run,
        kept=best.kept,
        delivered=best.distance,
    )


def _finite(distance: float) -> float:
    """The distance that a model begins with, which must be a number."""
    if distance == float("inf"):
        raise TNLayersError(
            "The outputs of the model or of the teacher are NaN or infinite on these batches: there is nothing to "
            "come closer to. Look at the batches and at both models' weights."
        )
    return distance


@contextmanager
def _same_modes(model: nn.Module) -> Iterator[None]:
    """Training and evaluation of every module are afterwards as before."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _set_up(
    model: nn.Module,
    fabric: Fabric,
    epochs: int,
    lr: float,
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None,
    scheduler: Callable[[Optimizer], LRScheduler] | None,
) -> tuple[nn.Module, Optimizer, LRScheduler]:
    """The model as Fabric runs it, with an optimizer and a schedule for what is to be trained."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise TNLayersError(
            "No parameter of the model may be trained: all are frozen, or each network has one core only, which "
            "trainable='auxiliary' keeps. Take trainable='cores', or set requires_grad."
        )
    made = Adam(parameters, lr=lr) if optimizer is None else optimizer(parameters)
    schedule = CosineAnnealingLR(made, max(epochs, 1)) if scheduler is None else scheduler(made)
    runnable, stepping = cast("tuple[nn.Module, Optimizer]", fabric.setup(model, made))
    return runnable, stepping, schedule


def _batches(loader: Iterable[Any], chosen: Iterable[Any], layers: int, epochs: int) -> int | None:
    """How many batches will be run; None where a loader does not say how many it has."""
    to_learn, to_measure = _length(loader), _length(chosen)
    if to_learn is None or to_measure is None:
        return None
    measurements = 1 + (layers > 0) + epochs
    return (layers + epochs) * to_learn + measurements * to_measure


def _length(batches: Iterable[Any]) -> int | None:
    """How many batches there are, if that is known; a DataLoader has a length that raises over an iterable data set."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return None


def _check_shares(loader: Iterable[Any], chosen: Iterable[Any], fabric: Fabric) -> None:
    """Refuse processes with different numbers of batches: those with more would wait for the others for ever."""
    if fabric.world_size == 1:
        return
    own = [sum(1 for _ in one) if (known := _length(one)) is None else known for one in (loader, chosen)]
    counts = by_process(own, fabric)
    if (counts != counts[0]).any():
        raise TNLayersError(
            f"The {len(counts)} processes have {counts[:, 0].tolist()} batches of the loader and "
            f"{counts[:, 1].tolist()} to choose by. Each must have as many as the others, which would wait for it for "
            "ever: give each its share of every batch, or use DataLoaders that fabric.setup_dataloaders has set up."
        )


def _check(loader: Iterable[Any], *, sweeps: int, epochs: int, lr: float, temperature: float, trainable: str) -> None:
    if not isinstance(loader, Iterable):
        raise TNLayersError(f"loader={loader!r:.80} ({type(loader).__name__}): an iterable of batches is needed.")
    if isinstance(loader, torch.Tensor):
        raise TNLayersError(
            f"The loader is a tensor of shape {tuple(loader.shape)}, each row of which would be a batch: give [tensor] "
            "for one batch, or a DataLoader."
        )
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
