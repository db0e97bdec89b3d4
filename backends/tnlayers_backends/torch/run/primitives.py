"""The primitives on torch tensors: plain differentiable operations that autograd, vmap and compilers see through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.cores.arithmetic import Ints, Pads
from tnlayers.errors import TNLayersError
from tnlayers.planning.memory import made_apart


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
        if left.ndim == 2 and right.ndim == 2:
            return torch.mm(left, right)
        return torch.bmm(*_stacks(left, right))

    def matmul_into(self, out: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """As `matmul`, into memory at hand; no gradients."""
        if left.ndim == 2 and right.ndim == 2:
            return torch.mm(left, right, out=out)
        return torch.bmm(*_stacks(left, right), out=out)

    def add_product(self, total: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Add `left @ right` to `total`, summed over the stack where `total` is one matrix."""
        # One product over the stack and the sum: in half precision, and on a GPU, where addbmm_ is a call per matrix.
        if total.ndim < left.ndim and (left.is_cuda or total.dtype != left.dtype):
            left, right = _merged(left.mT).mT, _merged(right)
        if total.dtype != left.dtype:  # half precision is added up in single
            return total.add_(self.matmul(left, right))
        if left.ndim == 2:
            return total.addmm_(left, right)
        if total.ndim == 2:
            count = made_apart(len(left), total.numel())
            if not count:
                return total.addbmm_(left, right)
            if count == len(left):
                return total.add_(torch.bmm(left, right).sum(0))
            for start in range(0, len(left), count):
                self.add_product(total, left[start : start + count], right[start : start + count])
            return total
        return total.baddbmm_(left, right)

    def summed_into(self, out: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """As `add_product`, into memory that contains anything."""
        return self.add_product(out.zero_(), *_stacks(left, right))

    def window(self, array: Tensor, shape: tuple[int, ...]) -> Tensor:
        """As `Tensor.view`, which never copies."""
        return array.view(shape)

    def copy_into(self, out: Tensor, array: Tensor) -> Tensor:
        """Copy in the order of the axes."""
        return out.copy_(array)

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

    def svd(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `torch.linalg.svd`, reduced; of a stack, each matrix by itself."""
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u, s, vh

    def singular_values(self, matrix: Tensor) -> Tensor:
        """As `torch.linalg.svdvals`."""
        values: Tensor = torch.linalg.svdvals(matrix)
        return values

    def eigenvectors(self, matrix: Tensor) -> Tensor:
        """As `torch.linalg.eigh`, without the eigenvalues."""
        vectors: Tensor = torch.linalg.eigh(matrix)[1]
        return vectors

    def solve(self, matrix: Tensor, right: Tensor) -> Tensor:
        """As `torch.linalg.solve`, of stacks."""
        found: Tensor = torch.linalg.solve(matrix, right)
        return found

    def like(self, values: np.ndarray, array: Tensor) -> Tensor:
        """A numpy array in the dtype and on the device of a tensor."""
        return torch.from_numpy(values).to(dtype=array.dtype, device=array.device)

    def cast(self, array: Tensor, dtype: str) -> Tensor:
        """As `Tensor.to`, by the dtype's name."""
        kind: torch.dtype = getattr(torch, dtype)
        return array.to(kind)

    # What layers of other kinds ask for (`tnlayers.cores.arithmetic`).

    def take(self, array: Tensor, places: Tensor) -> Tensor:
        """As `torch.index_select` along the first axis."""
        return array.index_select(0, places)

    def one_hot(self, digits: Tensor, size: int, like: Tensor) -> Tensor:
        """A comparison of each digit with all numbers."""
        return (digits[:, None] == torch.arange(size, device=digits.device)).to(like.dtype)

    def numbers(self, values: Sequence[int], like: Tensor) -> Tensor:
        """As `torch.tensor`."""
        return torch.tensor(list(values), dtype=torch.int64, device=like.device)

    def bags_of(self, starts: Tensor, count: int) -> Tensor:
        """As `torch.searchsorted`; torch's own reduction checks the places."""
        return torch.searchsorted(starts, torch.arange(count, device=starts.device), right=True) - 1

    def check_ids(self, ids: Tensor, count: int) -> Tensor:
        """The ids.

        Raises:
            TNLayersError: If one is out of range.
        """
        if ids.numel():
            low, high = (int(end) for end in torch.aminmax(ids))
            if low < 0 or high >= count:
                wrong = low if low < 0 else high
                raise TNLayersError(f"Id {wrong} is out of range: the table has {count} rows, 0 to {count - 1}.")
        return ids

    def expand(self, array: Tensor, count: int) -> Tensor:
        """As `torch.expand`: a stride of zero."""
        return array.expand(count, *array.shape)

    def join(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """As `torch.cat`."""
        return torch.cat(list(arrays), axis)

    def flip(self, array: Tensor) -> Tensor:
        """As `torch.flip`."""
        return array.flip(0)

    def where(self, condition: Tensor, chosen: Tensor | float, other: Tensor | float) -> Tensor:
        """As `torch.where`."""
        return torch.where(condition, chosen, other)

    def zeros(self, shape: Ints, like: Tensor) -> Tensor:
        """As `Tensor.new_zeros`."""
        return like.new_zeros(shape)

    def constant(self, array: Tensor) -> Tensor:
        """As `Tensor.detach`."""
        return array.detach()

    def sigmoid(self, array: Tensor) -> Tensor:
        """As `torch.sigmoid`."""
        return torch.sigmoid(array)

    def tanh(self, array: Tensor) -> Tensor:
        """As `torch.tanh`."""
        return torch.tanh(array)

    def relu(self, array: Tensor) -> Tensor:
        """As `torch.relu`."""
        return torch.relu(array)

    def erf(self, array: Tensor) -> Tensor:
        """As `torch.erf`."""
        return torch.erf(array)

    def softmax(self, array: Tensor) -> Tensor:
        """As `torch.softmax`."""
        return torch.softmax(array, -1)

    def scan(self, step: Callable[[Any, Tensor], tuple[Any, Tensor]], state: Any, xs: Tensor) -> tuple[Any, Tensor]:
        """A loop."""
        outputs = []
        for x in xs.unbind(0):
            state, y = step(state, x)
            outputs.append(y)
        return state, torch.stack(outputs) if outputs else xs.new_zeros(0, *state[0].shape)

    def convolve(
        self, x: Tensor, kernel: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
    ) -> Tensor:
        """As `torch.nn.functional.conv1d` to 3d."""
        return _CONVOLVE[len(stride)](x, kernel, bias, stride, padding, dilation, groups)

    def surround(self, x: Tensor, pads: Pads, mode: str) -> Tensor:
        """As `torch.nn.functional.pad`, whose order begins with the last axis."""
        amounts = [n for pair in reversed(pads) for n in pair]
        return functional.pad(x, amounts, mode="constant" if mode == "zeros" else mode)

    def pool(self, x: Tensor, kernel: Ints, stride: Ints, dilation: Ints, kind: Literal["max", "sum"]) -> Tensor:
        """Windows by `Tensor.unfold`, reduced."""
        dims = len(kernel)
        for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
            x = x.unfold(axis, gap * (size - 1) + 1, step)[..., ::gap]
        axes = tuple(range(2 + dims, 2 + 2 * dims))
        return x.amax(axes) if kind == "max" else x.sum(axes)

    def reduce_bags(self, rows: Tensor, bags: Tensor, count: int, kind: Literal["max", "sum"]) -> Tensor:
        """As `Tensor.index_add` and `index_reduce`."""
        found = rows.new_zeros(count + 1, *rows.shape[1:])
        if kind == "sum":
            return found.index_add(0, bags, rows)[:count]
        return found.index_reduce(0, bags, rows, "amax", include_self=False)[:count]


_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _merged(stack: Tensor) -> Tensor:
    """A stack (stack, summed, columns) as one matrix (stack * summed, columns), at most copied along its memory."""
    if stack.stride(-1) == 1:
        return stack.reshape(-1, stack.shape[-1])
    return stack.permute(2, 0, 1).reshape(stack.shape[-1], -1).T


def _stacks(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both operands as stacks of equally many matrices."""
    if left.ndim == 2:
        return _repeated(left, right.shape[0]), right  # not `len`, which would freeze a symbolic batch
    return left, _repeated(right, left.shape[0]) if right.ndim == 2 else right


def _repeated(matrix: Tensor, count: int) -> Tensor:
    """A matrix as a stack of equal ones, by a stride of zero.

    Half precision on a processor is the exception: there torch writes each of them out, row by row, which takes four
    times as long where it has to gather the rows; so that is done once before.
    """
    if matrix.dtype in (torch.float16, torch.bfloat16) and not matrix.is_cuda:
        matrix = matrix.contiguous()
    return matrix.expand(count, -1, -1)


OPS = TorchOps()
