"""How much memory a plan holds: what it prepares from the cores, what chunks run in, and the most it has at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tnlayers.planning.lowered import Lowered
from tnlayers.planning.sliced import copied_cores
from tnlayers.planning.slices import pieces
from tnlayers.pricing.limits import prepared_bytes
from tnlayers.program.chain import Link

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
    """Bytes of the matrices that the batch is carried through, where they are not views of cores."""
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
    held = {"training": prepared(plan) + sum(cost.kept for cost in steps), "inference": prepared(plan)}
    still = held.get(plan.objective, made + laid)
    stacks = [(_stack(plan, link), link.matrix) for link in links if link.spread] if training else []
    at_once = [(made_apart(n, matrix), matrix) for n, matrix in stacks]
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
    rows = plan.itemsize * (plan.batch or 1)
    arranged = plan.sweep is not None and plan.sweep.chain.arrange is not None
    for used in _carried(links, arranged=arranged, keep=training):
        yield still + rows * used, True
    if training:
        yield from ((still + used, True) for used in _carried_back(plan, links, rows))


def _carried(links: Sequence[Link], *, arranged: bool, keep: bool) -> Iterator[int]:
    """Entries per row while the whole batch is carried through each link, the output left out."""
    before = 0  # kept for the backward pass
    for k, link in enumerate(links):
        state = link.before * ((k > 0) + link.state.copies)
        yield before + state + (link.after if arranged or k < len(links) - 1 else 0)
        before += _saved(k, link) if keep else 0


def _saved(k: int, link: Link) -> int:
    """Entries per row that autograd keeps of a link's state, which is no copy only where it is the input."""
    return link.before if k > 0 or link.state.copies else 0


def _carried_back(plan: Lowered, links: Sequence[Link], rows: int) -> Iterator[int]:
    """Bytes while the gradient is carried back through each link, the last one first.

    In use are the states up to the link, the gradients of its result and its state, and those of all matrices so far.
    That of a matrix which a stack shares is one for each of the stack before it is one.
    """
    later = 0
    for k, link in reversed(list(enumerate(links))):
        states = sum(_saved(j, earlier) for j, earlier in enumerate(links[: k + 1]))
        coming = link.after if k < len(links) - 1 else 0
        going = link.before if k > 0 or link.state.copies else 0
        yield rows * (states + coming + going) + plan.itemsize * _stack(plan, link) * link.matrix + later
        later += plan.itemsize * link.matrix


def _stack(plan: Lowered, link: Link) -> int:
    """How many products of a link are added up to the gradient of its matrix."""
    batch = plan.batch or 1
    return link.sizes(batch, min(plan.chunk or batch, batch))[0] if link.spread else 1
