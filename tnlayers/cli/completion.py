"""What the shell completes: models, network types and other names that options take. Nothing here loads a framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from glob import escape
from pathlib import Path
from typing import get_args

from tnlayers.declare.registry import known_names
from tnlayers.planning.lowered import Objective
from tnlayers.reproduce.paper import PARTS, TYPES, rows

Completer = Callable[[str], list[str]]


def one_of(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes the begin of one name.

    Example:
        >>> one_of(lambda: ["mpo", "mera", "ring"])("m")
        ['mpo', 'mera']
    """
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def several_of(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes the last of several names that are joined by commas.

    Example:
        >>> several_of(lambda: ["mpo", "dense"])("mpo,d")
        ['mpo,dense']
    """

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        return [f"{done}{comma}{name}" for name in names() if name.startswith(last)]

    return complete


def _models() -> Iterable[str]:
    """The paper's models, in its order, and the language model; the catalogue itself would load torch."""
    return dict.fromkeys([*(row.model for row in rows()), "gpt-pico"])


def is_model(text: str) -> bool:
    """Whether a text is the name of a model of the catalogue, as far as that is known without torch."""
    return text in _models() or text.startswith(("resnet", "densenet", "gpt-"))


def _types() -> Iterable[str]:
    return sorted(known_names())


def _networks() -> Iterable[str]:
    return ["dense", *_types()]


def _backends() -> Iterable[str]:
    from tnlayers.backends import installed

    return installed()


def trained(incomplete: str) -> list[str]:
    """Completes the path of a .safetensors file, one folder at a time."""
    folder, slash, begin = incomplete.rpartition("/")
    found = Path(folder or (slash or ".")).glob(f"{escape(begin)}*")
    names = [f"{path.name}/" if path.is_dir() else path.name for path in found]
    return sorted(f"{folder}{slash}{name}" for name in names if name.endswith(("/", ".safetensors")))


spec = one_of(_types)
model = one_of(_models)
model_or_spec = one_of(lambda: [*_models(), *_types()])
network = one_of(_networks)
networks = several_of(_networks)
backend = one_of(_backends)
objective = one_of(lambda: get_args(Objective))
optimizer = one_of(lambda: ("auto", "optimal", "dp", "greedy"))
theme = one_of(lambda: ("auto", "light", "dark"))
part = one_of(lambda: ("all", *PARTS, TYPES))
