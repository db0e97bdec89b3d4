"""`TNAdapter`: a frozen dense layer plus a trainable tensor network, W + delta, that merges back into one weight.

The delta begins as zero (its last core is), as in LoRA (Hu et al. 2021, arXiv 2106.09685), which is the network
"lowrank"; with an MPO it is a change of the weight in MPO form, of fewer parameters at the same bond.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.computed import ComputedWeights, computed
from tnlayers_backends.torch.layers.kinds import KINDS, find
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import parent_of, reason_against
from tnlayers_backends.torch.layers.quantised import codes_of, take_codes
from tnlayers_backends.torch.modules.hosts import is_transposed, parts_of


class TNAdapter(ComputedWeights):
    """A dense layer whose weight stays as it is, and a network that learns what to add to it.

    Args:
        base: A layer of torch that a layer kind replaces (`nn.Linear`, `nn.Conv1d` to `3d`, `nn.Embedding`, ...), or
            `Conv1D` of transformers; its parameters are frozen, and are the adapter's own from now on.
        network: The network of the delta: a type, a template, or a sized spec.
        seed: Draws the delta's cores; None takes torch's global generator.

    Shape:
        As the base's.

    Raises:
        TNLayersError: If the base is nothing of these, or the network does not fit it.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> base = torch.nn.Conv2d(16, 32, 3, padding=1)
        >>> adapter = tnl.nn.TNAdapter(base, "mpo(cores=2, bond=4)", seed=0)
        >>> x = torch.randn(5, 16, 8, 8)
        >>> bool((adapter(x) == base(x)).all()), [n for n, p in adapter.named_parameters() if p.requires_grad]
        (True, ['delta.core_0', 'delta.core_1', 'delta.core_2', 'delta.core_3'])
        >>> type(adapter.merge())
        <class 'torch.nn.modules.conv.Conv2d'>
    """

    @checks_arguments()
    def __init__(self, base: nn.Module, network: str | Spec = "mpo(bond=4)", *, seed: int | None = None) -> None:
        super().__init__()
        self.delta = _delta(base, network, seed)
        self.base = base.requires_grad_(False)
        self._begin()

    @classmethod
    def of(cls, base: nn.Module, delta: TNModule) -> TNAdapter:
        """An adapter that goes on with a network that was learned before; it is the adapter's own from now on.

        Raises:
            TNLayersError: If the network does not fit the base.
        """
        reason, kind = "", find(delta)
        try:
            expected = _delta(base, delta.spec, 0)
        except TNLayersError as error:
            reason = f": {error}"
        else:
            fits = kind is not None and kind is find(expected) and kind.settings(delta) == kind.settings(expected)
            reason = "" if fits and delta.bias is None else ", which is called otherwise"
        if reason:
            raise TNLayersError(
                f"A network {str(delta.spec)[:120]} of a {type(delta).__name__} is no change of this {str(base)[:120]}"
                f"{reason}. Give the layer that it was learned for."
            )
        first = next(base.parameters())
        if (dtype := next(delta.parameters()).dtype) != first.dtype:
            raise TNLayersError(
                f"The network of an adapter is {dtype} and its {type(base).__name__} {first.dtype}, which would change "
                f"its numbers. Make the model so first: model.to({dtype})."
            )
        new = cls.__new__(cls)
        nn.Module.__init__(new)
        new.delta = delta.to(first.device)
        new.base = base.requires_grad_(False)
        return new

    @torch.no_grad()
    def _begin(self) -> None:
        for graph in self.delta.spec.graphs:  # each term of a sum is zero by itself
            self.delta.cores[graph.cores[-1].name].zero_()

    def reset_parameters(self, seed: int | None = None) -> None:
        """Forget what was learned: the delta is zero again, its other cores drawn anew; the base stays."""
        self.delta.reset_parameters(seed)
        self._begin()

    @property
    def weight(self) -> Tensor:
        """W + delta in the base's shape, differentiable; rebuilt at each access, for code that reads `layer.weight`."""
        delta = self.delta.to_dense()
        weight = cast("Tensor", self.base.weight) + (delta.mT if is_transposed(self.base) else delta)
        return computed(weight, self, "weight")

    @property
    def bias(self) -> Tensor | None:
        """The base's."""
        return cast("Tensor | None", getattr(self.base, "bias", None))

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        """Apply the layer and what was learned."""
        return cast("Tensor", self.base(*inputs, **keywords)) + cast("Tensor", self.delta(*inputs, **keywords))

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """A layer like the base with W + delta for its weight, all of it trainable; equal up to rounding.

        Codes of few bits become ordinary numbers.

        Raises:
            TNLayersError: If the base's weight is no parameter any more.
        """
        merged = deepcopy(self.base)
        take_codes(merged)
        merged.requires_grad_()
        weight = merged._parameters.get("weight")
        if weight is None:
            raise TNLayersError(
                f"The base is a {type(self.base).__name__} by now, whose weight is computed, so nothing can be written "
                "into it. Merge before compressing or parametrising the base, or make it dense (to_linear)."
            )
        weight.copy_(self.weight)
        return merged


@torch.no_grad()
def _delta(base: nn.Module, network: str | Spec, seed: int | None) -> TNModule:
    """A layer that takes and gives what the base does, without a bias."""
    if parent_of(base) is not None and not codes_of(base) and (reason := reason_against(base)):
        raise TNLayersError(
            f"TNAdapter adds to the weight alone, and this {type(base).__name__} is more than that: {reason}. Give the "
            "layer of torch that computes the same."
        )
    dense = parts_of(base)[""] if is_transposed(base) else base
    kind = find(dense)
    if kind is None or isinstance(base, TNModule):
        known = ", ".join(one.replaces.__name__ for one in KINDS.values() if not issubclass(one.replaces, TNModule))
        raise TNLayersError(
            f"TNAdapter takes an nn.Linear, nn.Conv1d to 3d, or another module that is one weight ({known}, Conv1D of "
            f"transformers), got a {type(base).__name__}. Of modules with several weights, adapt the layers in them."
        )
    if reason := kind.reason_against_delta(base):
        raise TNLayersError(reason)
    return kind.delta(network, dense, seed)
