"""Cores stay cores in an ONNX file.

An exporter computes in advance whatever does not depend on the input, as far as it is of moderate size: of a plan that
rebuilds W, W itself. The file then holds dense matrices, and a compressed model is as large as before. So while a model
is exported to ONNX, zero is added to each core: a zero that exporters cannot know, since it is computed from the input.
The file holds the cores, and whoever runs it multiplies them when it runs, once a call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tnlayers_backends.torch.layers.module import TNModule


class ExportedCores(TNModule):
    """A module whose contractions read the cores so that exporters leave them as they are; made as `TNModule`."""

    def _contract(self, run: Callable[[Tensor, list[Tensor]], Tensor], x: Tensor) -> Tensor:
        if not torch.onnx.is_in_onnx_export():
            return super()._contract(run, x)
        return super()._contract(lambda x, cores: run(x, _unknown(cores, x)), x)


def _unknown(cores: list[Tensor], x: Tensor) -> list[Tensor]:
    """The cores, as something that depends on the input."""
    first = x.reshape(-1)[:1]
    below = first < first  # of no number, NaN among them; without an entry there is nothing to be below
    zero = below.sum().to(cores[0].dtype)
    return [core + zero for core in cores]
