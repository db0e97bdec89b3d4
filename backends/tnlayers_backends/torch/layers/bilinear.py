"""`TNBilinear`: a drop-in replacement for `torch.nn.Bilinear` whose weight is a tensor network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.pairs import PairMap, pair_spec
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.spec import Spec
from tnlayers.decompose.asked import asked_size
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers_backends.torch.layers.cores import TRACED_BATCH
from tnlayers_backends.torch.layers.exported import ExportedCores
from tnlayers_backends.torch.layers.from_dense import converted
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.layers.moments import linear_moment, wide
from tnlayers_backends.torch.layers.ordinary import expect
from tnlayers_backends.torch.run.bound_call import like
from tnlayers_backends.torch.run.frozen import Frozen
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS

Pair = tuple[Tensor, Tensor]
_ENTRIES = 2**22  # of outer products at once, where fits need them


class TNBilinear(ExportedCores):
    """A bilinear layer y_o = sum_ij W_oij a_i b_j + bias_o whose weight is a tensor network.

    Both inputs go through the cores in one contraction. Their outer product is formed only where an input mode spans
    both: modes that the caller wrote so, or types that bind input modes to output modes (`blockdiag`, `monarch`).

    Args:
        in1_features: Size of each first input.
        in2_features: Size of each second input.
        out_features: Size of each output.
        bias: Whether to add a learned vector.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type, a template, or a sized spec of in_features = in1_features * in2_features. By default
            the first half of the cores have modes of the first input, the others of the second.
        in_modes: Modes of the first input, then of the second, if they are not to be chosen.
        out_modes: Modes of the output, likewise.
        seed: Draws the parameters; None takes torch's global generator.
        **keywords: The network type's own, such as `bond_dim`, and `cores`.

    Shape:
        Inputs (..., in1_features) and (..., in2_features) with equal leading axes, output (..., out_features).

    Raises:
        TNLayersError: If the declaration does not fit the sizes, or inputs have other shapes.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNBilinear(20, 30, 40, network="mpo(cores=4, bond=5)", seed=0)
        >>> layer.spec
        Spec('mpo(in=4x5x5x6, out=2x5x2x2, bias=true, bond=5)')
        >>> layer(torch.zeros(7, 20), torch.zeros(7, 30)).shape, layer.weight.shape
        (torch.Size([7, 40]), torch.Size([40, 20, 30]))
    """

    # As `nn.Bilinear` has them; given here too so that no core can take one of these names.
    in1_features: int = 0
    in2_features: int = 0

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> None:
        asked = {"in_modes": in_modes, "out_modes": out_modes, "bias": bias} | keywords
        spec = pair_spec(network, in1_features, in2_features, out_features, **asked)
        super().__init__(spec, device, dtype, seed, linear=False, variance=1 / (3 * in1_features))
        self.in1_features, self.in2_features = in1_features, in2_features
        self._set_map(self._map)

    def _set_map(self, changed: LinearMap) -> None:
        super()._set_map(changed)
        self._pairs = PairMap(changed, self.in1_features, self.in2_features)
        self._pairs.plans_for(TRACED_BATCH)  # planning cannot be traced

    @property
    def out_features(self) -> int:
        """Size of each output."""
        return self.spec.out_features

    def plan_for(self, pairs: int, objective: Objective = "forward") -> tuple[Plan, ...]:
        """The plan that so many pairs run, one per network of a sum."""
        return self._pairs.plans_for(pairs, objective)

    def to_dense(self) -> Tensor:
        """The dense weight of shape (out_features, in1_features, in2_features), differentiable."""
        return super().to_dense().reshape(self.out_features, self.in1_features, self.in2_features)

    @classmethod
    @torch.no_grad()
    def from_bilinear(
        cls,
        dense: nn.Bilinear,
        network: str | Spec = "mpo",
        *,
        sample: Pair | Iterable[Pair] | None = None,
        **asked: Any,
    ) -> Self:
        """The layer that comes closest to a dense one within a budget or an error; the dense layer stays as it is.

        Args:
            dense: The layer whose weight is taken.
            network: A network type or a template.
            sample: A pair of inputs, or an iterable of such pairs: then the mean squared error of the outputs on them
                is minimised, not that of the weight.
            **asked: One size (`bond_dim`, `max_params`, `ratio` or `error`), and the other keywords of `from_linear`.

        Raises:
            TNLayersError: As `tnlayers.compress.decompose`; or `dense` is no `nn.Bilinear`.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> dense = torch.nn.Bilinear(6, 8, 10)
            >>> layer = tnl.nn.TNBilinear.from_bilinear(dense, error=0)
            >>> a, b = torch.randn(5, 6), torch.randn(5, 8)
            >>> torch.allclose(layer(a, b), dense(a, b), atol=1e-5)
            True
        """
        dense = expect(dense, nn.Bilinear, "from_bilinear")
        sizes = (dense.in1_features, dense.in2_features, dense.out_features)
        asked_size(network, *(asked.get(name) for name in ("bond_dim", "max_params", "ratio", "error")))
        return converted(
            partial(cls, *sizes, dense.bias is not None),
            dense.weight.flatten(1),
            dense.bias,
            partial(pair_spec, network, *sizes),
            asked,
            None if sample is None else partial(pair_moment, sample, sizes[0] * sizes[1]),
        )

    @torch.no_grad()
    def to_bilinear(self) -> nn.Bilinear:
        """An `nn.Bilinear` that computes the same, with parameters of its own."""
        weight = self.to_dense()
        sizes = (self.in1_features, self.in2_features, self.out_features)
        dense = nn.Bilinear(*sizes, self.bias is not None, device=weight.device, dtype=weight.dtype)
        dense.weight.copy_(weight)
        if self.bias is not None:
            dense.bias.copy_(self.bias)
        return dense

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Apply the layer to pairs of vectors (..., in1_features) and (..., in2_features)."""
        check_tensors(self, input1=input1, input2=input2)
        ends = (input1.shape[-1:], input2.shape[-1:])
        if input1.shape[:-1] != input2.shape[:-1] or ends != ((self.in1_features,), (self.in2_features,)):
            raise TNLayersError(
                f"The inputs have shapes {tuple(input1.shape)} and {tuple(input2.shape)}, but this layer takes (..., "
                f"{self.in1_features}) and (..., {self.in2_features}) with equal leading axes."
            )
        first, second = input1.reshape(-1, self.in1_features), input2.reshape(-1, self.in2_features)
        recorded = is_recorded(first)
        weight = self._frozen_dense(first, recorded)
        if weight is not None:
            return functional.bilinear(input1, input2, weight, self.bias)
        objective: Objective = "training" if torch.is_grad_enabled() and not recorded else "forward"
        plans = self._pairs.plans_for(TRACED_BATCH if recorded else first.shape[0], objective)
        y = self._contract(lambda first, cores: self._paired(first, second, cores, plans), first)
        y = y.reshape(*input1.shape[:-1], self.out_features)
        return y if self.bias is None else y + like(y, self.bias)

    def _paired(self, first: Tensor, second: Tensor, cores: Sequence[Tensor], plans: Sequence[Plan]) -> Tensor:
        def linear(products: Tensor, cores: Sequence[Tensor]) -> Tensor:
            plan = self._map.plan_for(plans[0].batch or 1, plans[0].objective)
            y: Tensor = self._map.apply(OPS, products, cores, plan)
            return y

        paired: Tensor = self._pairs.apply(OPS, first, second, cores, plans, linear)
        return paired

    def _prepare_frozen(self, frozen: Frozen) -> None:
        self._prepare_dense(frozen)

    def _sizes_repr(self) -> str:
        sizes = ("in1_features", "in2_features", "out_features")
        return ", ".join(f"{name}={getattr(self, name)}" for name in sizes)


def products(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """Outer products of pairs as vectors, some at a time, in double precision."""
    first, second = (wide(one).reshape(-1, one.shape[-1]) for one in (first, second))
    at_once = max(_ENTRIES // (first.shape[1] * second.shape[1]), 1)
    for a, b in zip(torch.split(first, at_once), torch.split(second, at_once), strict=True):
        yield (a[:, :, None] * b[:, None, :]).flatten(1)


def pair_moment(sample: Pair | Iterable[Pair], features: int) -> Tensor:
    """The second moment of the outer products of a sample."""
    pairs = [sample] if isinstance(sample, tuple) and isinstance(sample[0], Tensor) else sample
    return linear_moment((vectors for a, b in pairs for vectors in products(a, b)), features)
