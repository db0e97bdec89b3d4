"""What is known not to work: (backend, layer kind) -> why.

`tests/backends/test_gaps.py` moves all layer kinds to all backends and back to torch: what is not listed here must
work, and what is listed must be refused by a `TNLayersError` on its way to that backend. A gap that somebody closes
fails that test until its row is deleted.
"""

CLASSES = "a module of several weights is a form on numpy and jax, and torch has classes of its own for each of them"

# Modules that go from torch to numpy and jax, and do not come back.
_WHOLE = ("TNMultiheadAttention", "TNRNNCell", "TNLSTMCell", "TNGRUCell", "TNRNN", "TNLSTM", "TNGRU", "TNAdapter")

GAPS = {("torch", kind): CLASSES for kind in _WHOLE}
