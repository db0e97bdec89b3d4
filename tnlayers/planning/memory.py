"""How much memory a plan holds: what it prepares from the cores, what chunks run in, and the most it has at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tnlayers.planning.lowered import Lowered
from tnlayers.planning.sliced import copied_cores
from tnlayers.planning.slices import pieces
from tnlayers.pricing.limits import prepared_bytes
from tnlayers.program.events import Stage, along, back

# `addbmm_` is a call per matrix of a stack. On torch, matrices of up to `_SMALL` entries are made in one call instead,
# as many at a time as have `_AT_A_TIME` entries, and then added up. Measured with MKL on one thread, a training step
# took 0.91 times as long so for matrices of 32 x 56, and as long for 64 x 28, but 1.05 to 1.14 times as long for 128 x
# 32, whose stack drives states out of the cache.
_SMALL, _AT_A_TIME = 2**11, 2**17


def made_apart(stack: int, entries: int) -> int:
    """How many products of a stack torch makes in one call before it adds them up; 0 where it adds each by itself.

    Args:
        stack: Number of products.
        entries: Entries of each.
    """
    return min(stack, _AT_A_TIME // max(entries, 1)) if entries <= _SMALL else 0


def workspace(plan: Lowered) -> int:
    """Bytes of memory that chunks run in; it is used again by every call and every layer."""
    if plan.sweep is None or plan.chunk is None:
        return 0
    links, training = plan.sweep.chain.links, plan.objective == "training"
    entries = plan.sweep.both if training else plan.sweep.forward
    if plan.slices:  # results of a piece are added to those before: to the output, and to the input's gradient
        entries = max(entries + links[0].before if training else 0, plan.sweep.forward + links[-1].after)
    return plan.itemsize * min(plan.chunk, plan.batch or 1) * entries


def prepared(plan: Lowered) -> int:
    """Bytes of the matrices that the batch is multiplied by, where they are not views of cores."""
    return 0 if plan.sweep is None else prepared_bytes(plan.sweep.chain, plan.program.operands, plan.itemsize)


def memory(plan: Lowered) -> int:
    """Bytes that a plan uses at most, beyond input, output, cores and their gradients."""
    return max(used for used, _ in _moments(plan))


def peak(plan: Lowered) -> int:
    """The same with the output, which is not there while the cores are prepared."""
    output = plan.itemsize * plan.contraction.elements(plan.contraction.output)
    return max(used + output * there for used, there in _moments(plan))


def _moments(plan: Lowered) -> Iterator[tuple[int, bool]]:
    """Bytes in use at the moments at which they may be most, and whether the output is there by then."""
    training = plan.objective == "training"
    links = () if plan.sweep is None else plan.sweep.chain.links
    linked = {link.step for link in links}
    steps = [cost for k, cost in enumerate(plan.steps) if k not in linked]
    made = sum(cost.result for cost in steps)
    laid = plan.itemsize * sum(link.matrix for link in links if link.core[1].copies)
    copies = [cost.copied // pieces(plan.slices) // 2 for cost in steps]
    gradients = plan.itemsize * sum(link.matrix for link in links) if training else 0
    # Autograd keeps the operands of products, and inference the matrices alone.
    fixed = {"training": prepared(plan) + sum(cost.kept for cost in steps), "inference": prepared(plan)}
    still = fixed.get(plan.objective, made + laid)
    at_once = [(made_apart(stack, matrix), matrix) for stack, matrix in _stacks(plan)] if training else []
    apart = plan.itemsize * max(((n + 1) * matrix for n, matrix in at_once if n), default=0)
    if plan.slices:  # cores are cut, and prepared, while the workspace is there
        beside = workspace(plan) + plan.itemsize * copied_cores(plan)
        own = plan.itemsize * sum(plan.part.elements(indices) for indices in plan.contraction.operands[1:])
        yield beside + made + laid + sum(copies), True
        yield beside + still + gradients + (max(apart, own + laid) if training else 0), True
        return
    yield made + max(laid, sum(copies) if training else max(copies, default=0)), False
    if plan.chunk is not None:
        yield still + gradients + workspace(plan) + apart, True
        return
    if plan.sweep is None:
        return
    batch = plan.batch or 1
    saved: list[int] = []
    for used in _forward_entries(along(plan.sweep.chain, batch), saved, keep=training):
        yield still + plan.itemsize * batch * used, True
    if training:
        for used in _backward_entries(back(plan.sweep.chain, batch, again=False), saved, batch):
            yield still + plan.itemsize * used, True


def _forward_entries(stages: Iterable[Stage], saved: list[int], *, keep: bool) -> Iterator[int]:
    """Entries per row while the whole batch is at each link, the output left out.

    What autograd keeps of each state, which is none of the input itself, is added to `saved`.
    """
    state = 0
    for stage in stages:
        if stage[-1].kind == "copy":
            return  # into the output
        made = [event.written if event.makes else 0 for event in stage]
        yield sum(saved) + state + sum(made)
        saved += [made[0] if len(stage) > 1 else state] if keep else []
        state = made[-1]


def _backward_entries(stages: Iterable[Stage], saved: list[int], batch: int) -> Iterator[int]:
    """Entries while the gradient is at each link, the last one first.

    In use are the states up to the link, the gradients of its result and its state, and those of all matrices so far.
    That of a matrix which a stack shares is one for each of the stack before it is one.
    """
    later = 0
    for added, product, *_ in (stage for stage in stages if len(stage) > 1):
        coming, going = 0 if product.at_output else product.read, product.written if product.makes else 0
        stack = added.at(batch)[0] if added.shared else 1
        yield batch * (sum(saved) + coming + going) + stack * added.matrix + later
        saved.pop()
        later += added.matrix


def _stacks(plan: Lowered) -> Iterator[tuple[int, int]]:
    """How many products are added up to the gradient of each matrix that a stack shares, and the entries of that."""
    if plan.sweep is None:
        return
    batch = plan.batch or 1
    for stage in back(plan.sweep.chain, batch, again=False):
        for event in stage:
            if event.kind == "sum" and event.shared:
                yield event.at(min(plan.chunk or batch, batch))[0], event.matrix
