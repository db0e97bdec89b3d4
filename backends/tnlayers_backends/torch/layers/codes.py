"""A tensor as small integers: codes of 8 or 4 bits in groups, each group with one scale.

The entries are taken in row-major order, `group` at a time. A group whose largest entry is m has the scale m / 127
(8 bits) or m / 7 (4 bits), rounded up to 16 bits: s. An entry w has the code round(w / s). So every entry comes
back within s / 2 of what it was (symmetric absmax rounding, as in LLM.int8, Dettmers et al. 2022, arXiv 2208.07339, and
with groups in GPTQ, Frantar et al. 2022, arXiv 2210.17323). A code times its scale is exact in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError

LARGEST_CODE = {8: 127, 4: 7}


class Codes(nn.Module):
    """One tensor of a layer in codes; calling it gives the tensor.

    Args:
        codes: Signed bytes of shape (groups, group); of 4 bits, bytes of shape (groups, group / 2) with two codes each,
            the first in the lower half, both with 8 added.
        scales: One number for each group.
        bits: 8 or 4.
        shape: Of the tensor; entries of the last group beyond it are zero.
        dtype: Of the tensor.

    Raises:
        TNLayersError: If these do not fit together.
    """

    codes: Tensor

    def __init__(
        self, codes: Tensor, scales: Tensor, bits: int, shape: tuple[int, ...], dtype: torch.dtype | str
    ) -> None:
        super().__init__()
        size, entries = math.prod(shape), codes.numel() * (2 if bits == 4 else 1)
        kind = {8: torch.int8, 4: torch.uint8}.get(bits)
        fits = codes.ndim == 2 and scales.shape == codes.shape[:1] and codes.dtype is kind
        if not fits or not size or not entries - entries // len(codes) < size <= entries:
            raise TNLayersError(
                f"Codes of {bits} bits, shape {tuple(codes.shape)} and {codes.dtype}, with scales of shape "
                f"{tuple(scales.shape)}, are none of a tensor of shape {shape}."
            )
        self.bits, self.shape, self.dtype = (
            bits,
            tuple(shape),
            dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype),
        )
        self.register_buffer("codes", codes)
        # A parameter, so that it is seen whether the tensor is asked to learn.
        self.scales = nn.Parameter(scales, requires_grad=False)

    @classmethod
    @torch.no_grad()
    def of(cls, tensor: Tensor, bits: int, group: int) -> Self:
        """The codes of a tensor.

        Raises:
            TNLayersError: If it has entries that are no finite numbers, or no real ones.
        """
        if not tensor.is_floating_point() or tensor.is_meta or not bool(torch.isfinite(tensor).all()):
            raise TNLayersError(
                f"A tensor of {tensor.dtype} on {tensor.device} cannot be rounded to {bits} bits: codes are of real "
                "numbers, all of them finite."
            )
        top, flat = LARGEST_CODE[bits], tensor.detach().double().flatten()
        group = min(group, flat.numel() + flat.numel() % 2)
        groups = nn.functional.pad(flat, (0, -flat.numel() % group)).reshape(-1, group)
        scales = _rounded_up(groups.abs().amax(1), top, tensor.dtype)
        codes = (groups / torch.where(scales > 0, scales, 1)[:, None]).round().clamp(-top, top).to(torch.int8)
        if bits == 4:
            halves = (codes + 8).to(torch.uint8)
            codes = halves[:, 0::2] | (halves[:, 1::2] << 4)
        return cls(codes.contiguous(), scales.to(tensor.dtype), bits, tuple(tensor.shape), tensor.dtype)

    @property
    def group(self) -> int:
        """Entries that share a scale."""
        return self.codes.shape[1] * (2 if self.bits == 4 else 1)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales as files hold them."""
        return self.codes.nbytes + 2 * self.scales.numel()

    @property
    def asked_to_learn(self) -> bool:
        """Whether somebody expects the tensor to be trained."""
        return self.training and self.scales.requires_grad and torch.is_grad_enabled()

    def forward(self) -> Tensor:
        """The tensor, each entry a code times its scale; no gradient flows back to either.

        Raises:
            TNLayersError: If it is asked to learn: in training mode, under autograd, not frozen.
        """
        if self.asked_to_learn:
            raise TNLayersError(
                f"A weight of shape {self.shape} holds codes of {self.bits} bits, which have no gradient, but it is to "
                "be trained: it is in training mode and was not frozen. For inference say model.eval(); to train "
                "adapters beside it, tnl.adapt(model, ...) or model.requires_grad_(False); to train the weight itself, "
                "tnl.dequantise(model) first."
            )
        codes = self.codes.float()
        if self.bits == 4:  # by numbers, not by bits: exporters know no bits of bytes
            upper = (codes / 16).floor()
            codes = torch.stack((codes - 16 * upper, upper), -1).flatten(1) - 8
        values = (codes * self.scales.detach().float()[:, None]).flatten()  # exact
        return values[: math.prod(self.shape)].reshape(self.shape).to(self.dtype)

    def short_scales(self) -> Tensor:
        """The scales in the shortest dtype that has them exactly: two bytes each, as they were made."""
        scales = self.scales.detach()
        for dtype in (torch.bfloat16, torch.float16):
            if torch.equal(scales.to(dtype).to(scales.dtype), scales):
                return scales.to(dtype)
        return scales

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As torch's, but that scales which another dtype does not have exactly stay as they are."""
        before, dtype = self.scales.data, fn(torch.empty(0, dtype=self.dtype, device=self.codes.device)).dtype
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = self.scales.data
        if not (before.is_meta or after.is_meta) and not torch.equal(after.to(before), before):
            self.scales.data = before.to(after.device)
        self.dtype = dtype
        return self

    def extra_repr(self) -> str:
        """Bits, group and shape."""
        return f"bits={self.bits}, group={self.group}, shape={self.shape}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Codes:
        copy = Codes(self.codes.clone(), self.scales.detach().clone(), self.bits, self.shape, self.dtype)
        copy.scales.requires_grad_(self.scales.requires_grad)
        memo[id(self)] = copy
        return copy.train(self.training)


def _rounded_up(largest: Tensor, top: int, dtype: torch.dtype) -> Tensor:
    """The least numbers of 16 bits by which `top` is no less than the largest entries, in double precision.

    Raises:
        TNLayersError: If one is beyond the range of 16 bits, or the entry beyond that of single precision.
    """
    scales = largest / top
    short = torch.float16 if dtype is torch.float16 else torch.bfloat16
    near = scales.to(short)
    bits = near.view(torch.int16)
    up = torch.where(near.double() < scales, bits + 1, bits).to(torch.int16).view(short)
    if not bool(torch.isfinite(top * up.float()).all()):
        raise TNLayersError(
            f"An entry of {float(largest.max()):.3g} is beyond the range of codes with scales in {short}."
        )
    return up.double()
