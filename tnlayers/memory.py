"""How much memory a plan holds: what it prepares from the cores, what chunks run in, and the most it has at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.slices import copied_cores, pieces

if TYPE_CHECKING:
    from tnlayers.chain import Chain
    from tnlayers.plan import Plan

# A larger workspace is let go of after use: it would not stay in any cache, and nobody expects a layer to keep it.
KEPT_BYTES = 2**26

# What inference keeps prepared from the cores, in bytes: a float32 weight of 4096 x 4096. More is made at every call.
PREPARED_LIMIT = 2**26


def workspace(plan: Plan) -> int:
    """Bytes of memory that chunks run in; it is used again by every call and every layer."""
    if plan.sweep is None or plan.chunk is None:
        return 0
    links, training = plan.sweep.chain.links, plan.objective == "training"
    entries = plan.sweep.both if training else plan.sweep.forward
    if plan.slices:  # results of a piece are added to those before: to the output, and to the input's gradient
        entries = max(entries + links[0].before if training else 0, plan.sweep.forward + links[-1].after)
    return plan.itemsize * min(plan.chunk, plan.batch or 1) * entries


def prepared(plan: Plan) -> int:
    """Bytes of the matrices that the batch is carried through, where they are not views of cores."""
    return 0 if plan.sweep is None else prepared_bytes(plan.sweep.chain, plan.program.operands, plan.itemsize)


def prepared_bytes(chain: Chain, operands: int, itemsize: int) -> int:
    """Bytes of a chain's matrices that are no views of the program's operands."""
    made = (link for link in chain.links if link.core[1].copies or link.core[0] >= operands)
    return itemsize * sum(link.matrix for link in made)


def memory(plan: Plan) -> int:
    """Bytes that a plan uses at most, beyond input, output, cores and their gradients."""
    training = plan.objective == "training"
    links = () if plan.sweep is None else plan.sweep.chain.links
    linked = {link.step for link in links}
    count = pieces(plan.slices)
    steps = [cost for k, cost in enumerate(plan.steps) if k not in linked]
    made = sum(cost.result for cost in steps)
    made += plan.itemsize * sum(link.matrix for link in links if link.core[1].copies)
    copies = sum(cost.copied // count // 2 for cost in steps)
    gradients = plan.itemsize * sum(link.matrix for link in links) if training else 0
    if plan.slices:
        cores = sum(plan.part.elements(indices) for indices in plan.contraction.operands[1:])
        made += plan.itemsize * (copied_cores(plan) + (cores if training else 0))
    if plan.chunk is not None:  # gradients twice: the totals of all chunks, and the sum that autograd makes
        return made + copies + 2 * gradients + plan.workspace
    rows = plan.itemsize * (plan.batch or 1)
    before = [link.before * (2 if link.state.copies else int(k > 0)) for k, link in enumerate(links)]
    after = [link.after if k < len(links) - 1 else 0 for k, link in enumerate(links)]
    if training:
        kept = sum(n for n, link in zip(before, links, strict=True) if n)
        # Copies made on the way to a matrix are gone when its gradient comes.
        return made + max(copies, gradients) + rows * (kept + max(before, default=0))
    return made + copies + rows * max((a + b for a, b in zip(before, after, strict=True)), default=0)
