"""Models whose weights are computed by hooks or parametrizations, for a while seen with these weights as parameters.

Everything that looks at a weight (sizes, samples, ties) then sees a plain module; afterwards the model is as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tnlayers_backends.torch.layers.ordinary import SEVERAL, is_computed, ordinary, parent_of, reason_against
from torch import nn


@contextmanager
def baked(model: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """See the weights of a model that are computed, where that is exact, as parameters.

    Yields:
        The modules, and how many parameters each has beyond the weight that it computes (the g of weight_norm).
    """
    users = Counter(id(one) for module in model.modules() for one in module._parameters.values() if one is not None)
    inside = {part for module in model.modules() if parent_of(module) in SEVERAL for part in module.modules()}
    before = {}
    extra: dict[nn.Module, int] = {}
    try:
        for module in list(model.modules()):
            parameters = list(module.parameters())
            shared = any(users[id(one)] > 1 for one in parameters)
            if shared or module in inside or not is_computed(module) or reason_against(module):
                continue
            twin = ordinary(module)
            extra[module] = sum(p.numel() for p in parameters) - sum(p.numel() for p in twin.parameters())
            before[module] = type(module), vars(module).copy()
            module.__class__ = type(twin)
            vars(module).clear()
            vars(module).update(vars(twin))
        yield extra
    finally:
        for module, (kind, attributes) in before.items():
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
