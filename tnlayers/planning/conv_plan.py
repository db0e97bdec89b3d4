"""Convolution plans: a kernel's network as a sequence of small convolutions, and their exact price.

The input has its channels' indices as axes. Cores are contracted with it in groups: each group becomes
one small kernel, contracted by an ordinary `Plan`, and is applied as one convolution. It sums over the indices that it
shares with the input, its open indices are the new channels, indices that are still needed afterwards are the
convolution's groups, and all other channels of the input are so many more images. A group that holds the kernel's
position along a dimension steps over the positions there; any other is a product of matrices at each position.

        x  ──►  [core_0 core_1]  ──►  [core_2]  ──►  [core_3]  ──►  y
                conv 3x3, 1 -> 4      c_1 -> o_1     c_2 -> o_2

The other way is to rebuild the kernel and convolve once. `conv_choice.py` decides by cost; this is what about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod

from tnlayers.declare.kernel import Kernel
from tnlayers.declare.window import Window
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.lowered import ITEMSIZES, Objective
from tnlayers.planning.plan import Plan
from tnlayers.planning.text import amount, beside_dense
from tnlayers.pricing.convolutions import contracted_seconds, convolved_seconds
from tnlayers.pricing.counts import NOTHING, Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """What is computed: a kernel of one or more networks, moved over the positions of an input.

    Attributes:
        kernels: One per term of a sum.
        window: How the kernel moves.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        groups: Groups that the channels fall into.
        title: The declaration, in words.
    """

    kernels: tuple[Kernel, ...]
    window: Window
    in_channels: int
    out_channels: int
    groups: int
    title: str

    def dense(self, batch: int, spatial: Sequence[int], itemsize: int) -> Cost:
        """The cost of the convolution with a dense kernel, by the rules of `conv_cost`."""
        channels = (1, self.groups, self.in_channels // self.groups, self.out_channels // self.groups, 1)
        window = self.window
        return conv_cost(
            channels,
            window.kernel,
            batch,
            prod(window.padded(spatial)),
            prod(window.out_sizes(spatial)),
            itemsize,
            copied=False,
        )


def conv_cost(
    channels: tuple[int, int, int, int, int],
    extents: Sequence[int],
    batch: int,
    positions: int,
    out_positions: int,
    itemsize: int,
    *,
    copied: bool,
    kept: bool = False,
) -> Cost:
    """Exact counts of one small convolution, forward pass.

    Args:
        channels: (before, groups, summed, new, after), as in `ConvStep`.
        extents: The kernel's size along each dimension.
        batch: Images at once.
        positions: Positions of each image, padding ahead included.
        out_positions: Positions of each result.
        itemsize: Bytes per entry.
        copied: Whether the input is copied first, because its channels stand in another order.
        kept: Whether the input is saved for the backward pass on account of this step.
    """
    before, groups, summed, new, after = channels
    images = batch * before * groups * after
    read, written, weights = images * summed * positions, images * new * out_positions, groups * new * summed
    weights *= prod(extents)
    return Cost(
        flops=2 * images * new * summed * prod(extents) * out_positions,
        bytes=itemsize * (read + written + weights + (2 * read if copied else 0)),
        copied=itemsize * (2 * read if copied else 0),
        kept=itemsize * (read if copied or kept else 0),
        result=itemsize * written,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvStep:
    """One small convolution.

    The channels of its input, permuted, are (before, groups, summed, after); those of its result (before, groups, new,
    after). `before` multiplies the images; `after` multiplies the positions, and is 1 where the kernel moves.

    Attributes:
        kernel: How the group's cores are contracted to (groups, new, summed, *positions).
        cores: The numbers of these cores in the layer.
        axes: Sizes of the input's channel axes.
        order: The permutation of those axes, or None where they stand as wanted.
        channels: (before, groups, summed, new, after).
        dims: The dimensions along which the kernel moves; empty for a product at each position.
        cost: Exact counts of the contraction and the convolution, forward pass.
    """

    kernel: Plan
    cores: tuple[int, ...]
    axes: tuple[int, ...]
    order: tuple[int, ...] | None
    channels: tuple[int, int, int, int, int]
    dims: tuple[int, ...]
    cost: Cost

    def only(self, values: Sequence[int], rest: int) -> tuple[int, ...]:
        """Of values per dimension those along which this step moves, and `rest` along the others."""
        return tuple(value if d in self.dims else rest for d, value in enumerate(values))

    def describe(self, window: Window) -> str:
        """The step in words."""
        before, groups, summed, new, after = self.channels
        size = "x".join(map(str, self.only(window.kernel, 1)))
        text = f"{' '.join(self.kernel.contraction.names)}: {f'conv {size}' if self.dims else 'product'}"
        text += f", {summed} -> {new}" + (f" in each of {groups} groups" if groups > 1 else "")
        return text + (f", {before * after} times" if before * after > 1 else "") + (" (copies)" if self.order else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The steps of one network, and how the channels of the last result are put in the output's order.

    Attributes:
        steps: The small convolutions, in order.
        axes: Sizes of the last result's channel axes.
        order: Their permutation to the output's, or None.
        cost: Exact counts of all steps, forward pass.
        seconds: The estimate that routes are ranked by.
    """

    steps: tuple[ConvStep, ...]
    axes: tuple[int, ...]
    order: tuple[int, ...] | None
    cost: Cost
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvPlan:
    """How a convolution is computed at one batch size and one size of input; `str(plan)` lists the steps.

    The plan is right for any other batch and size, only perhaps not the cheapest.

    Attributes:
        convolution: What is computed.
        batch: Images at once.
        spatial: The input's size along each dimension.
        objective: What was minimised.
        dtype: The dtype that bytes are counted for.
        routes: One per network of a sum; none where the kernel is rebuilt and applied once.
        rebuild: Exact counts of rebuilding the dense kernel.
        device: Whose rates it was ranked by: "cpu", or "cuda" and the name of the GPU.
    """

    convolution: Convolution
    batch: int
    spatial: tuple[int, ...]
    objective: Objective
    dtype: str
    routes: tuple[Route, ...]
    rebuild: Cost
    device: str = field(default="cpu", compare=False)

    @property
    def dense(self) -> Cost:
        """The cost of the convolution with a dense kernel, forward pass."""
        return self.convolution.dense(self.batch, self.spatial, ITEMSIZES[self.dtype])

    @property
    def cost(self) -> Cost:
        """Exact counts of the whole forward pass; bias, padding ahead and the sum of several results are left out."""
        if not self.routes:
            return self.rebuild + self.dense
        return reduce(Cost.__add__, [route.cost for route in self.routes], NOTHING)

    @property
    def rebuilt_seconds(self) -> float:
        """The estimate of rebuilding the kernel and convolving once, beside which routes are ranked."""
        c, rates, training = self.convolution, machine(self.device, self.dtype), self.objective == "training"
        channels = (c.groups, c.in_channels // c.groups, c.out_channels // c.groups)
        seconds = convolved_seconds(rates, self.dense, channels, prod(c.window.kernel), training=training)
        return seconds + contracted_seconds(rates, self.rebuild, training=training)

    @property
    def seconds(self) -> float:
        """The estimate that was minimised; no promise of a run time."""
        return sum(route.seconds for route in self.routes) if self.routes else self.rebuilt_seconds

    def __str__(self) -> str:
        images = f"{self.batch} x {'x'.join(map(str, self.spatial))}"
        lines = [f"{self.convolution.title}, input {images}, {self.dtype}, for {self.objective}"]
        rows = [(step.describe(self.convolution.window), step.cost) for route in self.routes for step in route.steps]
        if not self.routes:
            rows = [("rebuild the kernel", self.rebuild), ("dense convolution", self.dense)]
        rows += [("total", self.cost), ("dense layer", self.dense)]
        width = max(len(text) for text, _ in rows)
        lines.append(f"{'':{width}}  {'flops':>9} {'bytes':>9} {'copied':>9}")
        lines += [f"{t:{width}}  {amount(c.flops):>9} {amount(c.bytes):>9} {amount(c.copied):>9}" for t, c in rows]
        lines.append(f"{beside_dense(self.cost, self.dense, 'convolution')}.")
        return "\n".join(lines)

    __repr__ = __str__
