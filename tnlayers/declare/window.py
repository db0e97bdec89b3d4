"""Windows: how a convolution moves over positions, in the words of `torch.nn`, checked once and free of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tnlayers.errors import TNLayersError

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The kernel's size and steps along each dimension of a convolution. Make it with `window`.

    Attributes:
        kernel: Kernel size along each dimension.
        stride: Step from one output position to the next.
        dilation: Step between two positions of the kernel.
        padding: (before, after) positions added to the input along each dimension.
        mode: What they hold: "zeros", "reflect", "replicate" or "circular".
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: str

    @property
    def within(self) -> tuple[int, ...]:
        """Zeros that the convolution itself adds on both sides; none where the input is padded ahead of it."""
        return tuple(0 for _ in self.kernel) if self.ahead else tuple(before for before, _ in self.padding)

    @property
    def ahead(self) -> bool:
        """Whether the input must be padded before the convolution: not with zeros, or not equally on both sides."""
        return any(a != b or (self.mode != "zeros" and a) for a, b in self.padding)

    def padded(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """The input's sizes as the convolution sees them: larger where it is padded ahead."""
        pads = self.padding if self.ahead else ((0, 0),) * len(self.kernel)
        return tuple(size + before + after for size, (before, after) in zip(spatial, pads, strict=True))

    def extent(self, dim: int) -> int:
        """Positions that the kernel spans along a dimension, the gaps of a dilation included."""
        return self.dilation[dim] * (self.kernel[dim] - 1) + 1

    def out_sizes(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output positions along each dimension.

        Raises:
            TNLayersError: If the padded input is smaller than the kernel.

        Example:
            >>> window(2, 3, stride=2, padding=1).out_sizes((32, 28))
            (16, 14)
        """
        sizes = []
        for dim, (size, (before, after)) in enumerate(zip(spatial, self.padding, strict=True)):
            room = size + before + after - self.extent(dim)
            if room < 0:
                raise TNLayersError(
                    f"The input has {size} positions along dimension {dim} ({size + before + after} padded), but the "
                    f"kernel spans {self.extent(dim)} (kernel_size {self.kernel[dim]}, dilation {self.dilation[dim]}). "
                    "Give a larger input, more padding, or a smaller kernel."
                )
            sizes.append(room // self.stride[dim] + 1)
        return tuple(sizes)


def window(
    dims: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    padding_mode: str = "zeros",
) -> Window:
    """A window from the arguments of `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`.

    Args:
        dims: How many dimensions the positions have: 1, 2 or 3.
        kernel_size: One number for all dimensions, or one for each.
        stride: Likewise.
        padding: Likewise; or "valid" for none, "same" for as many output as input positions.
        dilation: Likewise.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Raises:
        TNLayersError: If a number is not an integer in range, or "same" is asked with a stride.
    """
    kernel = _each("kernel_size", kernel_size, dims, 1)
    strides = _each("stride", stride, dims, 1)
    dilations = _each("dilation", dilation, dims, 1)
    if padding_mode not in PADDING_MODES:
        raise TNLayersError(f"padding_mode={padding_mode!r} is unknown; there are {', '.join(PADDING_MODES)}.")
    if padding == "same":
        if any(step > 1 for step in strides):
            raise TNLayersError(f"padding='same' needs stride 1, got {strides}: give padding as numbers instead.")
        spare = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
        pads = tuple((n // 2, n - n // 2) for n in spare)
    elif padding == "valid":
        pads = ((0, 0),) * dims
    elif isinstance(padding, str):
        raise TNLayersError(f"padding={padding!r} is unknown; give 'same', 'valid', a number, or one per dimension.")
    else:
        pads = tuple((n, n) for n in _each("padding", padding, dims, 0))
    return Window(kernel=kernel, stride=strides, dilation=dilations, padding=pads, mode=padding_mode)


def _each(name: str, value: Any, dims: int, least: int) -> tuple[int, ...]:
    """One integer per dimension, from one for all or from a sequence of as many."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    fit = all(isinstance(v, int) and not isinstance(v, bool) and least <= v < 2**31 for v in values)
    if len(values) != dims or not fit:
        raise TNLayersError(
            f"{name}={value!r}: a {dims}-d convolution takes one integer of at least {least}, or {dims} of them."
        )
    return values
