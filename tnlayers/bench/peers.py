"""The other libraries' MPO layers: `tensorly-torch`, `torch-mpo`, `torchtt`, `tednet`, `tensorkrowch`.

They are imported when they are asked for; one that is not installed is left out and reported as such. Each is built
with equal modes and bonds, without a bias, and used as its own documentation shows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.bench.cells import Cell


def tltorch(implementation: str) -> Callable[[Cell], nn.Module]:
    """tensorly-torch's `FactorizedLinear` as BlockTT, contracting ("factorized") or rebuilding ("reconstructed")."""

    def make(cell: Cell) -> nn.Module:
        from tltorch import FactorizedLinear

        layer: nn.Module = FactorizedLinear(
            cell.in_modes,
            cell.out_modes,
            bias=False,
            factorization="blocktt",
            rank=cell.bond,
            implementation=implementation,
            dtype=getattr(torch, cell.dtype),
        )
        return layer

    return make


def torch_mpo(cell: Cell) -> nn.Module:
    """torch-mpo's `TTLinear`."""
    from torch_mpo import TTLinear

    layer: nn.Module = TTLinear(
        cell.in_features,
        cell.out_features,
        inp_modes=list(cell.in_modes),
        out_modes=list(cell.out_modes),
        tt_ranks=cell.bond,
        bias=False,
        dtype=getattr(torch, cell.dtype),
    )
    return layer


class TorchTT(nn.Module):
    """torchtt's `LinearLayerTT`; its bias cannot be left out."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        import torchtt

        self.in_modes, self.out_features = cell.in_modes, cell.out_features
        ranks = [1, *[cell.bond] * (cell.cores - 1), 1]
        self.layer = torchtt.nn.LinearLayerTT(
            list(cell.in_modes), list(cell.out_modes), ranks, dtype=getattr(torch, cell.dtype)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        y: Tensor = self.layer(x.reshape(-1, *self.in_modes))
        return y.reshape(-1, self.out_features)


def tednet(cell: Cell) -> nn.Module:
    """Tednet's `TTLinear`."""
    from tednet.tnn.tensor_train import TTLinear

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its compression ratio
        layer: nn.Module = TTLinear(
            list(cell.in_modes), list(cell.out_modes), [cell.bond] * (cell.cores - 1), bias=False
        )
    return layer.to(getattr(torch, cell.dtype))


def tensorkrowch(cell: Cell) -> nn.Module:
    """An MPO as a TensorKrowch network; its own `MPO` model takes products of vectors only, not any vector."""
    import tensorkrowch as tk

    class Network(tk.TensorNetwork):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="mpo")
            n = cell.cores
            self.sites = []
            for k in range(n):
                axes = {"input": cell.in_modes[k], "output": cell.out_modes[k]}
                axes = ({"left": cell.bond} if k else {}) | axes | ({"right": cell.bond} if k < n - 1 else {})
                self.sites.append(
                    tk.ParamNode(
                        shape=tuple(axes.values()),
                        axes_names=tuple(axes),
                        name=f"core_({k})",
                        network=self,
                        init_method="randn",
                        std=0.1,
                    )
                )
            for a, b in pairwise(self.sites):
                a["right"] ^ b["left"]
            names = tuple(f"site_({k})" for k in range(n))
            self.x = tk.Node(shape=(1, *cell.in_modes), axes_names=("batch", *names), name="x", network=self)
            for name, site in zip(names, self.sites, strict=True):
                self.x[name] ^ site["input"]

        def contract(self) -> Any:
            result = self.x
            for site in self.sites:
                result = result @ site
            return result

        def forward(self, x: Tensor) -> Tensor:
            self.reset()
            self.x.tensor = x.reshape(-1, *cell.in_modes)
            y: Tensor = self.contract().tensor
            return y.reshape(-1, cell.out_features)

    network: nn.Module = Network()
    return network.to(getattr(torch, cell.dtype))


# Name -> the module that has to be importable, and how to build the layer.
PEERS: dict[str, tuple[str, Callable[[Cell], nn.Module]]] = {
    "tltorch factorized": ("tltorch", tltorch("factorized")),
    "tltorch reconstructed": ("tltorch", tltorch("reconstructed")),
    "torch-mpo": ("torch_mpo", torch_mpo),
    "torchtt": ("torchtt", TorchTT),
    "tednet": ("tednet", tednet),
    "tensorkrowch": ("tensorkrowch", tensorkrowch),
}


def installed() -> dict[str, Callable[[Cell], nn.Module]]:
    """The peers that can be imported here."""
    return {name: make for name, (module, make) in PEERS.items() if importlib.util.find_spec(module) is not None}
