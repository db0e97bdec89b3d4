"""Cells: one layer, batch size and mode each, and which of them there are; `schedule.py` puts them in order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from tnlayers.bench.own_network import declare
from tnlayers.declare.modes import factorise
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec

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
        framework: "torch", or "jax" under jit.
        drawn: By which seed and as which number the cell was drawn at random, such as "s0n7".
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
    framework: str = "torch"
    drawn: str = ""

    @property
    def template(self) -> str:
        """The network as a template without sizes."""
        return self.network or f"mpo(cores={self.cores}, bond={self.bond})"

    @property
    def layer(self) -> tuple[int, int, int]:
        """(in_features, out_features, cores), as in `LAYERS`."""
        return self.in_features, self.out_features, self.cores

    @property
    def spec(self) -> Spec:
        """The layer's declaration, bonds above their maximum clipped."""
        if self.network.startswith("chord"):
            declare()
        return make_spec(self.template, self.in_features, self.out_features)

    @property
    def in_modes(self) -> tuple[int, ...]:
        """Factors of the input, one per core."""
        return tuple(factorise(self.in_features, self.cores))

    @property
    def out_modes(self) -> tuple[int, ...]:
        """Factors of the output, one per core."""
        return tuple(factorise(self.out_features, self.cores))

    @property
    def ranks(self) -> tuple[int, ...]:
        """The bonds of the mpo as other libraries take them: clipped as ours are, with a 1 at both ends."""
        (graph,) = self.spec.graphs
        return (1, *(graph.shape(core)[-1] for core in graph.cores[:-1]), 1)

    @property
    def dense_flops(self) -> int:
        """Flops of the dense layer, by which cells are ordered and their time is guessed."""
        return 2 * self.batch * self.in_features * self.out_features * (3 if self.mode == "training" else 1)

    @property
    def plain(self) -> bool:
        """Whether it is a cell of the grid: mpo, torch, float32, one thread, not drawn."""
        return (self.network, self.framework, self.dtype, self.threads, self.drawn) == ("", "torch", "float32", 1, "")

    @property
    def name(self) -> str:
        """One word that names the cell, such as `4096-4096-c4-r16-b128-training`."""
        network = f"c{self.cores}-r{self.bond}" if not self.network else self.network.replace(" ", "")
        rest = "" if (self.dtype, self.threads) == ("float32", 1) else f"-{self.dtype}-t{self.threads}"
        jit = "" if self.framework == "torch" else f"-{self.framework}"
        drawn = f"-{self.drawn}" if self.drawn else ""
        return f"{self.in_features}-{self.out_features}-{network}-b{self.batch}{drawn}-{self.mode}{rest}{jit}"

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
    """The whole grid: mpo in float32 on one thread."""
    return tuple(
        Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode)
        for i, o, c in LAYERS
        for r in BONDS
        for b in BATCHES
        for mode in MODES
    )


def named(**changes: Any) -> tuple[Cell, ...]:
    """The named cells in both modes, with other settings than those of the grid."""
    return tuple(
        Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode, **changes)
        for i, o, c, r, b in NAMED
        for mode in MODES
    )
