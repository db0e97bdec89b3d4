"""Arguments of public calls, checked by kinds before anything is allocated.

One table says of what kind an argument of a name is, in every call; `checks_arguments` goes by it. An argument
that is left at its default is right, whatever its kind. What depends on several arguments is checked where they meet.
"""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tnlayers.errors import TNLayersError, shortened

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 2**62  # of a size: what fits into the integers of every framework
MOST = 1024  # of what is made one by one: layers, cores, heads


def shown(value: object) -> str:
    """A value as messages quote it, its end left out where it is long."""
    try:
        return shortened(f"{value!r} ({type(value).__name__})", 200)
    except Exception:  # a value of others may not even print; a number of 5,000 digits does not
        return f"a {type(value).__name__}"


def integer(name: str, value: object, least: int, most: int) -> None:
    """Refuse what is no integer from `least` to `most`; booleans are none.

    Raises:
        TNLayersError: It is none.
    """
    try:
        if not isinstance(value, bool) and least <= operator.index(value) <= most:  # type: ignore[arg-type]
            return
    except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several entries
        pass
    raise TNLayersError(f"{name}={shown(value)}: an integer from {least} to {most} is needed.")


def number(name: str, value: object, least: float, most: float) -> None:
    """Refuse what is no number from `least` to `most`.

    Raises:
        TNLayersError: It is none.
    """
    try:
        right = not isinstance(value, (bool, str, bytes)) and least <= float(value) <= most  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        right = False
    if not right:
        raise TNLayersError(f"{name}={shown(value)}: a number from {least} to {most} is needed.")


def flag(name: str, value: object) -> None:
    """Refuse what is neither true nor false, such as 0, "no" and None.

    Raises:
        TNLayersError: It is neither.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # numpy calls its own either
        raise TNLayersError(f"{name}={shown(value)}: True or False is needed.")


def bonds(name: str, value: object) -> None:
    """Refuse what is no bond dimension, nor one per bond.

    Raises:
        TNLayersError: It is neither.
    """
    for size in value if isinstance(value, (list, tuple)) and value else (value,):
        integer(name, size, 1, LARGEST)


def shape(name: str, value: object) -> None:
    """Refuse what is no shape: a list or a tuple of sizes, perhaps of none.

    Raises:
        TNLayersError: It is none.
    """
    if not isinstance(value, (list, tuple)) or len(value) > 62:
        raise TNLayersError(f"{name}={shown(value)}: a tuple of sizes is needed, such as (3, 7, 7).")
    for size in value:
        integer(name, size, 1, LARGEST)


def rates(name: str, value: object) -> None:
    """Refuse what names no device that rates are known for.

    Raises:
        TNLayersError: It is neither "cpu" nor begins with "cuda" or "xla".
    """
    if value != "cpu" and not (isinstance(value, str) and re.match(r"(cuda|xla)\b", value)):
        raise TNLayersError(
            f"{name}={shown(value)}: plans are for 'cpu', or for 'cuda' and a GPU's name behind it; 'xla cpu' is jax "
            "on the processor."
        )


def network(name: str, value: object) -> None:
    """Refuse what says no network: neither a text nor a spec nor a mapping. None is for modules of dense layers.

    Raises:
        TNLayersError: It is none of them.
    """
    if value is not None and not isinstance(value, (str, Mapping)) and not hasattr(value, "in_modes"):
        raise TNLayersError(f"{name}={shown(value)}: a network is needed, such as 'mpo(bond=16)'.")


def text(name: str, value: object) -> None:
    """Refuse what is no text.

    Raises:
        TNLayersError: It is none.
    """
    if not isinstance(value, str):
        raise TNLayersError(f"{name}={shown(value)}: a text is needed.")


def mapping(name: str, value: object) -> None:
    """Refuse what is no mapping with texts as keys.

    Raises:
        TNLayersError: It is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TNLayersError(f"{name}={shown(value)}: a mapping with texts as keys is needed.")


def module(name: str, value: object) -> None:
    """Refuse what is no torch module.

    Raises:
        TNLayersError: It is none.
    """
    if isinstance(value, type) or not hasattr(value, "named_modules"):
        raise TNLayersError(f"{name}={shown(value)}: a torch module is needed.")


def device(name: str, value: object) -> None:
    """Refuse what is no device that torch can put a tensor on here.

    Raises:
        TNLayersError: It is none.
    """
    import torch

    if value is None:
        return
    try:
        torch.empty(0, device=value)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise TNLayersError(f"{name}={shown(value)} is no device that torch can use here: {reason}") from error


def floating(name: str, value: object) -> None:
    """Refuse what is no dtype of torch that parameters can have.

    Raises:
        TNLayersError: It is none.
    """
    import torch

    if value is None:
        return
    if not isinstance(value, torch.dtype) or not (value.is_floating_point or value.is_complex):
        raise TNLayersError(f"{name}={shown(value)}: a floating or complex dtype is needed, such as torch.float32.")


Check = Callable[[str, object], None]


def _size(name: str, value: object) -> None:
    integer(name, value, 1, LARGEST)


def _count(name: str, value: object) -> None:
    integer(name, value, 1, MOST)


def _share(name: str, value: object) -> None:
    number(name, value, 0.0, 1.0)


def _positive(name: str, value: object) -> None:
    number(name, value, math.ulp(0.0), 1e300)


CHECKS: dict[str, Check] = {
    **dict.fromkeys(("in_features", "out_features", "num_embeddings", "embedding_dim", "in_channels"), _size),
    **dict.fromkeys(("out_channels", "groups", "input_size", "hidden_size", "embed_dim", "kdim", "vdim"), _size),
    **dict.fromkeys(("in1_features", "in2_features"), _size),
    **dict.fromkeys(("size", "batch", "base_width", "max_params", "max_flops", "memory_limit"), _size),
    **dict.fromkeys(("order", "cores", "num_layers", "num_heads"), _count),
    **dict.fromkeys(("bias", "batch_first", "bidirectional", "add_bias_kv", "add_zero_attn", "unique", "pad"), flag),
    **dict.fromkeys(("tune", "strict", "dry_run", "inplace", "data_aware", "avoid_slower", "on"), flag),
    **dict.fromkeys(("scale_grad_by_freq", "sparse"), flag),
    **dict.fromkeys(("dropout", "p"), _share),
    **dict.fromkeys(("variance", "lr", "ratio", "norm_type"), _positive),
    "search": lambda name, value: number(name, value, 0.0, 1e9),
    "proj_size": lambda name, value: integer(name, value, 0, LARGEST),
    "padding_idx": lambda name, value: integer(name, value, -LARGEST, LARGEST),
    "seed": lambda name, value: None if value is None else integer(name, value, 0, 2**64 - 1),
    "bond_dim": bonds,
    "network": network,
    "networks": mapping,
    "state": mapping,
    **dict.fromkeys(("module", "model", "base"), module),
}


def checks_arguments(**more: Check | None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the arguments of a public call by the table, before its body runs.

    Args:
        **more: Kinds of this call's own; None for an argument that here is of another kind than in the table.

    Example:
        >>> @checks_arguments()
        ... def double(size, pad=None):
        ...     return 2 * size
        >>> double(3)
        6
        >>> double(True)
        Traceback (most recent call last):
        tnlayers.errors.TNLayersError: size=True (bool): an integer from 1 to 4611686018427387904 is needed.
    """

    def checked(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        table = CHECKS | more
        checks = {name: check for name in signature.parameters if (check := table.get(name)) is not None}
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = signature.bind(*args, **kwargs).arguments
            for name, check in checks.items():
                if name in given and given[name] is not defaults[name]:
                    check(name, given[name])
            return function(*args, **kwargs)

        return run

    return checked
