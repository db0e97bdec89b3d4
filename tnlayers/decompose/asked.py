"""The sizes that something may have (`bond_dim`, `max_params`, `ratio`, `error` and the like), checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, TypeVar

from tnlayers.declare.arguments import LARGEST, shown
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.sizes import BondDim
from tnlayers.errors import TNLayersError

Key = TypeVar("Key", bound=str)

SIZES = ("bond_dim", "max_params", "ratio", "error")  # what is asked of one layer


def check_size(key: str, value: Any, whole: str = "the dense weight", least: int = 1) -> None:
    """Refuse what is no size of its kind; a `bond_dim` is checked by the network type that takes it.

    Args:
        key: Which size.
        value: Its value.
        whole: What a ratio is of, in words.
        least: The least number of parameters, flops or bytes.

    Raises:
        TNLayersError: If it is none.

    Example:
        >>> check_size("ratio", 0.2)
        >>> check_size("max_params", 0.5)
        Traceback (most recent call last):
        ...
        tnlayers.errors.TNLayersError: max_params=0.5 must be an integer of at least 1.
    """
    if key == "bond_dim":
        return
    counts = key in ("max_params", "max_flops", "max_bytes")
    least = least if counts else 0
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # An integer of 400 digits is below infinity and still no float.
    if not number or not least <= value < inf or value > LARGEST or (counts and value != int(value)):
        most = f" and at most {LARGEST}" if number and value > LARGEST else ""
        plain = repr(value) if number and abs(value) <= LARGEST else shown(value)
        kind = "an integer" if counts else "a number"
        raise TNLayersError(f"{key}={plain} must be {kind} of at least {least}{most}.")
    if key == "ratio" and value > 1:
        raise TNLayersError(
            f"ratio={value:g} is more than {whole}: it is parameters after over parameters before, so that 0.2 keeps "
            "a fifth of them."
        )
    if key == "error" and value > 1:
        raise TNLayersError(
            f"error={value!r} is met by a weight of zeros: it is ||W - W'|| / ||W||, so it must be at most 1, such as "
            "0.05; 0 is exact up to rounding."
        )


def given(sizes: Mapping[Key, Any]) -> dict[Key, Any]:
    """Those of some sizes that were given."""
    return {key: value for key, value in sizes.items() if value is not None}


def asked_size(
    network: str | Spec,
    bond_dim: BondDim | None = None,
    max_params: int | None = None,
    ratio: float | None = None,
    error: float | None = None,
) -> str | None:
    """The one size that was given, in words; None where the network itself says it.

    Raises:
        TNLayersError: If several were given, none at all, or one that is no size.
    """
    sizes: dict[str, Any] = {"bond_dim": bond_dim, "max_params": max_params, "ratio": ratio, "error": error}
    asked = given(sizes)
    if len(asked) > 1:
        listed = ", ".join(f"{key}={value}" for key, value in asked.items())
        raise TNLayersError(f"{listed} were given together; give exactly one of {', '.join(sizes)}.")
    for key, value in asked.items():
        check_size(key, value)
        return f"{key}={value}"
    template = make_spec(network)
    if not all(part.sized or part.options for part in template.parts):
        raise TNLayersError(
            f"Say how large {network} may be: exactly one of {', '.join(f'{key}=' for key in sizes)}, or write it into "
            "the template."
        )
    return None


def check_method(sweeps: object, restarts: object, search: object) -> None:
    """Refuse numbers that say no way to look for cores.

    Raises:
        TNLayersError: If one is out of range.
    """
    for name, value, least in (("sweeps", sweeps, 0), ("restarts", restarts, 1)):
        if value is None and name == "sweeps":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise TNLayersError(f"{name}={value!r} must be an integer of at least {least}.")
    if isinstance(search, bool) or not isinstance(search, (int, float)) or not 0 <= search < inf:
        raise TNLayersError(f"search={search!r} must be a finite number of seconds, 0 for no search.")
