"""`TNLinear` and `MPOLinear`: drop-in replacements for `torch.nn.Linear` whose weight is a tensor network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.sizes import BondDim
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import AnyPlan
from tnlayers_backends.torch.layers.exported import ExportedCores
from tnlayers_backends.torch.layers.feature_orders import reordered, set_orders, unordered
from tnlayers_backends.torch.layers.from_dense import decomposed, divided, filled
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.moments import Sample, linear_moment
from tnlayers_backends.torch.layers.ordinary import expect
from tnlayers_backends.torch.run.bound_call import like
from tnlayers_backends.torch.run.inputs import check_tensors

_OWN = __name__.partition(".")[0]


class TNLinear(ExportedCores):
    """A linear layer y = x W^T + b whose weight W is a tensor network; its parameters are the cores (and the bias).

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        bias: Whether to add a learned vector, as in `nn.Linear`.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type ("mpo"), a template ("mpo(cores=3, bond=8)"), or a sized spec.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
        seed: Draws the parameters; None takes torch's global generator, so `torch.manual_seed` decides.
        variance: What E[W^2] is initialised to; 1 / (3 in_features), as in `nn.Linear`, if None.
        **keywords: The network type's own, such as `bond_dim`, and `cores`.

    Shape:
        Input (..., in_features), output (..., out_features).

    Raises:
        TNLayersError: If the declaration does not fit the sizes, or an input has another last dimension.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNLinear(784, 256, network="mpo(bond=16)", seed=0)
        >>> layer(torch.zeros(2, 3, 784)).shape
        torch.Size([2, 3, 256])
        >>> sorted(layer.state_dict())
        ['bias', 'core_0', 'core_1', 'core_2', 'core_3']
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
        variance: float | None = None,
        **keywords: Any,
    ) -> None:
        asked = {"in_modes": in_modes, "out_modes": out_modes, "bias": bias} | keywords
        super().__init__(make_spec(network, in_features, out_features, **asked), device, dtype, seed, variance=variance)

    @property
    def in_features(self) -> int:
        """Size of each input vector."""
        return self.spec.in_features

    @property
    def out_features(self) -> int:
        """Size of each output vector."""
        return self.spec.out_features

    def plan_for(self, batch: int, objective: Objective = "forward") -> AnyPlan:
        """The plan that a batch of this size runs, for inference ("forward") or under autograd ("training")."""
        return self._map.plan_for(batch, objective)

    def tune(self, batch: int, objective: Objective = "training") -> AnyPlan:
        """Time the few best plans for batches of this size on the processor, and run the fastest from now on.

        It takes a second or so once; the result is cached on disk and read the next time (`tnl.plan`).

        Args:
            batch: Number of vectors that go through at once; batches up to the next power of two get the same plan.
            objective: "training", what runs under autograd; or "inference", what runs without.

        Returns:
            The plan.

        Raises:
            TNLayersError: If a plan is pinned, or the cache folder cannot be written to.
        """
        self.thaw()
        self.invalidate()  # of the plan so far
        return self._map.tune(batch, objective)

    def use_plan(self, plan: AnyPlan | None) -> None:
        """Run every batch by this plan, or choose by batch size again (None).

        Raises:
            TNLayersError: If the plan was made for another network.
        """
        self.thaw()
        self._map = self._map.with_plan(plan)

    def to_dense(self) -> Tensor:
        """The dense weight of shape (out_features, in_features), differentiable."""
        return unordered(super().to_dense(), self.in_order, self.out_place)

    @classmethod
    @torch.no_grad()
    def from_linear(
        cls,
        dense: nn.Linear,
        network: str | Spec = "mpo",
        *,
        bond_dim: BondDim | None = None,
        max_params: int | None = None,
        ratio: float | None = None,
        error: float | None = None,
        strict: bool = False,
        sample: Sample | None = None,
        **keywords: Any,
    ) -> Self:
        """The layer that comes closest to a dense one within a budget or an error; the dense layer is not changed.

        The weight is decomposed in double precision; the result has the dense layer's dtype and device and its bias.
        `layer.delivered` reports the size and the error that resulted.

        Args:
            dense: The layer whose weight is taken.
            network: A network type or a template.
            bond_dim: The size of every bond, or one per bond; "vbmf" for the singular values above the noise.
            max_params: At most so many parameters in all cores.
            ratio: At most this share of the weight's parameters.
            error: At most this relative error of the weight, ||W - W'|| / ||W||; 0 keeps all of it.
            strict: Refuse a budget that is met only more than 2 % below it.
            sample: Inputs of the layer, (..., in_features), or an iterable of such batches: then the mean squared
                error of the outputs on them is minimised, not that of the weight. They should be several times as many
                vectors as in_features.
            **keywords: `covariance`, `error_of`, `search`, `orders`, `sweeps`, `restarts` and `seed` as `decompose`
                takes them; the network type's own, and `cores`, `in_modes`, `out_modes`.

        Raises:
            TNLayersError: As `tnlayers.compress.decompose`; or `dense` is no `nn.Linear`.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> dense = torch.nn.Linear(64, 32)
            >>> layer = tnl.nn.MPOLinear.from_linear(dense, error=0)
            >>> x = torch.randn(5, 64)
            >>> torch.allclose(layer(x), dense(x), atol=1e-5)
            True
        """
        if cls.__init__ not in (TNLinear.__init__, MPOLinear.__init__) and cls.__module__.partition(".")[0] != _OWN:
            raise TNLayersError(
                f"{cls.__name__} is a class of its own with an __init__ that from_linear would not run. Call "
                f"TNLinear.from_linear, and make a {cls.__name__} of it."
            )
        dense = expect(dense, nn.Linear, "from_linear")
        moment = None if sample is None else lambda: linear_moment(sample, dense.in_features)
        options, own = divided(keywords, moment)
        found = decomposed(
            dense.weight,
            make_spec(network, **own),
            bond_dim=bond_dim,
            max_params=max_params,
            ratio=ratio,
            error=error,
            strict=strict,
            **options,
        )
        layer = cls.__new__(cls)
        spec = replace(found.spec, bias=dense.bias is not None)
        TNModule.__init__(layer, spec, dense.weight.device, dense.weight.dtype, seed=0)
        set_orders(layer, found.in_order, found.out_order)
        return filled(layer, found, dense.bias)

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        """An `nn.Linear` that computes the same, with parameters of its own."""
        weight = self.to_dense()  # (out_features, in_features)
        dense = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, device=weight.device, dtype=weight.dtype
        )
        dense.weight.copy_(weight)
        if self.bias is not None:
            dense.bias.copy_(self.bias)
        return dense

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to vectors of shape (..., in_features)."""
        orders = self._buffers  # not by attribute, which takes longer
        if orders["in_order"] is None and orders["out_place"] is None:
            try:
                again = None if self._frozen is None else self._frozen.again(x, self._parameters)
                return self._apply_map(x, self.bias) if again is None else again
            except (AttributeError, RuntimeError):  # a check before it takes time that the smallest batches feel
                check_tensors(self, x=x)
                raise
        check_tensors(self, x=x)
        bias = self.bias
        y = reordered(self._apply_map(reordered(x, orders["in_order"])), orders["out_place"])
        return y if bias is None else y + like(y, bias)


class MPOLinear(TNLinear):
    """A `TNLinear` whose network is a matrix product operator (arXiv 1904.06194); drop-in for `nn.Linear`.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        bias: Whether to add a learned vector.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        bond_dim: The bond dimension (TT-rank), one number or one per bond.
        cores: How many cores; 4 if None and no modes are given.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
        seed: Draws the parameters; None takes torch's global generator.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.nn.MPOLinear(784, 256, bond_dim=16).spec.parameters
        14848
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bond_dim: int | tuple[int, ...] = 16,
        cores: int | None = None,
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            bias,
            device,
            dtype,
            network="mpo",
            in_modes=in_modes,
            out_modes=out_modes,
            seed=seed,
            bond_dim=bond_dim,
            cores=cores,
        )


def from_spec(
    spec: Spec, *, seed: int | None = 0, dtype: str = "float32", device: torch.device | str | None = None
) -> TNLinear:
    """A torch layer from a sized spec."""
    kind = getattr(torch, str(dtype).removeprefix("torch."), None)  # "float32", or torch.float32 itself
    if not isinstance(kind, torch.dtype):
        raise TNLayersError(
            f"torch has no dtype {dtype!r}; use float32, float64, bfloat16, float16, complex64 or complex128."
        )
    return TNLinear(spec.in_features, spec.out_features, spec.bias, device, kind, network=spec, seed=seed)
