"""The primitives on torch tensors: plain differentiable operations that autograd, vmap and compilers see through."""

from __future__ import annotations

import torch
from torch import Tensor


class TorchOps:
    """The primitives, each one call of torch."""

    def reshape(self, array: Tensor, shape: tuple[int, ...]) -> Tensor:
        """As `torch.reshape`: a view where the memory order allows."""
        return array.reshape(shape)

    def permute(self, array: Tensor, axes: tuple[int, ...]) -> Tensor:
        """As `torch.permute`: a view."""
        return array.permute(axes)

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """`mm` or `bmm`: `torch.matmul` would fold and copy behind the plan's back."""
        return torch.mm(left, right) if left.ndim == 2 else torch.bmm(left, right)

    def sum(self, array: Tensor, axes: tuple[int, ...]) -> Tensor:
        """As `torch.sum`."""
        return array.sum(axes, dtype=array.dtype)

    def diagonal(self, array: Tensor, axis1: int, axis2: int) -> Tensor:
        """As `torch.diagonal`, copied so that the result is contiguous."""
        return array.diagonal(dim1=axis1, dim2=axis2).contiguous()

    def pad(self, array: Tensor, count: int) -> Tensor:
        """`count` zeros behind the last axis."""
        return torch.nn.functional.pad(array, (0, count))

    def eye(self, size: int, like: Tensor) -> Tensor:
        """The identity matrix in the dtype and on the device of `like`."""
        return torch.eye(size, dtype=like.dtype, device=like.device)

    def qr(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """As `torch.linalg.qr`."""
        q, r = torch.linalg.qr(matrix)
        return q, r


OPS = TorchOps()
