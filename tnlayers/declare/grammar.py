"""The grammar of spec strings: `name(key=value, key=value)`, and sums of them, `name(...) + name(...)`.

Values are integers, `4x7x7x4` (modes), `4-8-4` (one per bond), decimal numbers, `true` and `false`, and words.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from tnlayers.errors import TNLayersError
from tnlayers.files.documents import NUMBER_LIMIT

Value: TypeAlias = "int | float | bool | str | tuple[int, ...]"

_SPEC = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*(?:\((?P<body>[^()]*)\))?\s*")
_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_]\w*)\s*=\s*(?P<value>[\w.+-]+)\s*")
_MODES = re.compile(r"\d+(x\d+)+")
_BONDS = re.compile(r"\d+(-\d+)+")
_DIGITS = re.compile(rf"\d{{{NUMBER_LIMIT + 1}}}")

EQUAL = "(equal)"  # behind a type of a model's network: about as many parameters as the paper's MPO has there
LONGEST = 20_000  # characters of a spec; the longest in use have some hundred


def parse(text: str) -> tuple[str, dict[str, Value]]:
    """Read a spec string into the network's name and its keywords, as written.

    Raises:
        TNLayersError: If the text is not of the form above; the message quotes the part that is not.

    Example:
        >>> parse("mpo(in=4x7, out=2x5, bond=3, bias=true)")
        ('mpo', {'in': (4, 7), 'out': (2, 5), 'bond': 3, 'bias': True})
    """
    if len(text) > LONGEST:
        raise TNLayersError(f"Cannot read a spec of {len(text)} characters; at most {LONGEST} are read: {text!r}")
    match = _SPEC.fullmatch(text)
    if match is None:
        raise TNLayersError(
            f"Cannot read the spec {text!r}{_parenthesis(text)}. A spec is written name(key=value, ...), {_HINT}."
        )
    values: dict[str, Value] = {}
    body = match["body"] or ""
    for part in body.split(",") if body.strip() else []:
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise TNLayersError(f"Cannot read {part.strip()!r} in the spec {text!r}; write key=value, {_HINT}.")
        if pair["key"] in values:
            raise TNLayersError(f"The spec {text!r} gives {pair['key']!r} twice.")
        values[pair["key"]] = _value(pair["value"])
    return match["name"], values


def split_sum(text: str) -> tuple[str, ...]:
    """The terms of a sum: the text cut at each `+` outside parentheses.

    Example:
        >>> split_sum("mpo(bond=8) + cp(rank=1e+1)")
        ('mpo(bond=8)', 'cp(rank=1e+1)')
    """
    parts, depth = [""], 0
    for piece in re.split(r"([+()])", text):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == "+" and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return tuple(part.strip() for part in parts)


def _parenthesis(text: str) -> str:
    """What is wrong with the parentheses, and where; nothing where that is not what is wrong."""
    opened: list[int] = []
    for place, character in enumerate(text):
        if character == "(":
            opened.append(place)
        elif character == ")":
            if not opened:
                return f": the ')' at character {place + 1} closes nothing"
            opened.pop()
    if not opened:
        return ""
    return f": the '(' at character {opened[-1] + 1} is never closed; add ')' at the end"


_HINT = "as in 'mpo(in=4x7x7x4, out=4x4x4x4, bond=16)' or 'mpo(cores=4, bond=4-8-4)'"


def _value(text: str) -> Value:
    if _DIGITS.search(text):
        raise TNLayersError(
            f"Cannot read the value {text[:NUMBER_LIMIT]!r}...: numbers have {NUMBER_LIMIT} digits at most."
        )
    if _MODES.fullmatch(text):
        return tuple(int(part) for part in text.split("x"))
    if _BONDS.fullmatch(text):
        return tuple(int(part) for part in text.split("-"))
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def print_value(value: object, *, modes: bool = False) -> str:
    """A value as the grammar reads it back: tuples joined by `x` if they are modes, else by `-`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ("x" if modes else "-").join(str(item) for item in value)
    return str(value)
