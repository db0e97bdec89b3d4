"""`TNAdapter`: a dense layer of Equinox that stays as it is, plus a network that is trained."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from tnlayers.errors import TNLayersError
from tnlayers_backends.jax.adapter import drawn_adapter, merged
from tnlayers_backends.jax.eqx_layers import Network, TNModule


class TNAdapter(TNModule):
    """W x + b of an `eqx.nn.Linear` whose gradients are zero, plus a tensor network that is trained and begins as zero.

    As LoRA (arXiv 2106.09685), which is network "lowrank(rank=4)". Weight decay would change the dense arrays all the
    same: leave `layer.params["base.weight"]` out of it. Vectors of any leading shape go through at once.

    Args:
        base: The dense layer, whose arrays are taken over.
        network: Of what is added: a template, such as "mpo(bond=4)", or a spec.
        key: Draws the cores.
        **keywords: Of the network type, such as `bond_dim=4`.

    Raises:
        TNLayersError: If the base is no `eqx.nn.Linear` of vectors, or the network does not fit it.
    """

    def __init__(
        self, base: eqx.nn.Linear, network: Network = "mpo(bond=4)", *, key: jax.Array, **keywords: Any
    ) -> None:
        if not isinstance(base, eqx.nn.Linear) or "scalar" in (base.in_features, base.out_features):
            raise TNLayersError(
                f"base is a {type(base).__name__}: an eqx.nn.Linear between vectors is needed. An adapter of torch, "
                "whatever layer it is of, goes into TNModule (tnl.to_backend)."
            )
        super().__init__(drawn_adapter(base.weight, base.bias, network, key, **keywords))

    def merge(self) -> eqx.nn.Linear:
        """An `eqx.nn.Linear` with what was learned added to its weight."""
        layer: Any = self.layer
        weight, bias = merged(layer), layer.params.get("base.bias")
        outputs, inputs = weight.shape
        dense = eqx.filter_eval_shape(
            lambda key: eqx.nn.Linear(inputs, outputs, use_bias=bias is not None, key=key), jax.random.key(0)
        )
        where = lambda one: (one.weight, one.bias) if bias is not None else (one.weight,)  # noqa: E731
        made: eqx.nn.Linear = eqx.tree_at(where, dense, (weight, bias) if bias is not None else (weight,))
        return made
