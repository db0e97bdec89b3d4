"""The configuration of a training run: from a YAML file, from the command line, or both, the command line winning.

A configuration that exists is valid in itself; what depends on the machine or the models is checked when training
begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.files.documents import read_mapping
from tnlayers.train.data_names import DATA, IMAGES, is_path
from tnlayers.train.overrides import RECIPE_FIELDS, RecipeOverrides
from tnlayers.train.recipe import Recipe
from tnlayers.train.recipes import LANGUAGE, MODELS, TEXT, find_recipe
from tnlayers.train.tokens import FORM

MOST_SEEDS = 10_000
PRECISIONS = ("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed")
BACKENDS = ("torch", "jax")
STRATEGIES = ("auto", "ddp", "fsdp")
# What the first version wrote into the folder of every run.
WRITTEN = {"networks", "seeds", "epochs", "batch", "lr", "lr_decay", "momentum", "nesterov", "l2", "checkpoint_seconds"}
SYNONYMS = {"network": "networks", "seed": "seeds", "recipe": "recipe_name"}
Value = TypeVar("Value", int, str)


def split_networks(text: str) -> list[str]:
    """Split at the commas that are outside parentheses.

    Example:
        >>> split_networks("mpo(bond=2, sites=4), dense")
        ['mpo(bond=2, sites=4)', 'dense']
    """
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def as_networks(value: object) -> object:
    """Read "mpo,dense" as two networks; lists pass."""
    return split_networks(value) if isinstance(value, str) else value


def as_seeds(value: object) -> object:
    """Read a count 3, or "3", as the seeds 0, 1, 2; "4,7" as 4 and 7; lists pass."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdigit() for part in parts):
            raise ValueError("must be how many seeds to train, such as 3, or a list of them, such as 4,7")
        if len(parts) > 1:
            return parts
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value > MOST_SEEDS:
            raise ValueError(f"at most {MOST_SEEDS} seeds are trained")
        return list(range(value))
    return value


def as_devices(value: object) -> object:
    """Read "2" as the count it is."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


def without_repeats(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Refuse two values that would write the same files."""
    seen: dict[str, Value] = {}
    for value in values:
        name = slug(str(value))
        if name in seen:
            raise ValueError(f"{seen[name]!r} and {value!r} are the same twice")
        seen[name] = value
    return values


def slug(text: str) -> str:
    """Return the text as part of a file name.

    Example:
        >>> slug("mpo(bond=8)")
        'mpo-bond-8'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def one_of(*names: str) -> AfterValidator:
    """Accept these names alone."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}.{did_you_mean(value, names)}")
        return value

    return AfterValidator(check)


def model_name(value: str) -> str:
    """Accept the models of `MODELS`, and language models of any size."""
    if value not in MODELS and not re.fullmatch(LANGUAGE, value):
        raise ValueError(f"must be one of {', '.join(MODELS)}, or a GPT of other sizes.{did_you_mean(value, MODELS)}")
    return value


def data_name(value: str) -> str:
    """Accept a data set by name, or the path of a text file."""
    if value not in DATA and not is_path(value):
        raise ValueError(
            f"must be one of {', '.join(DATA)}, or the path of a text file, such as ./{value}.txt."
            f"{did_you_mean(value, DATA)}"
        )
    return value


def folder_name(value: str) -> str:
    """Accept what is the name of one folder."""
    if value in ("", ".", "..") or set(value) & set('/\\:*?"<>|'):
        raise ValueError("must be the name of one folder, without / or \\; --out sets the folder it lies in")
    return value


class TrainConfig(RecipeOverrides):
    """What to train, on what, how, and where to write it.

    Attributes:
        model: Name of a model of `tnlayers.models`.
        networks: One model is trained for each: "dense", "mpo", or a template such as "mpo(bond=8)".
        data: "digits", "mnist", "fashion-mnist" or "cifar10"; for language models "shakespeare", "sonnets", or the path
            of a text file, which has a dot or a slash in it.
        tokens: What texts are cut into: "characters", or "bpe-N" for N byte pairs.
        data_root: Folder with the files of the data set; None means TNLAYERS_DATA, else a download into the cache.
        seeds: One model is trained for each; it decides the initial weights and the order of the data.
        recipe_name: A name of `RECIPES`, such as "paper", `recipe` in files; None means the default of the model on
            the data. Every setting of it can be changed by the attributes of `RecipeOverrides`.
        backend: What trains: "torch", or "jax" with optax (fc2 and lenet5, on one device; `jax_loop.TAKES`).
        accelerator: Fabric's: "auto", "cpu", "cuda", "mps", ...
        devices: Fabric's: how many, a list of indices, or "auto".
        nodes: Machines, each with as many devices, where a scheduler or torchrun starts the processes.
        strategy: How several devices work together: "ddp" keeps all weights on each, "fsdp" shares them out.
        threads: Threads of torch on the CPU; None leaves torch's choice.
        checkpoint_seconds: Least time between two checkpoints of one model; 0 writes one after every epoch.
        keep: Checkpoints kept of each model, the newest and those before it.
        name: Folder of the run in `out`; None means "<model>-<data>", of a file the name without its ending.
        out: Folder of all runs.
        resume: Go on with a run that is there.
        overwrite: Delete a run that is there and start anew.
    """

    model: Annotated[str, AfterValidator(model_name)]
    networks: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(as_networks), AfterValidator(without_repeats)
    ] = Field(default=("mpo", "dense"), min_length=1)
    data: Annotated[str, AfterValidator(data_name)] = "digits"
    tokens: Annotated[str, Field(pattern=f"^({FORM.pattern})$")] = "characters"
    data_root: Path | None = None
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(as_seeds), AfterValidator(without_repeats)
    ] = Field(default=(0,), min_length=1)
    recipe_name: str | None = None
    backend: Annotated[str, one_of(*BACKENDS)] = "torch"
    precision: Annotated[str, one_of(*PRECISIONS)] | None = None
    accelerator: str = "auto"
    devices: Annotated[int | str | tuple[int, ...], BeforeValidator(as_devices)] = 1
    nodes: int = Field(default=1, ge=1)
    strategy: Annotated[str, one_of(*STRATEGIES)] = "auto"
    threads: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    keep: int = Field(default=1, ge=1)
    name: Annotated[str, AfterValidator(folder_name)] | None = None
    out: Path = Path("runs")
    resume: bool = False
    overwrite: bool = False

    @classmethod
    def resolve(cls, file: Path | None = None, **overrides: Any) -> Self:
        """Make a configuration from a YAML file and overrides.

        Args:
            file: YAML mapping of the attributes above; `network` and `seed` may stand for one of each.
            **overrides: The same keys; they win over the file, and those that are None are ignored.

        Returns:
            The configuration.

        Raises:
            TNLayersError: The file is absent or no YAML mapping, a key is unknown, or a value is not allowed.
        """
        below = canonical(as_written(read_yaml(file)), where=str(file)) if file is not None else {}
        above = canonical({key: value for key, value in overrides.items() if value is not None}, where="the options")
        try:
            config = cls(**{**below, **above})
            config.recipe  # noqa: B018 - its own checks, such as Nesterov without momentum, belong to the start as well
        except ValidationError as error:
            raise TNLayersError(explain(error)) from error
        if config.tokens != "characters" and config.data in IMAGES:
            raise TNLayersError(
                f"tokens={config.tokens!r} is for texts; data={config.data!r} has images. Leave it out."
            )
        if config.resume and config.overwrite:
            raise TNLayersError(
                "resume and overwrite are both set: one goes on with a run, the other deletes it. Keep one."
            )
        return config

    @property
    def recipe(self) -> Recipe:
        """The recipe of this model on this data, with the overrides put in."""
        return self.changed(find_recipe(self.model, self.data, self.recipe_name))

    @property
    def directory(self) -> Path:
        """The folder of this run."""
        data = slug(Path(self.data).stem) or TEXT if is_path(self.data) else self.data
        return self.out / (self.name or f"{self.model}-{data}")

    def to_yaml(self) -> str:
        """Return the configuration as YAML that gives the same run again, the recipe written out.

        What concerns only one start of it is left out: where it lies, and whether to resume or overwrite.
        """
        once = {"resume", "overwrite", "out", "name", "paper_selection"}
        values = self.model_dump(mode="json", exclude={*once, *RecipeOverrides.model_fields}, exclude_none=True)
        names = {field: key for key, field in RECIPE_FIELDS.items()}
        values.update({names.get(field, field): value for field, value in self.recipe.model_dump().items()})
        return yaml.safe_dump(values, sort_keys=False)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file that must be a mapping with text as keys."""
    content = read_mapping(file, "the configuration", "`model: lenet5`, one per setting")
    if other := [key for key in content if not isinstance(key, str)]:
        raise TNLayersError(
            f"{file} must hold lines such as `model: lenet5`, one per setting; {other[0]!r:.80} is no name of one."
        )
    return content


def as_written(values: dict[str, Any]) -> dict[str, Any]:
    """Add the settings that an older run did not write, as they are without them: so it trained.

    Such a file has every setting of its time; one that a person wrote leaves the others to the recipe.
    """
    names = {field: key for key, field in RECIPE_FIELDS.items()}
    without = {
        names.get(field, field): info.default for field, info in Recipe.model_fields.items() if not info.is_required()
    }
    return without | values if values.keys() >= WRITTEN else values


def canonical(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Check the keys and turn `seed: 7` into `seeds: [7]` and `network: mpo,dense` into `networks`."""
    known = (*TrainConfig.model_fields, *SYNONYMS)
    result = {}
    for key, value in values.items():
        if key not in known:
            raise TNLayersError(
                f"Unknown setting {key}={value!r} in {where}.{did_you_mean(key, known)} Known settings: "
                f"{', '.join(known)}."
            )
        name = SYNONYMS.get(key, key)
        if name in result:
            raise TNLayersError(f"{name} is set twice in {where}, as {name} and in the singular: keep one of them.")
        result[name] = [value] if key == "seed" else value
    return result


def explain(error: ValidationError) -> str:
    """Turn pydantic's errors into one paragraph: setting, value, what is required."""
    sentences: dict[str, str] = {}
    names = {field: key for key, field in RECIPE_FIELDS.items()}
    for problem in error.errors():
        key = str(problem["loc"][0]) if problem["loc"] else "recipe"
        key = names.get(key, key)
        required = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
        if problem["type"] == "missing":
            choices = f": one of {', '.join(MODELS)}" if key == "model" else ""
            sentences.setdefault(key, f"{key} is required{choices}.")
        elif problem["type"] == "too_short":
            sentences.setdefault(key, f"{key} is empty: at least one is required.")
        else:
            sentences.setdefault(
                key, f"{key}={problem['input']!r} is not allowed: {required}{'' if required.endswith('?') else '.'}"
            )
    return " ".join(sentences.values())
