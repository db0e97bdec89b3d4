"""`repair`: bring a compressed model back towards the one that it came from.

First layer by layer: the cores of each layer by least squares against what the dense layer puts out, from the inputs
that the compressed model really has there. Then all together: a short distillation (Hinton, Vinyals, Dean 2015,
arXiv 1503.02531) from the original. What is kept is the best on the validation batches, what it began with included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeAlias, cast

import torch
from lightning_fabric import Fabric
from tnlayers_backends.torch.layerwise import Moments, fits, solve_cores
from tnlayers_backends.torch.module import TNModule
from tnlayers_backends.torch.training import layers_in
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss

from tnlayers.errors import TNLayersError

Trainable: TypeAlias = Literal["all", "cores", "auxiliary"]
Loss: TypeAlias = 'Literal["kl", "mse"] | Callable[[Tensor, Tensor], Tensor]'


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


@dataclass(eq=False)
class _Best:
    """The best state of a model so far, by its distance from the teacher."""

    model: nn.Module
    measure: Callable[[], float]
    kept: str = "as it began"
    distance: float = field(init=False)
    state: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.distance, self.state = self.measure(), deepcopy(self.model.state_dict())

    def offer(self, name: str) -> float:
        """Measure the model as it is now, and remember it if it is the best."""
        found = self.measure()
        if found < self.distance:
            self.kept, self.distance, self.state = name, found, deepcopy(self.model.state_dict())
        return found


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
    distance = _distance(loss, temperature)
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    model.to(fabric.device)
    with _like(teacher, fabric.device) as original, _frozen(model, trainable), torch.random.fork_rng():
        torch.manual_seed(seed)
        modes = {module: module.training for module in model.modules()}
        chosen = loader if validation is None else validation
        best = _Best(model, lambda: _measured(model, original, chosen, distance, fabric))
        began, after = best.distance, None
        fitted: dict[str, tuple[float, float]] = {}
        skipped: dict[str, str] = {}
        if sweeps:
            fitted, skipped = _layerwise(model, original, layers, loader, sweeps, trainable, fabric)
            after = best.offer("layerwise")
            _tell(progress, f"repair: layer by layer, {began:.4g} -> {after:.4g}")
        model.load_state_dict(best.state)
        told = tuple(_distilled(model, original, loader, distance, epochs, lr, fabric, best, progress))
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


def central_cores(model: nn.Module) -> dict[str, set[str]]:
    """By layer, the names of its central cores: the largest of each network, the one nearest the middle of equals.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> central_cores(torch.nn.Sequential(tnl.nn.MPOLinear(784, 256, bond_dim=16)))
        {'0': {'core_2'}}
    """
    found: dict[str, set[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, TNModule):
            for graph in layer._map.graphs:
                names = [core.name for core in graph.cores]
                middle = len(names) // 2
                size = {core: layer.cores[core].numel() for core in names}
                largest = max(names, key=lambda core: (size[core], -abs(names.index(core) - middle)))
                found.setdefault(name, set()).add(largest)
    return found


def _layerwise(
    model: nn.Module,
    teacher: nn.Module,
    layers: dict[str, TNModule],
    loader: Iterable[Any],
    sweeps: int,
    trainable: Trainable,
    fabric: Fabric,
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Least squares for one layer after the other: the later ones see the inputs that the repaired ones give them."""
    twins = dict(teacher.named_modules())
    fixed = central_cores(model) if trainable == "auxiliary" else {}
    fitted: dict[str, tuple[float, float]] = {}
    skipped: dict[str, str] = {}
    for name, layer in layers.items():
        if not fits(layer) or next(layer.parameters()).is_complex():
            skipped[name] = "least squares is for real linear layers and convolutions of one group"
            continue
        if type(twins.get(name)) not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            skipped[name] = "the teacher has no dense layer of this name"
            continue
        moments = _moments(model, teacher, layer, twins[name], loader, fabric)
        if moments.count == 0:
            skipped[name] = "the teacher or the model did not call it"
            continue
        bias = layer.bias
        if trainable == "auxiliary" and bias is not None:
            kept = bias.detach().clone()
            layer.bias = None  # stays as it is: its share is taken off the outputs
            moments = _without_bias(moments, kept)
        fitted[name] = solve_cores(layer, moments, sweeps, fixed.get(name, ()))
        layer.bias = bias
    return fitted, skipped


def _without_bias(moments: Moments, bias: Tensor) -> Moments:
    """The moments of outputs less a fixed bias."""
    b, x, y = bias.double(), cast("Tensor", moments.x), cast("Tensor", moments.y)
    return Moments(
        count=moments.count,
        x=x,
        y=y - moments.count * b,
        xx=moments.xx,
        yx=cast("Tensor", moments.yx) - torch.outer(b, x),
        yy=moments.yy - 2 * float(b @ y) + moments.count * float(b @ b),
    )


@torch.no_grad()
def _moments(
    model: nn.Module, teacher: nn.Module, layer: TNModule, twin: nn.Module, loader: Iterable[Any], fabric: Fabric
) -> Moments:
    """What goes into a layer of the model, with what comes out of its twin in the teacher."""
    moments, seen, wanted = Moments(), list[Tensor](), list[Tensor]()
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])),
        twin.register_forward_hook(lambda module, inputs, output: wanted.append(output)),
    ]
    model.eval()
    try:
        for batch in loader:
            x = _inputs(batch, fabric)
            model(x)
            teacher(x)
            for inputs, outputs in zip(seen, wanted, strict=False):
                moments.add(layer, inputs, outputs)
            seen.clear()
            wanted.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def _distilled(
    model: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    distance: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    lr: float,
    fabric: Fabric,
    best: _Best,
    progress: bool,
) -> Iterator[float]:
    """The distance from the teacher after each epoch."""
    if not epochs:
        return
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    runnable, stepping = cast("tuple[nn.Module, torch.optim.Optimizer]", fabric.setup(model, optimizer))
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in loader:
            x = _inputs(batch, fabric)
            with torch.no_grad():
                wanted = teacher(x)
            stepping.zero_grad()
            fabric.backward(distance(runnable(x), wanted))
            stepping.step()
        schedule.step()
        found = best.offer(f"epoch {epoch}")
        _tell(progress, f"repair: epoch {epoch}/{epochs}, {found:.4g} (best {best.distance:.4g})")
        yield found


@torch.no_grad()
def _measured(
    model: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Any],
    distance: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
) -> float:
    """The mean distance over the vectors of all batches; infinite where it is no number any more."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        x = _inputs(batch, fabric)
        total += float(distance(model(x), teacher(x))) * len(x)
        count += len(x)
    if count == 0:
        raise TNLayersError("The loader gave no batches: give a list of batches or a DataLoader, not an iterator.")
    return total / count if isfinite(total) else float("inf")


def _distance(loss: Loss, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """What is minimised, of (outputs, teacher's outputs)."""
    if callable(loss):
        return loss
    if loss == "mse":
        return mse_loss
    if loss != "kl":
        raise TNLayersError(f"loss={loss!r}: there are 'kl' and 'mse', or give a function of (outputs, teacher's).")

    def softened(outputs: Tensor, wanted: Tensor) -> Tensor:
        own, others = (log_softmax(one / temperature, -1) for one in (outputs, wanted))
        flat = own.reshape(-1, own.shape[-1]), others.reshape(-1, own.shape[-1])
        return kl_div(*flat, reduction="batchmean", log_target=True) * temperature**2

    return softened


def _inputs(batch: Any, fabric: Fabric) -> Tensor:
    """The inputs of a batch, with or without labels behind them, on the device."""
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    return cast("Tensor", fabric.to_device(x))


@contextmanager
def _like(teacher: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """A copy of the teacher for evaluation on a device; the teacher keeps its mode and its place."""
    yield deepcopy(teacher).to(device).eval().requires_grad_(False)


@contextmanager
def _frozen(model: nn.Module, trainable: Trainable) -> Iterator[None]:
    """While repair is at work, parameters that are not to be trained ask for no gradient."""
    asked = {parameter: parameter.requires_grad for parameter in model.parameters()}
    central = central_cores(model) if trainable == "auxiliary" else {}
    kept = set(model.parameters()) if trainable == "all" else set[nn.Parameter]()
    for name, layer in model.named_modules():
        if isinstance(layer, TNModule) and trainable != "all":
            kept |= {core for key, core in layer.cores.items() if key not in central.get(name, ())}
            kept |= {layer.bias} if layer.bias is not None and trainable == "cores" else set()
    try:
        for parameter, wanted in asked.items():
            parameter.requires_grad_(wanted and parameter in kept)
        yield
    finally:
        for parameter, wanted in asked.items():
            parameter.requires_grad_(wanted)


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


def _tell(progress: bool, words: str) -> None:
    if progress:
        print(words, file=sys.stderr, flush=True)
