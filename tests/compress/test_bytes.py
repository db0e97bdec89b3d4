"""Bytes of reports: what the parameters occupy, whatever they are stored as."""

from __future__ import annotations

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


class Int8(torch.Tensor):
    """A weight of int8 numbers and a scale for each row, as torchao has it."""

    @staticmethod
    def __new__(cls, numbers, scale):
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=scale.dtype, requires_grad=False)

    def __init__(self, numbers, scale):
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self):
        return ["numbers", "scale"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return Int8(inner["numbers"], inner["scale"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """Copies are of the same class; everything else is computed from the product."""
        if func in (torch.ops.aten.detach.default, torch.ops.aten.clone.default, torch.ops.aten.alias.default):
            return cls(func(args[0].numbers), func(args[0].scale))
        plain = [one.numbers * one.scale if type(one) is cls else one for one in args]
        return func(*plain, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_quantised_weight_counts_what_it_occupies(dtype):
    model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 60)).to(dtype)
    numbers = torch.randint(-127, 128, (40, 40), dtype=torch.int8)
    model[0].weight = nn.Parameter(Int8(numbers, torch.full((40, 1), 1e-3, dtype=dtype)), requires_grad=False)
    report = quiet(lambda: tnl.compress(model, error=0.9, network="lowrank", dry_run=True)).report
    size = dtype.itemsize
    first, second = report.layers
    assert (first.before, first.after) == (first.after, first.before)
    assert first.before.bytes == 40 * 40 + 40 * size + 40 * size
    assert second.before.bytes == 60 * 41 * size
    assert second.after.bytes == second.after.parameters * size < second.before.bytes
    assert report.others.bytes == report.others.parameters == 0
    assert report.before.bytes == first.before.bytes + second.before.bytes


def test_bytes_are_those_of_every_dtype():
    model = nn.Sequential(nn.Linear(40, 40), nn.LayerNorm(40), nn.Linear(40, 60))
    model[0].bfloat16()
    model[2].half()
    model.register_parameter("table", nn.Parameter(torch.zeros(7, dtype=torch.float64)))
    report = quiet(lambda: tnl.compress(model, error=0.9, network="lowrank", dry_run=True)).report
    assert report.before.bytes == sum(p.numel() * p.element_size() for p in model.parameters())
    assert report.others.bytes == 80 * 4 + 7 * 8
