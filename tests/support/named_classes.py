"""The classes of `tnl.jax.nnx` and `tnl.jax.eqx` for every layer kind of `kind_rows`, called as torch's are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import tnlayers as tnl


def plain(module, *given):
    return module(*given)


@dataclass(frozen=True)
class Named:
    """A class of a library.

    Attributes:
        library: "nnx" or "eqx".
        name: Of the class.
        sizes: Its arguments by place.
        keywords: By name.
        call: Calls a module with torch's inputs, and gives torch's outputs.
        renamed: Parts that torch calls otherwise.
        dtype: Of the parameters.
        base: Class of the dense layer that it is made of.
    """

    library: str
    name: str
    sizes: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    call: Callable[..., Any] = plain
    renamed: dict[str, str] = field(default_factory=dict)
    dtype: Any = jnp.float64
    base: Any = None

    def holding(self, layer):
        """The module with the arrays of a jax layer; it is made without values, which take seconds to draw."""
        make = getattr(getattr(tnl.jax, self.library), self.name)
        return (self._nnx if self.library == "nnx" else self._eqx)(make, dict(layer.params))

    def torch_name(self, parts):
        first, *rest = parts
        return ".".join((self.renamed.get(first, first), *rest))

    def by_torch_name(self, tree):
        """The arrays of such a module, or of its gradients, by their names in torch."""
        if self.library == "nnx":
            found = nnx.to_flat_state(tree if isinstance(tree, nnx.State) else nnx.state(tree, nnx.Param))
            return {self.torch_name(path): leaf[...] for path, leaf in found}
        found, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {self.torch_name(_attributes(path)): leaf for path, leaf in found if hasattr(leaf, "shape")}

    def _made(self, make, source, dtype):
        """The module; an adapter is of the dtype of the dense layer that it is made of."""
        if self.base is None:
            return make(*self.sizes, **source, **dtype, **self.keywords)
        return make(self.base(12, 10, **source, **dtype), **source, **self.keywords)

    def _nnx(self, make, arrays):
        module = nnx.eval_shape(lambda: self._made(make, {"rngs": nnx.Rngs(0)}, {"param_dtype": self.dtype}))
        filled = []
        for path, leaf in nnx.to_flat_state(nnx.state(module)):
            if isinstance(leaf, (nnx.Param, tnl.jax.nnx.Frozen)):
                value = arrays.pop(self.torch_name(path))
                assert value.shape == leaf.shape
            else:  # what dropout counts by
                value = jax.random.key(0) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else jnp.uint32(0)
            filled.append((path, leaf.replace(value)))
        assert not arrays
        nnx.update(module, nnx.from_flat_state(filled))
        return module

    def _eqx(self, make, arrays):
        module = eqx.filter_eval_shape(
            lambda key: self._made(make, {"key": key}, {"dtype": self.dtype}), jax.random.key(0)
        )

        def value(path, leaf):
            if not hasattr(leaf, "shape"):
                return leaf
            found = arrays.pop(self.torch_name(_attributes(path)))
            assert found.shape == leaf.shape
            return found

        module = jax.tree_util.tree_map_with_path(value, module)
        assert not arrays
        return module


def _attributes(path):
    """A path of jax as names, without the layer in between."""
    names = [getattr(key, "name", None) or key.key for key in path]
    return [name for name in names if name not in ("layer", "params")]


def _channels_last(module, x):
    return jnp.moveaxis(module(jnp.moveaxis(x, 1, -1)), -1, 1)


def _swapped(module, *given):
    return module(*(jnp.swapaxes(x, 0, 1) for x in given)).swapaxes(0, 1)


def _each(module, *given):
    return jax.vmap(module, in_axes=1, out_axes=1)(*given)


def _flax_cell(module, x):
    carry, _ = module(module.initialize_carry(x.shape), x)
    return tuple(reversed(carry)) if isinstance(carry, tuple) else carry


def _flax_sequence(module, x):
    carry, y = module(x)
    return y, tuple(reversed(carry)) if isinstance(carry, tuple) else carry


def _zeros(module, x):
    zeros = jnp.zeros((len(x), module.hidden_size), x.dtype)
    return module(x, (zeros, zeros) if type(module).__name__ == "TNLSTMCell" else zeros)


MPO, TWO = {"network": "mpo(cores=2, bond=3)"}, {"network": "mpo(cores=2)"}
MODES = {"in_modes": (3, 4), "out_modes": (2, 5), "bond_dim": 3}
SEQUENCE = TWO | {"time_major": True, "return_carry": True}
HEADS = ("query", "key", "value")
BIASES = {f"use_{name}_bias": True for name in (*HEADS, "output")}
SHORT = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
LONG = {f"{name}_proj": SHORT[name] for name in HEADS} | {"output_proj": "out_proj"}
# Layer kind of torch -> the class of each library.
NAMED = {
    "TNLinear": (Named("nnx", "TNLinear", (12, 10), MPO), Named("eqx", "TNLinear", (12, 10), MPO)),
    "MPOLinear": (Named("nnx", "MPOLinear", (12, 10), MODES), Named("eqx", "MPOLinear", (12, 10), MODES)),
    **{
        f"TNConv{d}d": (
            Named("nnx", "TNConv", (4, 6, (3,) * d), MPO | {"padding": "VALID"}, _channels_last),
            Named("eqx", f"TNConv{d}d", (4, 6, 3), MPO),
        )
        for d in (1, 2, 3)
    },
    "TNEmbedding": (Named("nnx", "TNEmbedding", (12, 10), MPO), Named("eqx", "TNEmbedding", (12, 10), MPO)),
    "TNEmbeddingBag": (Named("nnx", "TNEmbeddingBag", (12, 10), MPO), Named("eqx", "TNEmbeddingBag", (12, 10), MPO)),
    "TNBilinear": (Named("nnx", "TNBilinear", (3, 4, 10), MPO), Named("eqx", "TNBilinear", (3, 4, 10), MPO)),
    "TNTensorLinear": tuple(
        Named(library, "TNTensorLinear", ((3, 4), (2, 5)), {"network": "mpo(bond=3)"}) for library in ("nnx", "eqx")
    ),
    "TNMultiheadAttention": (
        Named("nnx", "TNMultiHeadAttention", (3, 12), TWO, _swapped, SHORT),
        Named("eqx", "TNMultiheadAttention", (3, 12), TWO | BIASES, _each, LONG),
    ),
    "TNRNNCell": (
        Named("nnx", "TNSimpleCell", (6, 4), TWO, _flax_cell),
        Named("eqx", "TNRNNCell", (6, 4), TWO, _zeros),
    ),
    **{
        f"TN{one}Cell": (
            Named("nnx", f"TN{one}Cell", (6, 4), TWO, _flax_cell),
            Named("eqx", f"TN{one}Cell", (6, 4), TWO, _zeros),
        )
        for one in ("LSTM", "GRU")
    },
    **{
        f"TN{one}": (
            Named("nnx", f"TN{one}", (6, 4), SEQUENCE, _flax_sequence),
            Named("eqx", f"TN{one}", (6, 4), TWO),
        )
        for one in ("RNN", "LSTM", "GRU")
    },
    "TNAdapter": (
        Named("nnx", "TNAdapter", keywords=MPO, base=nnx.Linear),
        Named("eqx", "TNAdapter", keywords=MPO, base=eqx.nn.Linear),
    ),
}


def named(kind, library):
    """The class of a library for a layer kind."""
    return NAMED[kind][("nnx", "eqx").index(library)]
