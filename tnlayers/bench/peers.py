"""The other libraries' MPO layers: `tensorly-torch`, `torch-mpo`, `torchtt`, `tednet`, `tensorkrowch`.

They are imported when they are asked for; one that is not installed is left out and reported as such. Each is built
with equal modes and bonds, without a bias, and used as its own documentation shows. Each also gets the same numbers as
our layer: `CORES` says how a library stores a core, so that what it computes can be compared with the declaration.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
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
            rank=cell.ranks,
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
        tt_ranks=list(cell.ranks),
        bias=False,
        dtype=getattr(torch, cell.dtype),
    )
    return layer


class TorchTT(nn.Module):
    """torchtt's `LinearLayerTT`; its bias cannot be left out."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a compiled part that its layers do not use
            import torchtt

        self.in_modes, self.out_features = cell.in_modes, cell.out_features
        self.layer = torchtt.nn.LinearLayerTT(
            list(cell.in_modes), list(cell.out_modes), list(cell.ranks), dtype=getattr(torch, cell.dtype)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (batch, in_features) -> (batch, out_features)."""
        y: Tensor = self.layer(x.reshape(-1, *self.in_modes))
        return y.reshape(-1, self.out_features)


def tednet(cell: Cell) -> nn.Module:
    """Tednet's `TTLinear`."""
    from tednet.tnn.tensor_train import TTLinear

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its compression ratio
        layer: nn.Module = TTLinear(list(cell.in_modes), list(cell.out_modes), list(cell.ranks[1:-1]), bias=False)
    return layer.to(getattr(torch, cell.dtype))


def tensorkrowch(cell: Cell) -> nn.Module:
    """An MPO as a TensorKrowch network; its own `MPO` model takes products of vectors only, not any vector."""
    import tensorkrowch as tk

    class Network(tk.TensorNetwork):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="mpo")
            n, self.sites = cell.cores, []
            for k in range(n):
                axes = {"input": cell.in_modes[k], "output": cell.out_modes[k]}
                left, right = {"left": cell.ranks[k]} if k else {}, {"right": cell.ranks[k + 1]} if k < n - 1 else {}
                axes = left | axes | right
                shape = {"shape": tuple(axes.values()), "axes_names": tuple(axes)}
                drawn = {"init_method": "randn", "std": 0.1}
                self.sites.append(tk.ParamNode(**shape, **drawn, name=f"core_({k})", network=self))
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


def _out_before_in(parameter: Tensor, cell: Cell, site: int) -> Tensor:
    return parameter.permute(0, 2, 1, 3)  # (left, out, in, right)


def _as_matrix(parameter: Tensor, cell: Cell, site: int) -> Tensor:
    axes = (cell.ranks[site], cell.out_modes[site], cell.ranks[site + 1], cell.in_modes[site])
    return parameter.reshape(axes).permute(0, 3, 1, 2)


def _bonds_last(parameter: Tensor, cell: Cell, site: int) -> Tensor:
    if site == 0:
        return parameter[None]  # (in, out, right)
    if site == cell.cores - 1:
        return parameter.permute(2, 0, 1)[..., None]  # (in, out, left)
    return parameter.permute(2, 0, 1, 3)  # (in, out, left, right)


def _ours(parameter: Tensor, cell: Cell, site: int) -> Tensor:
    return parameter.reshape(cell.ranks[site], cell.in_modes[site], cell.out_modes[site], cell.ranks[site + 1])


# Name -> a core, or its gradient, as a view (left, in, out, right) of the parameter that stores it.
CORES: dict[str, Callable[[Tensor, Cell, int], Tensor]] = {
    "tltorch factorized": _out_before_in,
    "tltorch reconstructed": _out_before_in,
    "torch-mpo": _as_matrix,
    "torchtt": _out_before_in,
    "tednet": _bonds_last,
    "tensorkrowch": _ours,
}

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
