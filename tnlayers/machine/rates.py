"""Rates of a machine: what turns counts into an estimate of seconds, by which programs are ranked.

A product of matrices runs at the peak rate times s / (s + side) for each of its three sides s: short sides starve the
processor. Columns of the result lie side by side in memory and are worked on `LANES` at a time. Data moves at one rate
within the cache, at another from memory, and slowest into memory that was never touched. Each matrix of a stack, and
each matrix added into an accumulated gradient costs its own constant, and so does each call: of one operation, of a
layer, and of what autograd and chunks add to both. Small batches take little else.

`tnlayers calibrate` measures these rates; `Machine()` holds defaults, so that plans are the same everywhere unless a
machine is given. `GPU` and `GPU_HALF` are the defaults of CUDA devices, whose rates depend on the dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

Sizes: TypeAlias = tuple[int, int, int, int]

# Entries at a stretch for which the rates of permuted copies hold; a shorter stretch takes as long as one of these.
STRETCH = 16

# Bytes a second of work that is not done.
FREE = 1e30

# Columns that a processor works on at once: 16 of float32 with AVX-512. Measured with MKL, products with 2, 4, 8 and 16
# columns take the same time, whatever else they are.
LANES = 16

# The dtypes that GPUs have products of their own for.
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Rates of one core of a processor, in float32, or of a whole GPU. They rank programs; they promise no run time.

    The defaults are those of a core, rounded from measurements on AVX-512 servers.

    Attributes:
        flops_per_second: The rate of a large product of matrices.
        side: The length at which a side of a product halves its rate.
        cached_bytes_per_second: Reading and writing within the cache.
        bytes_per_second: Reading from beyond that cache, and writing into memory in use; `tnlayers calibrate` takes the
            geometric mean of a shared cache and of memory, since states lie in the one and large weights in the other.
        fresh_bytes_per_second: Writing into memory that was never touched.
        fresh_bytes: From this size on an allocation is such memory; smaller ones are likely to come back from a free.
        permuted_bytes_per_second: Copying in another order of axes, bytes read and written together, `STRETCH` entries
            at a stretch that lie apart.
        cached_permuted_bytes_per_second: The same within the cache.
        runs_bytes_per_second: The same with `STRETCH` entries at a stretch that lie side by side.
        cached_runs_bytes_per_second: The same within the cache.
        repeated_bytes_per_second: Writing out what a batched product takes: a matrix repeated along the stack, a stack
            gathered for a sum. `FREE` where strides serve.
        cache_bytes: How much one core keeps at hand.
        seconds_per_layer: Applying a layer without gradients, beside its operations.
        seconds_per_training: Applying a layer and going back through it, beside its operations.
        seconds_per_function: Entering a sweep in chunks, forward and backward together.
        seconds_per_entry: Entering chunks without gradients.
        seconds_per_call: One operation of the framework, with the views around it.
        seconds_per_chunk_call: The same in a chunk, into memory that is used again.
        seconds_per_recorded: What autograd adds to an operation with a core, forward and backward together.
        seconds_per_product: What a product takes before its arithmetic, if it is not tiny.
        seconds_per_matrix: Each matrix of a stack in a product.
        seconds_per_sum: Each matrix of a stack whose product is added to one sum.
    """

    flops_per_second: float = 150e9
    side: float = 8.0
    cached_bytes_per_second: float = 80e9
    bytes_per_second: float = 20e9
    fresh_bytes_per_second: float = 3e9
    fresh_bytes: int = 2**25
    permuted_bytes_per_second: float = 3.5e9
    cached_permuted_bytes_per_second: float = 14e9
    runs_bytes_per_second: float = 7e9
    cached_runs_bytes_per_second: float = 40e9
    repeated_bytes_per_second: float = FREE
    cache_bytes: int = 2**21
    seconds_per_layer: float = 1.2e-5
    seconds_per_training: float = 3e-5
    seconds_per_function: float = 7e-5
    seconds_per_entry: float = 1.5e-5
    seconds_per_call: float = 4e-6
    seconds_per_chunk_call: float = 8e-6
    seconds_per_recorded: float = 1.5e-5
    seconds_per_product: float = 1e-9
    seconds_per_matrix: float = 5e-8
    seconds_per_sum: float = 9e-7

    def at_hand(self) -> Machine:
        """A machine that finds all data in the fastest memory: no program takes less than by its rates."""
        rate = max(self.cached_bytes_per_second, self.bytes_per_second)
        return replace(self, cached_bytes_per_second=rate, bytes_per_second=rate)

    def product(self, sizes: Sizes) -> float:
        """Seconds of the arithmetic of one product of sizes (batch, rows, summed, columns)."""
        batch, rows, summed, columns = sizes
        whole = -(-columns // LANES) * LANES
        full = 2.0 * batch * (rows + self.side) * (summed + self.side) * (whole + self.side)
        stacked = batch * self.seconds_per_matrix if batch > 1 else 0.0
        return full / self.flops_per_second + self.seconds_per_product + stacked

    def summed_product(self, sizes: Sizes) -> float:
        """Seconds of a stack of products that are added up into one matrix."""
        extra = self.seconds_per_sum - self.seconds_per_matrix
        return self.product(sizes) + (sizes[0] * extra if sizes[0] > 1 else 0.0)

    def copy(self, entries: int, itemsize: int = 4, stretch: int = STRETCH, near: bool = False) -> float:
        """Seconds of copying entries in another order, `stretch` at a time, near to each other or apart."""
        moved = 2 * itemsize * entries
        cached = moved <= self.cache_bytes
        if near:
            rate = self.cached_runs_bytes_per_second if cached else self.runs_bytes_per_second
        else:
            rate = self.cached_permuted_bytes_per_second if cached else self.permuted_bytes_per_second
        return moved / rate * max(1.0, STRETCH / stretch)

    def repeat(self, entries: int, itemsize: int) -> float:
        """Seconds of writing out entries for a batched product, next to none where strides serve."""
        moved, rate = itemsize * entries, self.repeated_bytes_per_second
        return moved / (self.fresh_bytes_per_second if rate < FREE and moved >= self.fresh_bytes else rate)

    def share_at_hand(self, used: int) -> float:
        """The share of its data that a loop over so many bytes finds in the cache when it comes by again."""
        return min(1.0, max(0.0, 2.0 - used / self.cache_bytes))

    def move(self, entries: int, itemsize: int, *, cached: float, fresh: bool = False) -> float:
        """Seconds of reading or writing entries once, this share of them within the cache."""
        moved = entries * itemsize
        if fresh and moved >= self.fresh_bytes:
            return moved / self.fresh_bytes_per_second
        return moved * (cached / self.cached_bytes_per_second + (1 - cached) / self.bytes_per_second)


# A GPU of a data centre: about two thirds of the peaks in NVIDIA's data sheet of the H100 SXM (67 TFLOP/s in float32,
# 989 in bfloat16, 3.35 TB/s, 50 MB of L2). A call from Python takes as long as 300 MFLOP, what goes on around chunks
# more, as measured on an H100. No memory is fresh, since torch's allocator gives out again what it has.
GPU = Machine(
    flops_per_second=45e12,
    side=32.0,
    cached_bytes_per_second=4e12,
    bytes_per_second=2e12,
    fresh_bytes_per_second=2e12,
    permuted_bytes_per_second=1.5e12,
    cached_permuted_bytes_per_second=3e12,
    runs_bytes_per_second=2e12,
    cached_runs_bytes_per_second=4e12,
    cache_bytes=2**25,
    seconds_per_function=4e-4,
    seconds_per_entry=2e-4,
    seconds_per_call=7e-6,
    seconds_per_matrix=2e-9,
    seconds_per_sum=4e-9,
)
GPU_HALF = replace(GPU, flops_per_second=600e12, side=128.0)


def default_machine(device: str = "cpu", dtype: str = "float32") -> Machine:
    """The rates of a device where nothing was measured.

    Args:
        device: "cpu", or "cuda" and perhaps a name behind it.
        dtype: The dtype of the products.

    Example:
        >>> default_machine("cuda", "bfloat16").flops_per_second
        600000000000000.0
    """
    if not device.startswith("cuda"):
        return Machine()
    return GPU_HALF if dtype in HALVES else GPU
