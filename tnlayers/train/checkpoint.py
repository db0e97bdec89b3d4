"""Checkpoints: everything that the rest of a training run depends on, in one file that is always whole.

Held are the model, the optimizer, the history so far, the random state of every process, and a fingerprint: the
settings that decide the numbers. Data order needs no state, as it is a function of (seed, epoch). So a run that is
stopped at any moment and taken up again ends with the same bits as one that was not, on the same device and thread
count.
"""

from __future__ import annotations

import pickle
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from tnlayers.atomic import replacing
from tnlayers.errors import TNLayersError
from tnlayers.train.history import EpochRecord

FORMAT = 1


class AtomicCheckpointIO(TorchCheckpointIO):
    """Fabric's checkpoint writer, with the guarantee of `replacing`.

    Fabric's own writes into the system's temporary folder and moves the file from there, which is a copy when that
    folder is on another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write the checkpoint beside its place, force it to disk and put it there."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as file:
            torch.save(checkpoint, file)


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """The checkpoint file of one model in training.

    Attributes:
        path: The file.
        fingerprint: Settings that decide the numbers, by name; a file with other values is refused.
        every_seconds: Least time between two writes; 0 writes after every epoch.
    """

    path: Path
    fingerprint: Mapping[str, str | int | float | bool]
    every_seconds: float = 20.0
    _last: float = field(default_factory=time.monotonic, init=False)

    def history(self) -> list[EpochRecord]:
        """Return the epochs that are in the file, none if there is no file; the file is checked.

        Raises:
            TNLayersError: The file is damaged or belongs to other settings.
        """
        if not self.path.exists():
            return []
        content = read(self.path)
        self._check(content)
        return [EpochRecord(**row) for row in content["history"]]

    def restore(self, fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[EpochRecord]:
        """Load the file into a model and its optimizer, both set up by Fabric, and set this process's random state.

        Returns:
            The epochs done, none if there is no file.

        Raises:
            TNLayersError: The file is damaged or belongs to other settings.
        """
        history = self.history()
        if history:
            rest = fabric.load(self.path, {"model": model, "optimizer": optimizer}, weights_only=True)
            set_random_state(fabric, rest["random"])
        return history

    def due(self, fabric: Fabric) -> bool:
        """Say whether it is time to write: process 0 decides for all, as their clocks differ."""
        ready = time.monotonic() - self._last >= self.every_seconds
        return fabric.broadcast(ready) if fabric.world_size > 1 else ready

    def save(
        self, fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[EpochRecord]
    ) -> None:
        """Write the file; every process must call this."""
        state = {
            "format": FORMAT,
            "fingerprint": dict(self.fingerprint),
            "history": [record.as_dict() for record in history],
            "random": random_states(fabric),
            "model": model,
            "optimizer": optimizer,
        }
        fabric.save(self.path, state)
        self._last = time.monotonic()

    def _check(self, content: Mapping[str, Any]) -> None:
        if content["format"] != FORMAT:
            raise TNLayersError(
                f"{self.path} has format {content['format']}, this version reads {FORMAT}. "
                "Go on with the version that wrote it, or start anew with --overwrite."
            )
        found = content["fingerprint"]
        for key in sorted({*found, *self.fingerprint}):
            old, new = found.get(key), self.fingerprint.get(key)
            if old != new:
                raise TNLayersError(
                    f"{self.path} was written with {key}={old!r}, but now {key}={new!r}. Resuming needs the same "
                    f"value: set {key} back, choose another --name, or start anew with --overwrite."
                )


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint file without running any code that may be in it.

    Returns:
        Its content, tensors on the CPU.

    Raises:
        TNLayersError: The file cannot be read as a checkpoint of this library.
    """
    try:
        # torch.load does not compare the checksums of the archive (seen in 2.13: a flipped bit loads), zipfile does.
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {broken}")
        content = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"format", "fingerprint", "history", "random", "model", "optimizer"} - set(content)
        if missing:
            raise KeyError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        size = path.stat().st_size if path.exists() else 0
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TNLayersError(
            f"Checkpoint {path} ({size} bytes) is damaged or not a checkpoint: {reason}. "
            "Delete it to train this model from the start, then use --resume again."
        ) from error
    return dict(content)


def random_states(fabric: Fabric) -> dict[str, Tensor]:
    """Gather torch's random states of all processes: {"cpu": (processes, bytes)} and "cuda" alike if it is in use."""
    states = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(fabric.device)
    everyones = [states] * fabric.world_size
    if fabric.world_size > 1:  # fabric.all_gather goes by a function that torch 2.13 warns of as deprecated
        torch.distributed.all_gather_object(everyones, states)
    return {kind: torch.stack([one[kind].cpu() for one in everyones]) for kind in states}


def set_random_state(fabric: Fabric, states: Mapping[str, Tensor]) -> None:
    """Give this process its row of what `random_states` gathered."""
    torch.set_rng_state(states["cpu"][fabric.global_rank].clone())
    if fabric.device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][fabric.global_rank].clone(), fabric.device)
