"""The keywords of a spec: read from a string or a mapping, and checked one by one against the network type.

What comes out is plain data: the fields that every spec has and the options of its network type. Whether sizes and
modes fit together is no question of a single keyword; `spec.py` asks that.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tnlayers.declare.grammar import Value, parse, print_value, split_sum
from tnlayers.declare.registry import SHORT_NAMES, network_type
from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.files.documents import UnreadableText

FIELDS = ("in_modes", "out_modes", "pad_in", "pad_out", "cores", "bias")
_SHORT_FIELDS = ("in", "out", "cores", "bias", "pad_in", "pad_out")
EXAMPLE = '{"network": "mpo", "in_modes": [4, 7, 7, 4], "out_modes": [4, 4, 4, 4], "bond_dim": 16}'
_LONG_NAMES = {short: long for long, short in SHORT_NAMES.items()} | {"in": "in_modes", "out": "out_modes"}


def parsed(text: str, load: Callable[[str], Any], form: str) -> Any:
    """What a text in JSON or YAML holds; whether that is a spec is for `read` to say.

    Raises:
        TNLayersError: If it is no such text.
    """
    try:
        return load(text)
    except UnreadableText as error:
        raise TNLayersError(f"This is not {form}: {error}. A spec is a mapping such as {EXAMPLE}.") from error


def read(network: object) -> dict[str, Any]:
    """The keywords of a string or a mapping by their long names, the type's name under "network".

    Raises:
        TNLayersError: If it is neither, or gives a keyword twice.
    """
    if isinstance(network, str):
        name, values = parse(network)
        return {"network": name} | long_names(values.items(), network)
    if isinstance(network, Mapping) and isinstance(network.get("network"), str):
        return long_names(((str(key), value) for key, value in network.items()), network)
    raise TNLayersError(f"Cannot read a spec from {network!r}. Give a string such as 'mpo(bond=16)' or {EXAMPLE}.")


def split_terms(network: object) -> tuple[Any, ...]:
    """The terms of a sum, each readable as a spec by itself; empty where `network` is no sum."""
    if isinstance(network, str):
        parts = split_sum(network)
        return parts if len(parts) > 1 else ()
    if isinstance(network, Mapping):
        if "terms" not in network or "network" in network:  # a single network may have a keyword of that name
            return ()
        extra = sorted(set(network) - {"terms", "bias"})
        if extra or not isinstance(network["terms"], (list, tuple)) or len(network["terms"]) < 2:
            raise TNLayersError(
                f"Cannot read a sum from {network!r}. It has the key 'terms', a list of at least two specs, and "
                "perhaps 'bias'; everything else belongs to a term."
            )
        return tuple(network["terms"])
    return tuple(getattr(network, "terms", ()))


def long_names(pairs: Iterable[tuple[str, Any]], source: object) -> dict[str, Any]:
    """The keywords by their long names; a short one beside its long one is refused."""
    given: dict[str, Any] = {}
    for key, value in pairs:
        long = _LONG_NAMES.get(key, key)
        if long in given:
            raise TNLayersError(f"{source!r} gives {key!r} twice.")
        given[long] = value
    return given


def check(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, Value], ...]]:
    """Check every keyword by itself; those that are None count as not given.

    Returns:
        The fields of a spec, and the options of its network type sorted by name.

    Raises:
        TNLayersError: If a keyword is unknown, or its value is not of its kind.
    """
    kind = network_type(given["network"])
    fields: dict[str, Any] = {}
    options: dict[str, Value] = {}
    for key, value in given.items():
        if key == "network" or value is None:
            continue
        if key in FIELDS:
            fields[key] = checked(key, value)
        elif key in kind.keywords:
            options[key] = checked(key, value, per_edge=key in kind.per_edge)
        else:
            known = [SHORT_NAMES.get(k, k) for k in kind.keywords]
            raise TNLayersError(
                f"{kind.name!r} has no keyword {key!r}.{did_you_mean(key, (*known, *_SHORT_FIELDS))} Its keywords are "
                f"{', '.join(known)}; every network also takes {', '.join(_SHORT_FIELDS[:-1])} and {_SHORT_FIELDS[-1]}."
            )
    return fields, tuple(sorted(options.items()))


def _frozen(value: Any) -> Any:
    """Lists as tuples, and integers of numpy as Python's own."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def checked(key: str, value: Any, per_edge: bool = True) -> Value:
    """One value: positive integers, tuples of them where allowed, booleans for `bias`, else as given."""
    value = _frozen(value)
    short = SHORT_NAMES.get(key, key.removesuffix("_modes"))
    if key == "bias":
        if not isinstance(value, bool):
            raise TNLayersError(f"bias must be true or false, got {value!r}.")
        return value
    modes = key in ("in_modes", "out_modes")
    if isinstance(value, int) and not isinstance(value, bool) and modes:
        value = (value,)
    if isinstance(value, (int, tuple)) and not isinstance(value, bool):
        least = 0 if key.startswith("pad_") else 1
        items = value if isinstance(value, tuple) else (value,)
        if not items or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in items):
            shown = print_value(value, modes=modes)
            raise TNLayersError(f"{short}={shown}: every number must be an integer of at least {least}.")
        if isinstance(value, tuple) and (not per_edge or key in ("cores", "pad_in", "pad_out")):
            raise TNLayersError(f"{short}={print_value(value)}: this takes one number, not one per bond.")
        return value
    if key in FIELDS or key in ("bond_dim", "rank", "terms", "blocks"):
        raise TNLayersError(f"{short}={value!r}: an integer of at least 1 is needed, such as {short}=4.")
    if not isinstance(value, (bool, float, str)):
        raise TNLayersError(f"{short}={value!r}: values are numbers, tuples of numbers, booleans and words.")
    return value
