"""Starting Fabric: devices, precision, and how several processes share the work.

"ddp" keeps all weights on every device. "fsdp" shares weights, gradients and optimizer state out over the devices
(torch's `fully_shard`), for models that do not fit on one.
"""

from __future__ import annotations

from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy

from tnlayers.errors import TNLayersError
from tnlayers.train.config import TrainConfig


def strategy(config: TrainConfig) -> str | Strategy:
    """Return what Fabric calls the strategy."""
    if config.strategy == "fsdp":
        from tnlayers.train.sharded import shard

        return ModelParallelStrategy(shard, save_distributed_checkpoint=False)
    return config.strategy


def launch(config: TrainConfig) -> Fabric:
    """Start Fabric, and with it the other processes if there are several devices."""
    devices: Any = list(config.devices) if isinstance(config.devices, tuple) else config.devices
    precision: Any = config.recipe.precision
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            strategy=strategy(config),
            devices=devices,
            num_nodes=config.nodes,
            precision=precision,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise TNLayersError(
            f"accelerator={config.accelerator!r}, devices={devices!r}, strategy={config.strategy!r}, "
            f"precision={config.recipe.precision!r} cannot be used here: {error}"
        ) from error
    if fabric.strategy.precision.precision != config.recipe.precision:  # Fabric warns and takes another one
        raise TNLayersError(
            f"precision={config.recipe.precision!r} is not possible on {fabric.device.type}; nearest is "
            f"{fabric.strategy.precision.precision!r}. Ask for that, or for another accelerator."
        )
    fabric.launch()
    return fabric
