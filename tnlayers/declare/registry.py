"""The registry of network types: a name, the function that declares the graph, and the keywords it takes.

A network function takes `in_modes` and `out_modes` (tuples of int) and any further keywords; those with a default are
optional. `@network("name")` is all it takes to make it a layer: strings such as "name(bond=4)" find it from then on.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tnlayers.declare import packages
from tnlayers.declare.arguments import MOST, integer, shown, text
from tnlayers.declare.grammar import print_value
from tnlayers.errors import TNLayersError, did_you_mean

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph
    from tnlayers.declare.modes import Modes

NetworkFunction = TypeVar("NetworkFunction", bound="Callable[..., Graph]")
# Input size, output size and the type's keywords that were given -> input and output modes.
Split: TypeAlias = "Callable[..., tuple[Modes, Modes]]"

# What a string calls a keyword, where that differs from the function's own parameter name.
SHORT_NAMES = {"bond_dim": "bond"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkType:
    """One network type.

    Attributes:
        name: What strings and files call it.
        function: Declares the graph from `in_modes`, `out_modes` and the keywords.
        cores: How many cores a size is split into where the caller does not say.
        split: Makes both sides' modes from the sizes and the keywords given, where balanced factors would not do.
        keywords: The function's keywords with their defaults; `inspect.Parameter.empty` marks a required one.
        per_edge: Keywords that take one size per bond (a tuple in order of declaration) as well as one number.
        summary: The first line of the function's docstring.
        source: Where it comes from: "built in", or the module or file that declares it.
    """

    name: str
    function: Callable[..., Graph]
    cores: int
    split: Split | None
    keywords: dict[str, Any]
    per_edge: frozenset[str]
    summary: str
    source: str


BUILT_IN = "built in"

# The built-in types, each declared by the module `tnlayers.networks.<name>`; None until that is imported, which is done
# when the type is first asked for.
_BUILT_IN_TYPES: dict[str, NetworkType | None] = dict.fromkeys(
    [
        "blast",
        "block_term",
        "blockdiag",
        "btt",
        "cp",
        "kronecker",
        "lowrank",
        "mera",
        "monarch",
        "mpo",
        "peps",
        "ring",
        "tree",
        "tucker",
    ]
)
_TYPES: dict[str, NetworkType] = {}  # those of users and packages


def network(name: str, *, cores: int = 4, split: Split | None = None) -> Callable[[NetworkFunction], NetworkFunction]:
    """Register a function that declares a graph as the network type `name`.

    Args:
        name: A Python identifier. Registering the same name again replaces it (a notebook cell run twice); the names of
            built-in types are refused.
        cores: How many cores sizes are split into where the caller gives sizes instead of modes.
        split: For types whose modes are bound to each other: called as `split(in_features, out_features, **keywords)`
            with the keywords that were given, it returns both sides' `tnl.Modes`, in place of balanced factors.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        TNLayersError: If the name is taken by a built-in type or the function lacks `in_modes` or `out_modes`.

    Example:
        >>> import tnlayers as tnl
        >>> @tnl.network("pair")
        ... def pair(in_modes, out_modes, bond_dim=2):
        ...     net = tnl.Declaration()
        ...     a = net.core("a", inp=in_modes[0], out=out_modes[0], right=bond_dim)
        ...     b = net.core("b", left=bond_dim, inp=in_modes[1], out=out_modes[1])
        ...     a["right"] ^ b["left"]
        ...     return net.linear(inputs=[a["inp"], b["inp"]], outputs=[a["out"], b["out"]])
        >>> tnl.spec("pair(in=4x7, out=2x5, bond=3)").parameters
        129
    """
    text("name", name)
    integer("cores", cores, 1, MOST)
    if split is not None and not callable(split):
        raise TNLayersError(f"split={shown(split)}: a function of both sizes is needed.")

    def decorate(function: NetworkFunction) -> NetworkFunction:
        parameters = dict(inspect.signature(function).parameters)
        for required in ("in_modes", "out_modes"):
            if parameters.pop(required, None) is None:
                raise TNLayersError(
                    f"The function of network type {name!r} takes no argument {required!r}. Its signature must begin "
                    "(in_modes, out_modes, ...)."
                )
        register(
            NetworkType(
                name=name,
                function=function,
                cores=cores,
                split=split,
                keywords={key: parameter.default for key, parameter in parameters.items()},
                per_edge=frozenset(key for key, p in parameters.items() if "tuple" in str(p.annotation)),
                summary=(inspect.getdoc(function) or "").split("\n")[0],
                source=BUILT_IN if function.__module__.startswith("tnlayers.networks.") else function.__module__,
            )
        )
        return function

    return decorate


def register(kind: NetworkType) -> None:
    """Make a network type known; a second one of the same name replaces the first.

    Raises:
        TNLayersError: If the name is no identifier, or that of a built-in type.
    """
    if not isinstance(kind.name, str) or not kind.name.isidentifier():
        raise TNLayersError(f"A network type needs a name that is a Python identifier, got {kind.name!r}.")
    if kind.source == BUILT_IN:
        _BUILT_IN_TYPES[kind.name] = kind
        return
    if kind.name in _BUILT_IN_TYPES:
        raise TNLayersError(f"{kind.name!r} is a built-in network type; register yours under another name.")
    _TYPES[kind.name] = kind
    declare.cache_clear()


def network_type(name: str) -> NetworkType:
    """The network type of that name; the module that declares it is imported now if need be.

    Raises:
        TNLayersError: If there is none, with those that are known, or its package is broken.
    """
    if name in _BUILT_IN_TYPES:
        return _built_in(name)
    if name not in _TYPES:
        packages.load(name)
    if name not in _TYPES:
        raise TNLayersError(
            f"There is no network type {name!r}.{did_you_mean(name, known_names())} Known types: "
            f"{', '.join(sorted(known_names()))}. Declare your own with @tnl.network(name), or in a file for "
            "tnl.load_network(path)."
        )
    return _TYPES[name]


def _built_in(name: str) -> NetworkType:
    if _BUILT_IN_TYPES[name] is None:
        importlib.import_module(f"tnlayers.networks.{name}")
    found = _BUILT_IN_TYPES[name]
    assert found is not None, f"tnlayers.networks.{name} declares no type of its name"
    return found


def network_types() -> tuple[NetworkType, ...]:
    """All network types known so far, by name; those of packages that nobody has asked for yet are not among them."""
    return tuple(network_type(name) for name in sorted({*_BUILT_IN_TYPES, *_TYPES}))


def known_names() -> frozenset[str]:
    """The names of all types, also of those whose module is not imported yet."""
    return frozenset(_BUILT_IN_TYPES).union(_TYPES, packages.names())


def load_packages() -> tuple[str, ...]:
    """Import every package that announces network types, so that `network_types` lists all.

    Returns:
        One sentence per type that could not be had; the others are there all the same.
    """
    broken = []
    for name in sorted(packages.names() - _TYPES.keys()):
        try:
            network_type(name)
        except TNLayersError as error:
            broken.append(str(error))
    return tuple(broken)


@lru_cache(maxsize=1024)
def declare(
    name: str, in_modes: tuple[int, ...], out_modes: tuple[int, ...], options: tuple[tuple[str, Any], ...]
) -> Graph:
    """Run a network function once per distinct set of arguments; anything it raises is reported as a refusal.

    Raises:
        TNLayersError: Whatever is wrong with the declaration, with the network's name and arguments.
    """
    from tnlayers.declare.graph import Graph

    words = {"in": print_value(in_modes, modes=True), "out": print_value(out_modes, modes=True)}
    words |= {SHORT_NAMES.get(key, key): print_value(value) for key, value in options}
    asked = f"{name}({', '.join(f'{key}={value}' for key, value in words.items())})"
    try:
        graph = network_type(name).function(in_modes=in_modes, out_modes=out_modes, **dict(options))
    except TNLayersError as error:
        raise TNLayersError(f"{error} [in {asked}]") from error
    except Exception as error:  # a bug in the network function: its own traceback stays attached
        raise TNLayersError(f"The network function of {asked} failed: {type(error).__name__}: {error}") from error
    if not isinstance(graph, Graph):
        raise TNLayersError(f"{asked} returned {type(graph).__name__}; a network function returns net.linear(...).")
    if (graph.in_modes, graph.out_modes) != (in_modes, out_modes):
        raise TNLayersError(
            f"{asked} declared input modes {graph.in_modes} and output modes {graph.out_modes}: the legs given to "
            "net.linear must be those of in_modes and out_modes, in that order."
        )
    return graph
