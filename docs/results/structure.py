"""Count how the library's files know each other: `python docs/results/structure.py [ROOT]`, a second's work.

Every import counts: those made when a file is loaded, those inside functions, and those for type checkers alone. Each
folder is a package; what lies in the root of `tnlayers` and of `tnlayers_backends` is counted by itself, as far as it
belongs there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASES = {"tnlayers": ".", "tnlayers_backends": "backends"}
KINDS = ("load", "deferred", "typing")

# Files of the roots that are packages of their own in the order.
FACES = {"tnlayers": "", "tnlayers_backends": ""} | {
    f"tnlayers.{name}": "" for name in ("errors", "backends", "nn", "__main__")
}

# Each package imports only from those before it.
ORDER = (
    *("tnlayers.errors", "tnlayers.files", "tnlayers.declare", "tnlayers.networks", "tnlayers.machine"),
    *("tnlayers.program", "tnlayers.pricing", "tnlayers.planning", "tnlayers_backends", "tnlayers_backends.base"),
    *("tnlayers.backends", "tnlayers.cores", "tnlayers.draw", "tnlayers.decompose", "tnlayers.forms"),
    *("tnlayers_backends.numpy", "tnlayers_backends.jax", "tnlayers_backends.torch.run"),
    *("tnlayers_backends.torch.layers", "tnlayers_backends.torch.modules", "tnlayers_backends.torch.measure"),
    *("tnlayers_backends.torch", "tnlayers.nn", "tnlayers.jax", "tnlayers.io", "tnlayers.hf"),
    *("tnlayers.verify", "tnlayers.compress.modules", "tnlayers.compress", "tnlayers.compress.repair"),
    *("tnlayers.models", "tnlayers.compress.gauge", "tnlayers.train", "tnlayers.bench", "tnlayers.explore"),
    *("tnlayers.reproduce", "tnlayers"),
    *("tnlayers.cli", "tnlayers.__main__"),
)

Edges = dict[tuple[str, str], str]  # (who, whom) -> the kind of import, "load" before "deferred" before "typing"


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module below a root by its dotted name."""
    found = {}
    for name, base in BASES.items():
        for file in sorted((root / base / name).rglob("*.py")):
            dotted = ".".join(file.relative_to(root / base).with_suffix("").parts)
            found[dotted.removesuffix(".__init__")] = file
    return found


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Each name that a file imports, dotted, with the kind of import."""
    yield from _imports(ast.parse(file.read_text(encoding="utf-8")), "load")


def _imports(node: ast.AST, kind: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, kind) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", kind) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for line in child.body:
                yield from _imports(ast.Module([line], []), "typing")
            for line in child.orelse:
                yield from _imports(ast.Module([line], []), kind)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, "deferred" if inside and kind == "load" else kind)


def edges(known: Mapping[str, Path]) -> Edges:
    """Which module imports which other, and how."""
    found: Edges = {}
    for name, file in known.items():
        for dotted, kind in imports(file):
            whom = dotted if dotted in known else dotted.rpartition(".")[0]
            if whom in known and whom != name:
                found[name, whom] = min(kind, found.get((name, whom), kind), key=KINDS.index)
    return found


def package(name: str, known: Mapping[str, Path]) -> str:
    """The package of a module: its folder, or the file itself where it is a face of the library."""
    if name in FACES or known[name].name == "__init__.py":
        return name
    parent = name.rpartition(".")[0]
    if parent == "tnlayers_backends":  # one file, or one folder, per framework
        return name
    return "tnlayers.(root)" if parent == "tnlayers" else parent


def upward(known: Mapping[str, Path], order: tuple[str, ...] = ORDER) -> list[str]:
    """The imports that go against the order, or leave it, each as one line."""
    found = []
    for (who, whom), kind in edges(known).items():
        ends = package(who, known), package(whom, known)
        if unknown := [end for end in ends if end not in order]:
            found.append(f"{who} imports {whom}: {', '.join(unknown)} has no place in the order")
        elif order.index(ends[0]) < order.index(ends[1]):
            found.append(f"{who} imports {whom} ({kind})")
    return found


def circles(known: Mapping[str, Path], kinds: tuple[str, ...] = KINDS) -> list[set[str]]:
    """The sets of modules that need each other, the largest first."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for (who, whom), kind in edges(known).items():
        if kind in kinds:
            graph[who].add(whom)
    reached = {name: _reached(name, graph) for name in graph}
    sets = {frozenset(o for o in reached[n] if n in reached[o]) for n in graph if n in reached[n]}
    return sorted(map(set, sets), key=len, reverse=True)


def _reached(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [*graph[name]]
    while ahead:
        if (one := ahead.pop()) not in seen:
            seen.add(one)
            ahead += graph[one]
    return seen


def both_ways(known: Mapping[str, Path]) -> dict[tuple[str, str], tuple[int, int]]:
    """Pairs of packages that know each other, with how many imports go each way."""
    count: dict[tuple[str, str], int] = {}
    for who, whom in edges(known):
        ends = package(who, known), package(whom, known)
        if ends[0] != ends[1]:
            count[ends] = count.get(ends, 0) + 1
    return {(a, b): (n, count[b, a]) for (a, b), n in count.items() if a < b and (b, a) in count}


def lines(known: Mapping[str, Path]) -> int:
    """Lines of all modules."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in known.values())


def in_root(root: Path = ROOT) -> list[str]:
    """Files in the root of `tnlayers`, the marker for type checkers left out."""
    return sorted(file.name for file in (root / "tnlayers").iterdir() if file.is_file() and file.name != "py.typed")


def one_order(known: Mapping[str, Path]) -> list[str]:
    """Packages in some order that all imports allow; raises CycleError where there is none."""
    graph: dict[str, set[str]] = {package(name, known): set() for name in known}
    for who, whom in edges(known):
        ends = package(who, known), package(whom, known)
        if ends[0] != ends[1]:
            graph[ends[0]].add(ends[1])
    return list(TopologicalSorter(graph).static_order())


def report(root: Path = ROOT) -> str:
    """All counts as text."""
    known = modules(root)
    pairs = both_ways(known)
    largest, at_load = (max(map(len, circles(known, kinds)), default=0) for kinds in (KINDS, ("load",)))
    rows = [
        ("files in the root of tnlayers/", str(len(in_root(root)))),
        ("largest circle of files, all imports", str(largest)),
        ("largest circle of files, load-time imports", str(at_load)),
        ("pairs of packages that know each other both ways", str(len(pairs))),
        ("packages", str(len({package(name, known) for name in known}))),
        ("files", str(len(known))),
        ("lines", f"{lines(known):,}"),
    ]
    text = [f"{name:<50} {value:>7}" for name, value in rows]
    text += [f"    {a} <-> {b}: {there}/{back}" for (a, b), (there, back) in sorted(pairs.items())]
    return "\n".join(text)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    print(report(place))
    try:
        print("one order:", " < ".join(one_order(modules(place))))
    except CycleError as error:
        print("no order:", " -> ".join(error.args[1]))
