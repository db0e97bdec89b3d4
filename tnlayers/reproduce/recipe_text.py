"""A run's recipe in words: the named one that it is closest to and what it changes; the command that repeats a run."""

from __future__ import annotations

import re
from typing import Any

from tnlayers.train.recipe import Recipe
from tnlayers.train.recipes import RECIPES, find_recipe

Run = dict[str, Any]
OPTIONS = {"lr_decay_per_epoch": "lr-decay"}
SELECTION = "paper selection"


def changes(model: str, data: str, recipe: Run) -> tuple[str, dict[str, Any]]:
    """The named recipe that this one is closest to, and what it has that the named one has not."""
    named = {name: one.model_dump() for name, one in recipes(model, data).items()}
    apart = {
        name: {key: value for key, value in recipe.items() if default.get(key) != value}
        for name, default in named.items()
    }
    name = min(apart, key=lambda name: len(apart[name]))
    return name, apart[name]


def recipes(model: str, data: str) -> dict[str, Recipe]:
    """The recipes of a model on a data set by name, the default first.

    Raises:
        TNLayersError: If there are none.

    Example:
        >>> list(recipes("vgg16", "cifar10"))
        ['paper', 'fast']
    """
    find_recipe(model, data)  # refuses a pair that has none
    return next(
        dict(named) for (pattern, where), named in RECIPES.items() if where == data and re.fullmatch(pattern, model)
    )


def recipe_name(run: Run) -> str:
    """The recipe in words: "paper", or what is different from it; "paper selection" is that nothing was held out.

    Example:
        >>> recipe = find_recipe("fc2", "mnist").model_dump() | {"epochs": 3, "validation": 0}
        >>> recipe_name({"model": "fc2", "data": "mnist", "recipe": recipe})
        'paper, epochs 3, paper selection'
    """
    name, changed = changes(run["model"], run["data"], run["recipe"])
    return ", ".join([name, *(_change(key, value) for key, value in changed.items())])


def in_full(run: Run) -> bool:
    """Whether a run is by the paper's recipe to its end, with the paper's selection or with images held out."""
    return recipe_name(run) in ("paper", f"paper, {SELECTION}")


def accelerated(run: Run) -> bool:
    """Whether a run was on an accelerator: processors are stored with the number of their cores.

    Example:
        >>> accelerated({"device": "NVIDIA H100 80GB HBM3"}), accelerated({"device": "AMD EPYC, 2 cores"})
        (True, False)
    """
    return not run["device"].endswith(" cores")


def _change(key: str, value: Any) -> str:
    return SELECTION if (key, value) == ("validation", 0) else f"{key} {_text(value)}"


def command(results: Run, network: str, seed: int, recipe: Run) -> str:
    """The command that repeats a run; a changed setting that is no option of the command is a key of its --config.

    Args:
        results: Of its folder.
        network: One of it.
        seed: One of it.
        recipe: As it was trained.
    """
    model, data, threads = results["model"], results["data"], results["environment"]["threads"]
    name, changed = changes(model, data, recipe)
    words = ["tnlayers", "train", model, "--network", f'"{network}"', "--data", data, "--seed", str(seed)]
    words += ["--threads", str(threads)] if threads is not None else []
    if name != next(iter(recipes(model, data))):
        words += ["--recipe", name]
    for key, value in changed.items():
        if (key, value) == ("validation", 0):
            words.append("--paper-selection")
            continue
        option = OPTIONS.get(key, key.replace("_", "-"))
        words += [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", _text(value)]
    return " ".join(words)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
