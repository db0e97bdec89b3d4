"""Checkpoints: everything that the rest of a training run depends on, in one file that is always whole.

Held are the model, the optimizer, the averages of the weights, the history so far, the random state of every process,
and a fingerprint: the settings that decide the numbers. The order of the data, their augmentation and the learning rate
need no state, as they are functions of (seed, epoch). So a run that is stopped at any moment and taken up again ends
with the same bits as one that was not, on the same device and thread count. A disk that is full leaves the last file.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import replacing
from tnlayers.train.archive import load
from tnlayers.train.history import EpochRecord
from tnlayers.train.processes import on_main_process
from tnlayers.train.trainer import Held

FORMAT = 1
_CONTENT = {"format": int, "fingerprint": dict, "history": list, "random": dict, "model": dict, "optimizer": dict}


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """The checkpoint file of one model in training.

    Attributes:
        path: The file.
        fingerprint: Settings that decide the numbers, by name; a file with other values is refused.
        assumed: What a file was written with that lacks a setting, as one from before there was such a setting does.
        every_seconds: Least time between two writes; 0 writes after every epoch.
        keep: Files that stay: the newest, and those before it as `<path>.1`, `<path>.2`, ...
    """

    path: Path
    fingerprint: Mapping[str, str | int | float | bool]
    assumed: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    every_seconds: float = 20.0
    keep: int = 1
    _last: float = field(default_factory=time.monotonic, init=False)

    def history(self) -> list[EpochRecord]:
        """Return the epochs that are in the file, none if there is no file; the file is checked.

        Raises:
            TNLayersError: The file is damaged or belongs to other settings.
        """
        if not self.path.exists():
            return []
        return self._epochs(self._content())

    def restore(self, state: Held) -> list[EpochRecord]:
        """Load the file into a model in training, and set this process's random state.

        Returns:
            The epochs done, none if there is no file.

        Raises:
            TNLayersError: The file is damaged or belongs to other settings.
        """
        if not self.path.exists():
            return []
        content = self._content()
        try:
            state.scatter(content)
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:  # RuntimeError is torch's
            raise TNLayersError(
                f"{self.path} does not fit this model: {type(error).__name__}: {error}. Delete it to train this model "
                "from the start, then use --resume again."
            ) from error
        return self._epochs(content)

    def due(self, fabric: Fabric) -> bool:
        """Say whether it is time to write: process 0 decides for all, as their clocks differ."""
        ready = time.monotonic() - self._last >= self.every_seconds
        return fabric.broadcast(ready) if fabric.world_size > 1 else ready

    def save(self, state: Held, history: list[EpochRecord]) -> None:
        """Write the file; every process must call this.

        Raises:
            TNLayersError: It cannot be written, as when the disk is full; the last one is then whole and in its place.
        """
        content = {
            "format": FORMAT,
            "fingerprint": dict(self.fingerprint),
            "history": [record.as_dict() for record in history],
            **state.gather(),
        }
        on_main_process(state.fabric, lambda: self._write(content))
        self._last = time.monotonic()

    def older(self) -> list[Path]:
        """Return the files kept before the newest, the latest of them first."""
        return [path for path in (self._aged(age) for age in range(1, self.keep)) if path.exists()]

    def _write(self, content: Mapping[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                torch.save(content, file)
                file.flush()
                self._age()  # the new one is on its way to the disk: only now do the old ones move
        except (OSError, RuntimeError) as error:  # torch's writer turns some failures of the system into the latter
            raise TNLayersError(
                f"Cannot write the checkpoint {self.path} after epoch {len(content['history'])}: {error}. The one "
                "before is whole. Make room, or choose another folder with --out, and go on with --resume."
            ) from error

    def _age(self) -> None:
        """Move each file kept one place on, and give the newest a second name; it never leaves its own place."""
        if self.keep == 1 or not self.path.exists():
            return
        for age in reversed(range(1, self.keep - 1)):
            if self._aged(age).exists():
                os.replace(self._aged(age), self._aged(age + 1))
        self._aged(1).unlink(missing_ok=True)
        try:
            os.link(self.path, self._aged(1))
        except OSError:  # a file system without links, such as FAT
            shutil.copyfile(self.path, self._aged(1))

    def _aged(self, age: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{age}")

    def _content(self) -> dict[str, Any]:
        try:
            content = read(self.path)
        except TNLayersError as error:
            older = ", ".join(map(str, self.older()))
            more = f" Or put an older one in its place: {older}." if older else ""
            raise TNLayersError(f"{error}{more}") from error
        self._check(content)
        return content

    def _epochs(self, content: Mapping[str, Any]) -> list[EpochRecord]:
        return [EpochRecord(**row) for row in content["history"]]

    def _check(self, content: Mapping[str, Any]) -> None:
        if content["format"] != FORMAT:
            raise TNLayersError(
                f"{self.path} has format {content['format']}, this version reads {FORMAT}. "
                "Go on with the version that wrote it, or start anew with --overwrite."
            )
        found = content["fingerprint"]
        for key in sorted({*found, *self.fingerprint}):
            old, new = (settings.get(key, self.assumed.get(key)) for settings in (found, self.fingerprint))
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
        content = load(path)
        _check_content(content)
    except Exception as error:  # a damaged archive fails in many ways: UnicodeDecodeError, NotImplementedError, ...
        size = path.stat().st_size if path.exists() else 0
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise TNLayersError(
            f"Checkpoint {path} ({size} bytes) is damaged or not a checkpoint: {reason}. "
            "Delete it to train this model from the start, then use --resume again."
        ) from error
    return dict(content)


def _check_content(content: Any) -> None:
    """Whether this is what `Checkpoint.save` wrote, so far as it can be said without the model.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}, no table")
    if missing := _CONTENT.keys() - content.keys():
        raise TypeError(f"it lacks {', '.join(sorted(missing))}")
    for key, kind in _CONTENT.items():
        if not isinstance(content[key], kind) or isinstance(content[key], bool):
            raise TypeError(f"its {key} is a {type(content[key]).__name__}, no {kind.__name__}")
    for row in content["history"]:
        record = EpochRecord(**row)
        if type(record.epoch) is not int or not all(
            value is None or type(value) in (int, float) for value in record.as_dict().values()
        ):
            raise TypeError("its history has something other than numbers")
    if [row["epoch"] for row in content["history"]] != list(range(1, len(content["history"]) + 1)):
        raise TypeError("its history does not count the epochs from 1 on")
    if not all(type(value) in (str, int, float, bool) for value in content["fingerprint"].values()):
        raise TypeError("its fingerprint has something other than numbers and texts")
