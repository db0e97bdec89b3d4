"""What is known not to work: (backend, layer kind) -> why.

`tests/backends/test_gaps.py` crosses all backends with all layer kinds: what is not listed here must work, and what is
listed must be refused by a `TNLayersError`. A gap that somebody closes fails that test until its row is deleted.
"""

ONE_LAYER = "holds several layers or a dense one, not the cores of one network: its layers move one by one"
NO_WINDOW = "no convolution: the matrix of the kernel has no window to slide, and there is no plan of routes for one"
NO_LOOKUP = "no lookup: the map takes vectors of features, not numbers of rows"
NO_SHAPES = "the map is between vectors: the shapes of tensors have no place in it"
TWO_INPUTS = "one map takes one input: a contraction with two inputs has no plan of a layer there"

# The layers of `tnl.nn` that another backend than torch lacks.
_LACKED = {
    "TNConv1d": NO_WINDOW,
    "TNConv2d": NO_WINDOW,
    "TNConv3d": NO_WINDOW,
    "TNEmbedding": NO_LOOKUP,
    "TNEmbeddingBag": NO_LOOKUP,
    "TNTensorLinear": NO_SHAPES,
    "TNBilinear": TWO_INPUTS,
}
# Modules that no backend takes apart, torch included: `tnl.save` writes them as part of a model.
_WHOLE = ("TNMultiheadAttention", "TNRNNCell", "TNLSTMCell", "TNGRUCell", "TNRNN", "TNLSTM", "TNGRU", "TNAdapter")

GAPS = {
    **{(backend, kind): reason for backend in ("numpy", "jax") for kind, reason in _LACKED.items()},
    **{(backend, kind): ONE_LAYER for backend in ("numpy", "torch", "jax") for kind in _WHOLE},
}
