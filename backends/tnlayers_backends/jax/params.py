"""What all layers of one network on jax share: parameters in a dict, and methods that give another layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, cast

import jax

from tnlayers.cores.facade import Facade
from tnlayers_backends.jax.primitives import OPS, JaxOps


class Params(Facade[jax.Array]):
    """A layer of one network with its arrays in a dict, which never changes: a frozen dataclass; abstract."""

    params: dict[str, jax.Array]

    @property
    def cores(self) -> dict[str, jax.Array]:
        """The cores by name, in order of declaration."""
        return {name: self.params[name] for name in self._network().shapes}

    @property
    def bias(self) -> jax.Array | None:
        """A vector of out_features, or None."""
        return self.params.get("bias")

    @property
    def dtype(self) -> str:
        """The dtype of the cores by name: that of now, where `jax.tree.map` has cast them."""
        linear = self._network()
        return str(getattr(self.params.get(next(iter(linear.shapes))), "dtype", linear.dtype))

    def _primitives(self) -> JaxOps:
        return OPS

    def _arrays(self) -> list[jax.Array]:
        return list(self.cores.values())

    def canonicalise(self, centre: str | None = None) -> Self:
        """The layer with every core but `centre` (the first if None) an isometry towards it, and the same W.

        Raises:
            TNLayersError: If the network has a loop, a hyperedge or a trace, or no core of that name.
        """
        return self._with_cores(self._canonical(centre))

    def balance(self) -> Self:
        """The layer with the cores of each network scaled to equal norms, and the same W; not under a trace."""
        return self._with_cores(self._balanced())

    def _with_cores(self, cores: list[jax.Array]) -> Self:
        names = self._network().shapes
        new = {name: core.astype(self.params[name].dtype) for name, core in zip(names, cores, strict=True)}
        return self._replaced(params=self.params | new)

    def forward_mode(self) -> Self:
        """The same layer for `jax.jvp`, `linearize` and `jacfwd`; this one stays as it is.

        Where the plan has chunks of the batch, a layer has a planned backward pass, a `jax.custom_vjp`, through which
        jax refuses forward mode. This one runs the same chunks in the same memory and leaves all derivatives to jax.
        `hessian` and products with it, forward over reverse, need none of it.

        Example:
            >>> import jax
            >>> import tnlayers as tnl
            >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="jax", seed=0)
            >>> x = jax.numpy.ones((8, 28))
            >>> y, along = jax.jvp(lambda layer: layer.forward_mode()(x), (layer,), (layer,))
            >>> bool(jax.numpy.allclose(along, 2 * y, atol=1e-5))  # W is quadratic in its two cores
            True
        """
        return self._replaced(by_jax=True)

    def _replaced(self, **changed: Any) -> Self:
        this: Any = self
        return cast("Self", replace(this, **changed))
