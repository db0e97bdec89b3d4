"""`TNAdapter`: a frozen linear layer plus a trainable tensor network, W + delta, that merges back into one matrix.

The delta begins as zero (its last core is), as in LoRA (Hu et al. 2021, arXiv 2106.09685), which is the network
"lowrank"; with an MPO it is a change of the weight in MPO form, of fewer parameters at the same bond.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tnlayers.spec import Spec
from tnlayers_backends.torch.from_dense import check_kind
from tnlayers_backends.torch.linear import TNLinear


class TNAdapter(nn.Module):
    """A linear layer whose weight stays as it is, and a network that learns what to add to it.

    Args:
        base: The layer; its parameters are frozen, and are the adapter's own from now on.
        network: The network of the delta: a type, a template, or a sized spec.
        seed: Draws the delta's cores; None takes torch's global generator.

    Shape:
        Input (..., in_features), output (..., out_features).

    Raises:
        TNLayersError: If the base is no `nn.Linear`, or the network does not fit it.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> base = torch.nn.Linear(64, 32)
        >>> adapter = tnl.nn.TNAdapter(base, "mpo(cores=3, bond=4)", seed=0)
        >>> x = torch.randn(5, 64)
        >>> bool((adapter(x) == base(x)).all()), [n for n, p in adapter.named_parameters() if p.requires_grad]
        (True, ['delta.core_0', 'delta.core_1', 'delta.core_2'])
        >>> type(adapter.merge())
        <class 'torch.nn.modules.linear.Linear'>
    """

    def __init__(self, base: nn.Linear, network: str | Spec = "mpo(bond=4)", *, seed: int | None = None) -> None:
        super().__init__()
        check_kind(base, nn.Linear, "TNAdapter")
        self.base = base.requires_grad_(False)
        self.delta = TNLinear(
            base.in_features,
            base.out_features,
            bias=False,
            device=base.weight.device,
            dtype=base.weight.dtype,
            network=network,
            seed=seed,
        )
        for graph in self.delta.spec.graphs:  # each term of a sum is zero by itself
            with torch.no_grad():
                self.delta.cores[graph.cores[-1].name].zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer and what was learned."""
        return cast("Tensor", self.base(x)) + cast("Tensor", self.delta(x))

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """A plain `nn.Linear` of W + delta, with parameters of its own that can be trained; equal up to rounding."""
        base = self.base
        merged = nn.Linear(
            base.in_features,
            base.out_features,
            base.bias is not None,
            device=base.weight.device,
            dtype=base.weight.dtype,
        )
        merged.weight.copy_(base.weight + self.delta.to_dense())
        if base.bias is not None:
            merged.bias.copy_(base.bias)
        return merged
