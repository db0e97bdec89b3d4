"""The first stage of repair: cores of one layer after the other, by least squares against the dense outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import host_of
from torch import Tensor, nn

from tnlayers.compress.repair.batches import by_process, called
from tnlayers.compress.repair.dense_twins import Twin, twins_of
from tnlayers.compress.repair.least_squares import solve_cores
from tnlayers.compress.repair.pairs import Moments, moments
from tnlayers.compress.repair.trainable import Trainable, central_cores


def layerwise(
    model: nn.Module,
    runnable: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    sweeps: int,
    trainable: Trainable,
    fabric: Fabric,
    step: Callable[..., None],
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Least squares for one layer after the other: the later ones see the inputs that the repaired ones give them.

    Args:
        model: The compressed model.
        runnable: The same as Fabric runs it.
        teacher: The original.
        loader: Batches.
        sweeps: How often every core is solved for.
        trainable: "auxiliary" leaves the central cores and the biases as they are.
        fabric: Decides device and precision.
        step: Called after each batch.

    Returns:
        By layer, the error of its outputs before and after; and why others were left alone.
    """
    twins = twins_of(teacher)
    central = central_cores(model) if trainable == "auxiliary" else {}
    users = Counter(
        id(core) for layer in model.modules() if isinstance(layer, TNModule) for core in layer.cores.values()
    )
    fitted: dict[str, tuple[float, float]] = {}
    skipped: dict[str, str] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, TNModule):
            continue
        twin = twins.get(name)
        reason = "the teacher has no dense layer of this name" if twin is None else twin.reason_against(layer)
        if any(users[id(core)] > 1 for core in layer.cores.values()):
            reason = "another layer holds the same cores, and a fit to the one would spoil the other"
        if twin is None or reason:
            skipped[name] = reason
            continue
        found = _moments(runnable, teacher, layer, twin, loader, fabric, step)
        if found is None:
            skipped[name] = "the teacher or the model did not call it on these batches"
            continue
        fixed = {*central.get(name, ()), "bias"} if trainable == "auxiliary" else ()
        fitted[name] = solve_cores(layer, found, sweeps, fixed)
    return fitted, skipped


@torch.no_grad()
def _moments(
    model: nn.Module,
    teacher: nn.Module,
    layer: TNModule,
    twin: Twin,
    loader: Iterable[Any],
    fabric: Fabric,
    step: Callable[..., None],
) -> Moments | None:
    """Of what goes into a layer of the model and what comes out of its twin, over all processes."""
    seen: list[Any] = []
    wanted: list[Tensor | None] = []

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        seen.append(host_of(module).given(module, "", args, kwargs))

    def want(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        wanted.append(twin.wanted(args, kwargs, output))

    hooks = [
        layer.register_forward_pre_hook(see, with_kwargs=True),
        twin.host.register_forward_hook(want, with_kwargs=True),
    ]
    total: Moments | None = None
    model.eval()
    try:
        for batch in loader:
            called(model, batch, fabric)
            called(teacher, batch, fabric)
            for inputs, outputs in zip(seen, wanted, strict=False):  # a layer may be called several times
                if inputs is not None and outputs is not None:
                    found = moments(layer, inputs, outputs)
                    total = found if total is None else total + found
            seen.clear()
            wanted.clear()
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return _summed(total, fabric)


def _summed(total: Moments | None, fabric: Fabric) -> Moments | None:
    """The moments of all processes together; a process whose batches did not reach the layer adds nothing."""
    counts = by_process([0 if total is None else int(total.count)], fabric)[:, 0]
    if not counts.any():
        return None
    if not counts.all():  # the others have to learn the shapes: all must reduce, or those that do wait for ever
        like = None if total is None else total.map(lambda part: torch.empty_like(part, device="meta"))
        like = fabric.broadcast(like, src=int(counts.argmax()))
        if total is None and like is not None:
            total = like.map(lambda part: torch.zeros_like(part, device=fabric.device))
    assert total is not None
    return total.map(lambda part: fabric.all_reduce(part, reduce_op="sum"))
