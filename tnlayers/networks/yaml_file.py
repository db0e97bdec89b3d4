"""Network types from YAML files: cores, edges and open legs, for people who write no Python.

    network: zipper                          # the name that specs call it by
    summary: Two cores on one bond.
    keywords: {bond: 4}                      # sizes a spec may give, with their defaults
    cores:
      left: {inp: in_0, out: out_0, right: bond}
      right: {left: bond, inp: in_1, out: out_1}
    edges:
      - [left.right, right.left]
    hyperedges: {}                           # name: [core.leg, core.leg, ...], all of them one index
    inputs: [left.inp, right.inp]            # open legs, slowest first; the bare name of a hyperedge is a leg of it
    outputs: [left.out, right.out]

A size is a number, a keyword, or a mode: `in_0` (or `in[0]`) is the first input mode. The file says no more than a
function under `@tnl.network` would, and its graph is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tnlayers.declare.modes import factorise
from tnlayers.declare.registry import SHORT_NAMES, NetworkType, register
from tnlayers.errors import TNLayersError
from tnlayers.files.documents import UnreadableText, load_yaml, read_file

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

_MODE = re.compile(r"(in|out)(?:_(\d+)|\[(\d+)\])")
_LONG_NAMES = {short: long for long, short in SHORT_NAMES.items()}
Size = Annotated[int, Field(ge=1)]


class NetworkFile(BaseModel):
    """The contents of a file, checked key by key.

    Attributes:
        network: The name of the network type.
        summary: One line on what it is.
        keywords: Sizes that a spec may give, with their defaults.
        cores: By name, the size of each leg in order.
        edges: The two legs of each bond, as "core.leg".
        hyperedges: By name, the legs that are one index.
        inputs: The open legs of the input modes, slowest first.
        outputs: The open legs of the output modes, slowest first.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    network: str
    summary: str = ""
    keywords: dict[str, Size] = {}
    cores: Annotated[dict[str, Annotated[dict[str, Size | str], Field(min_length=1)]], Field(min_length=1)]
    edges: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    hyperedges: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    inputs: Annotated[list[str], Field(min_length=1)]
    outputs: Annotated[list[str], Field(min_length=1)]


def load_network(path: str | Path) -> NetworkType:
    """Read a network type from a YAML file; strings such as "zipper(bond=8)" find it from then on.

    Args:
        path: The file. Reading it again, or another that says the same name, replaces the type.

    Returns:
        The network type.

    Raises:
        TNLayersError: If there is no such file, or what it says does not fit together; the message names the file and
            the core, edge or key.

    Example:
        >>> import tnlayers as tnl, pathlib, tempfile
        >>> text = '''
        ... network: two_factors
        ... keywords: {rank: 2}
        ... cores:
        ...   down: {inp: in_0, rank: rank}
        ...   up: {rank: rank, out: out_0}
        ... edges: [[down.rank, up.rank]]
        ... inputs: [down.inp]
        ... outputs: [up.out]
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "two_factors.yaml")
        ...     _ = file.write_text(text)
        ...     kind = tnl.load_network(file)
        >>> tnl.spec("two_factors(rank=3)", 10, 7).parameters
        51
    """
    path = Path(path)
    content = _read(path)
    modes = {side: _mode_count(path, content, side) for side in ("in", "out")}
    kind = NetworkType(
        name=content.network,
        function=_network_function(path, content, modes),
        cores=max(modes.values()),
        split=lambda n, m, **_: (factorise(n, modes["in"]), factorise(m, modes["out"])),
        keywords={_LONG_NAMES.get(key, key): size for key, size in content.keywords.items()},
        per_edge=frozenset(),
        summary=content.summary,
        source=str(path),
    )
    register(kind)
    return kind


def _network_function(path: Path, content: NetworkFile, modes: Mapping[str, int]) -> Callable[..., Graph]:
    """The function that `@tnl.network` would be given; what it refuses is reported with the file's name."""

    def function(in_modes: tuple[int, ...], out_modes: tuple[int, ...], **keywords: int) -> Graph:
        given = {"in": in_modes, "out": out_modes}
        if any(len(given[side]) != count for side, count in modes.items()):
            raise TNLayersError(
                f"{path} has {modes['in']} input and {modes['out']} output modes, but in_modes {in_modes} has "
                f"{len(in_modes)} and out_modes {out_modes} has {len(out_modes)}. Write as many as the file has."
            )
        named = {f"{side}_{k}": size for side, sizes in given.items() for k, size in enumerate(sizes)}
        named |= content.keywords | {SHORT_NAMES.get(key, key): size for key, size in keywords.items()}
        try:
            return _declare(content, named)
        except TNLayersError as error:
            raise TNLayersError(f"{path}: {error}") from error

    return function


def _read(path: Path) -> NetworkFile:
    text = read_file(path, "the network file")
    try:
        content = NetworkFile.model_validate(load_yaml(text))
    except UnreadableText as error:
        raise TNLayersError(f"{path} is not YAML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("int", "str")) or "the whole file"
        raise TNLayersError(
            f"{path}: {where}: {first['msg']}, got {first['input']!r}. A network file has the keys "
            f"{', '.join(NetworkFile.model_fields)}."
        ) from error
    _check_references(path, content)
    return content


def _check_references(path: Path, content: NetworkFile) -> None:
    """Every size, leg and hyperedge that is named must exist."""
    for core, legs in content.cores.items():
        for leg, size in legs.items():
            if isinstance(size, str) and size not in content.keywords and not _MODE.fullmatch(size):
                raise TNLayersError(
                    f"{path}: leg {leg!r} of core {core!r} has the size {size!r}, which is no number, no keyword "
                    f"({', '.join(content.keywords) or 'the file has none'}) and no mode such as in_0. Add "
                    f"'keywords: {{{size}: 4}}', or correct the name."
                )
    joined = [leg for legs in (*content.edges, *content.hyperedges.values()) for leg in legs]
    for name in (*joined, *content.inputs, *content.outputs):
        core, _, leg = name.partition(".")
        if leg in content.cores.get(core, ()) or (name in content.hyperedges and name not in joined):
            continue
        known = [f"{core}.{leg}" for core, own in content.cores.items() for leg in own]
        raise TNLayersError(
            f"{path}: there is no leg {name!r}. The legs are {', '.join([*known, *content.hyperedges])}."
        )


def _mode_count(path: Path, content: NetworkFile, side: str) -> int:
    """How many modes of a side there are; a size that names a further one is refused."""
    sizes = [size for legs in content.cores.values() for size in legs.values() if isinstance(size, str)]
    found = {int(m[2] or m[3]) for m in map(_MODE.fullmatch, sizes) if m and m[1] == side}
    listed = len(content.inputs if side == "in" else content.outputs)
    if not found <= set(range(listed)):
        raise TNLayersError(
            f"{path} lists {listed} {side}puts, but its cores have the {side} modes {sorted(found)}. Modes have the "
            f"numbers 0 to {listed - 1}, in the order of {side}puts."
        )
    return listed


def _declare(content: NetworkFile, sizes: Mapping[str, int]) -> Graph:
    """What a network function does, by the file."""
    from tnlayers.declare.declaration import Declaration  # TensorNetwork, which reading a file does not need

    net = Declaration()

    def number(size: int | str) -> int:
        mode = _MODE.fullmatch(size) if isinstance(size, str) else None
        return size if isinstance(size, int) else sizes[f"{mode[1]}_{mode[2] or mode[3]}" if mode else size]

    cores = {name: net.core(name, **{leg: number(s) for leg, s in own.items()}) for name, own in content.cores.items()}
    legs = {f"{name}.{own}": core[own] for name, core in cores.items() for own in core.axis_names}
    for left, right in content.edges:
        legs[left] ^ legs[right]
    opened = {side: dict(legs) for side in ("inputs", "outputs")}
    for name, members in content.hyperedges.items():
        ends = [side for side in opened if name in getattr(content, side)]
        node = net.copy(legs[members[0]].dimension, [*ends, *members], name=name)
        for member in members:
            legs[member] ^ node[member]
        for side in ends:
            opened[side][name] = node[side]
    return net.linear(**{side: [known[name] for name in getattr(content, side)] for side, known in opened.items()})
