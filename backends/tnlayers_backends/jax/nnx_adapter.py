"""`TNAdapter`: a dense layer of Flax NNX that stays as it is, plus a network that is trained."""

from __future__ import annotations

from typing import Any

from flax import nnx

from tnlayers.errors import TNLayersError
from tnlayers_backends.jax.adapter import drawn_adapter, merged
from tnlayers_backends.jax.module import JaxModule
from tnlayers_backends.jax.nnx_layers import Network, TNModule


class TNAdapter(TNModule):
    """W x + b of an `nnx.Linear` that is not trained, plus a tensor network that is and begins as zero.

    As LoRA (arXiv 2106.09685), which is network "lowrank(rank=4)". The dense arrays are `tnl.jax.nnx.Frozen`.

    Args:
        base: The dense layer, whose arrays are taken over; or an adapter of `backend="jax"`.
        network: Of what is added: a template, such as "mpo(bond=4)", or a spec.
        dtype: Of the computation; None for what inputs and parameters promote to.
        rngs: Draws the cores, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=4`.

    Raises:
        TNLayersError: If the base is none of these, or the network does not fit it.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> base = nnx.Linear(64, 32, rngs=nnx.Rngs(0))
        >>> adapter = tnl.jax.nnx.TNAdapter(base, "mpo(cores=2, bond=4)", rngs=nnx.Rngs(1))
        >>> bool(jnp.allclose(adapter(jnp.ones(64)), base(jnp.ones(64)), atol=1e-5))
        True
        >>> sorted(nnx.state(adapter, nnx.Param))
        ['delta.core_0', 'delta.core_1']
    """

    def __init__(
        self,
        base: nnx.Linear | JaxModule,
        network: Network = "mpo(bond=4)",
        *,
        dtype: Any = None,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        if isinstance(base, JaxModule) and base.form.kind == "adapter":
            super().__init__(base, dtype=dtype)
            return
        if not isinstance(base, nnx.Linear):
            raise TNLayersError(
                f"base is a {type(base).__name__}: an nnx.Linear is needed, or an adapter of backend='jax' "
                "(tnl.to_backend of a torch adapter, whatever layer it is of, goes into TNModule)."
            )
        bias = None if base.bias is None else base.bias[...]
        super().__init__(drawn_adapter(base.kernel[...].T, bias, network, rngs.params(), **keywords), dtype=dtype)

    def merge(self) -> nnx.Linear:
        """An `nnx.Linear` with what was learned added to its kernel."""
        layer = self.layer
        weight, bias = merged(layer), layer.params.get("base.bias")
        outputs, inputs = weight.shape
        dense = nnx.eval_shape(
            lambda: nnx.Linear(inputs, outputs, use_bias=bias is not None, param_dtype=weight.dtype, rngs=nnx.Rngs(0))
        )
        dense.kernel.set_value(weight.T)
        if bias is not None and dense.bias is not None:
            dense.bias.set_value(bias)
        return dense
