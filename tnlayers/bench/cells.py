"""Cells: the layers, batch sizes and modes that are timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from tnlayers.errors import TNLayersError
from tnlayers.modes import factorise

Mode: TypeAlias = Literal["forward", "training"]

# (in_features, out_features, cores): FC2's first, square ones, VGG's classifier, a transformer's widening layer.
LAYERS = (
    (784, 256, 4),
    (1024, 1024, 3),
    (1024, 1024, 4),
    (4096, 4096, 4),
    (25088, 4096, 4),
    (4096, 11008, 3),
)
BONDS = (4, 16, 64)
BATCHES = (1, 32, 128, 1024, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line of the benchmark.

    Attributes:
        in_features: Size of an input vector.
        out_features: Size of an output vector.
        cores: Number of cores of the mpo.
        bond: Its bond dimension.
        batch: Vectors per call.
        mode: "forward" without gradients, or "training": forward and backward, gradients of x and all parameters.
        dtype: float32 or bfloat16.
        threads: CPU threads.
        network: A template in place of `mpo(cores=..., bond=...)`: another network type.
    """

    in_features: int
    out_features: int
    cores: int
    bond: int
    batch: int
    mode: Mode
    dtype: str = "float32"
    threads: int = 1
    network: str = ""

    @property
    def template(self) -> str:
        """The network as a template without sizes."""
        return self.network or f"mpo(cores={self.cores}, bond={self.bond})"

    @property
    def in_modes(self) -> tuple[int, ...]:
        """Factors of the input, one per core."""
        return tuple(factorise(self.in_features, self.cores))

    @property
    def out_modes(self) -> tuple[int, ...]:
        """Factors of the output, one per core."""
        return tuple(factorise(self.out_features, self.cores))

    @property
    def name(self) -> str:
        """One word that names the cell, such as `4096-4096-c4-r16-b128-training`."""
        network = f"c{self.cores}-r{self.bond}" if not self.network else self.network.replace(" ", "")
        rest = "" if (self.dtype, self.threads) == ("float32", 1) else f"-{self.dtype}-t{self.threads}"
        return f"{self.in_features}-{self.out_features}-{network}-b{self.batch}-{self.mode}{rest}"

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain data."""
        return asdict(self)


# Where other dtypes, threads and network types are looked at as well.
NAMED = (
    (784, 256, 4, 16, 1),
    (784, 256, 4, 16, 128),
    (1024, 1024, 4, 16, 1024),
    (4096, 4096, 4, 16, 128),
    (4096, 4096, 4, 64, 128),
    (4096, 11008, 3, 64, 32),
)
MODES: tuple[Mode, ...] = ("forward", "training")


def grid() -> tuple[Cell, ...]:
    """All cells: the whole grid for mpo in float32 on one thread, then the named cells with other settings."""
    plain = tuple(
        Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode)
        for i, o, c in LAYERS
        for r in BONDS
        for b in BATCHES
        for mode in MODES
    )
    others = tuple(
        Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode, **changes)
        for changes in ({"threads": 2}, {"dtype": "bfloat16"})
        for i, o, c, r, b in NAMED
        for mode in MODES
    )
    return plain + others


def quick() -> tuple[Cell, ...]:
    """A few minutes' worth: the named cells that are small, in both modes."""
    return tuple(
        Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode)
        for i, o, c, r, b in NAMED[:4]
        for mode in MODES
    )


def select(cells: tuple[Cell, ...], pattern: str | None) -> tuple[Cell, ...]:
    """The cells whose name contains the pattern.

    Raises:
        TNLayersError: If there is none.
    """
    found = tuple(cell for cell in cells if pattern is None or pattern in cell.name)
    if not found:
        raise TNLayersError(f"No cell's name contains {pattern!r}. Names look like {cells[0].name!r}.")
    return found
