"""The two tasks that models are trained for: images to classify, and texts to continue.

What a run does differently for them is an entry of `Task`; the loop, recipes, checkpoints and results know none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from tnlayers import models
from tnlayers.errors import TNLayersError
from tnlayers.train.config import TrainConfig
from tnlayers.train.data import load
from tnlayers.train.feed import DeviceData
from tnlayers.train.recipe import Recipe
from tnlayers.train.results import TextFacts
from tnlayers.train.text import TextDataset, load_text
from tnlayers.train.text_feed import put_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run does for one kind of data.

    Attributes:
        load: The data set of a configuration.
        model: The name of the model for a data set.
        put: The data set on the device, for the model of a name.
        fingerprint: What of the data decides the numbers of a run, beside its name.
        info: Texts that go into the file of a trained model.
        facts: What the results say of a text; None of images.
    """

    load: Callable[[TrainConfig], Any]
    model: Callable[[TrainConfig, Any], str]
    put: Callable[[Any, torch.device, Recipe, str], DeviceData]
    fingerprint: Callable[[TrainConfig, Any], Mapping[str, str]]
    info: Callable[[Any], Mapping[str, str]]
    facts: Callable[[Any], TextFacts | None]

    @property
    def needs_data_first(self) -> bool:
        """Whether the size of the model depends on the data, so that they are loaded before all else."""
        return self is LANGUAGE


def task_of(config: TrainConfig) -> Task:
    """The task of a configuration's model.

    Raises:
        TNLayersError: There is no such model.
    """
    return IMAGES if models.find(config.model).language is None else LANGUAGE


def fitted_name(config: TrainConfig, dataset: TextDataset) -> str:
    """The name of a language model with as many tokens as a text has: `gpt-pico` takes any number, others name it.

    Raises:
        TNLayersError: The name says another number.
    """
    shape = models.find(config.model).language
    assert shape is not None
    fits = replace(shape, vocabulary=dataset.code.vocabulary).name
    if config.model not in ("gpt-pico", fits):
        raise TNLayersError(
            f"model={config.model!r} knows {shape.vocabulary} tokens, and data={config.data!r} with "
            f"tokens={config.tokens!r} has {dataset.code.vocabulary}. Name it {fits}."
        )
    return fits


def _context(model: str) -> int:
    shape = models.find(model).language
    assert shape is not None
    return shape.context


IMAGES = Task(
    load=lambda config: load(config.data, root=config.data_root),
    model=lambda config, dataset: config.model,
    put=lambda dataset, device, recipe, model: DeviceData.put(dataset, device, recipe),
    fingerprint=lambda config, dataset: {},
    info=lambda dataset: {},
    facts=lambda dataset: None,
)
LANGUAGE = Task(
    load=lambda config: load_text(config.data, root=config.data_root, tokens=config.tokens),
    model=fitted_name,
    put=lambda dataset, device, recipe, model: put_text(dataset, device, recipe, context=_context(model)),
    fingerprint=lambda config, dataset: {"tokens": config.tokens, "text": dataset.sha256},
    info=lambda dataset: {"tokens": dataset.code.to_json()},
    facts=lambda dataset: TextFacts(
        vocabulary=dataset.code.vocabulary,
        characters=dataset.train.characters + dataset.test.characters,
        test_characters=dataset.test.characters,
        test_tokens=len(dataset.test),
        sha256=dataset.sha256,
    ),
)
