"""Network types of other packages: the entry-point group `tnlayers.networks`.

A package names its types in its `pyproject.toml`; the module named there declares them with `@tnl.network`:

    [project.entry-points."tnlayers.networks"]
    zipper = "my_package.networks"

Nothing is imported before a type of that name is asked for, or the list of all types is printed.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from tnlayers.errors import TNLayersError

GROUP = "tnlayers.networks"


def names() -> frozenset[str]:
    """The names that installed packages announce; none is imported to find out."""
    return frozenset(point.name for point in entry_points(group=GROUP))


def load(name: str) -> None:
    """Import what a package announces under this name; nothing happens where none does.

    Raises:
        TNLayersError: If two packages announce it, or the import fails; other packages stay usable.
    """
    points = sorted({(p.value, _package(p)): p for p in entry_points(group=GROUP, name=name)}.items())
    if len(points) > 1:
        listed = " and ".join(f"{package} ({value})" for (value, package), _ in points)
        raise TNLayersError(f"The network type {name!r} is announced by {listed}. Uninstall one of them.")
    for (value, package), point in points:
        try:
            point.load()
        except Exception as error:  # whatever a foreign module does; its own traceback stays attached
            raise TNLayersError(
                f"The network type {name!r} comes from the package {package} ({value}), which failed to load: "
                f"{type(error).__name__}: {error}. Mend or uninstall {package}; the other network types work."
            ) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"
