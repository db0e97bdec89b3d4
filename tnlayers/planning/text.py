"""A plan as text: the contraction tree with the price of each step, and totals beside the dense layer."""

from __future__ import annotations

from collections.abc import Iterator

from tnlayers.planning.priced import Priced
from tnlayers.planning.slices import pieces
from tnlayers.pricing.counts import Cost
from tnlayers.pricing.limits import PREPARED_LIMIT
from tnlayers.program.program import Arrange, Multiply

_MINIMISED = {"forward": "the forward pass", "inference": "inference", "training": "a training step"}


def print_plan(plan: Priced) -> str:
    """The whole text. Flops and bytes are those of the forward pass; "saved" is what the backward pass needs."""
    batch = "" if plan.batch is None else f", batch {plan.batch}"
    lines = [f"{plan.title or 'einsum'}{batch}, {plan.dtype}; {order_text(plan)}"]
    rows = list(_rows(plan))
    width = max(len(text) for text, _ in rows)
    lines.append(f"{'':{width}}  {'flops':>9} {'bytes':>9} {'copied':>9} {'result':>9} {'saved':>9}")
    lines += [f"{text:{width}}{_prices(cost)}" for text, cost in rows]
    lines.append(f"{'total':{width}}{_prices(plan.cost)}")
    if plan.dense is not None:
        lines.append(f"{'dense layer':{width}}{_prices(plan.dense)}")
        lines.append(_verdict(plan, plan.dense))
    lines += _execution(plan)
    return "\n".join(line.rstrip() for line in lines)


def order_text(plan: Priced) -> str:
    """How the contraction order was found, and what it makes cheap."""
    found = "order as given" if plan.found_by == "given" else f"order found by {plan.found_by!r}"
    return f"{found}, minimising {_MINIMISED[plan.objective]}"


def beside_dense(cost: Cost, dense: Cost, layer: str = "layer") -> str:
    """A contraction's flops and bytes as multiples of the dense one's."""
    return f"{cost.flops / dense.flops:.3g}x the dense {layer}'s flops, {cost.bytes / dense.bytes:.3g}x its bytes"


def _verdict(plan: Priced, dense: Cost) -> str:
    text = beside_dense(plan.cost, dense)
    if plan.objective == "training":
        text += f"; a training step takes {amount(plan.flops)} flops ({amount(3 * dense.flops)} dense)"
    return text + "."


def _execution(plan: Priced) -> Iterator[str]:
    """The chunks of the batch, what the backward pass takes, and the memory in use."""
    if plan.sweep is None:
        return
    if plan.chunk is None:
        yield f"All rows at once; at most {amount(plan.memory)} bytes in use beyond input, output and cores."
    else:
        again = "; states are computed again in the backward pass" if plan.objective == "training" else ""
        yield (
            f"{_in_parts(plan)}In chunks of {plan.chunk} rows through {amount(plan.workspace)} bytes used again and "
            f"again{again}; at most {amount(plan.memory)} bytes in use beyond input, output and cores."
        )
    if plan.objective == "training":
        cost = plan.backward
        yield f"Backward: {amount(cost.flops)} flops, {amount(cost.bytes)} bytes, {amount(cost.copied)} of them copies."
    if plan.objective == "inference" and not plan.slices:  # each piece is prepared anew
        is_cached = plan.prepared <= PREPARED_LIMIT
        words = "Kept between calls, while the cores stay as they are" if is_cached else "Made anew in every call"
        yield f"{words}: {amount(plan.prepared)} bytes."


def _in_parts(plan: Priced) -> str:
    """Which sums are taken in parts."""
    if not plan.slices:
        return ""
    sums = " and ".join(f"{parts} of {_ends(plan, index)}" for index, parts in plan.slices)
    return f"Summed in {pieces(plan.slices)} parts one after the other, {sums}. "


def _ends(plan: Priced, index: int) -> str:
    c = plan.contraction
    names = [name for name, indices in zip(c.names, c.operands, strict=True) if index in indices]
    return f"bond {' - '.join(names)} ({c.sizes[index]})"


def _rows(plan: Priced) -> Iterator[tuple[str, Cost | None]]:
    """Depth first from the result: the step's equation, then its operands below it."""
    program = plan.program
    last = program.operands + len(program.steps) - 1

    def descend(register: int, lead: str, below: str) -> Iterator[tuple[str, Cost | None]]:
        if register < program.operands:
            name, indices = plan.contraction.names[register], plan.contraction.operands[register]
            sizes = "x".join(str(plan.contraction.sizes[i]) for i in indices)
            yield f"{lead}{name} ({sizes})", None
            return
        step = program.steps[register - program.operands]
        parts = [program.indices[k] for k in (*step.registers, register)]
        number = register - program.operands + 1
        kind = "" if isinstance(step, Multiply) else " reorder" if isinstance(step, Arrange) else " reduce"
        text = f"{lead}{number}{kind}: {plan.contraction.equation(*parts)}"
        yield text, plan.steps[register - program.operands]
        for k, child in enumerate(step.registers):
            final = k == len(step.registers) - 1
            yield from descend(child, below + ("└─ " if final else "├─ "), below + ("   " if final else "│  "))

    yield from descend(last, "", "")


def _prices(cost: Cost | None) -> str:
    if cost is None:
        return ""
    numbers = (cost.flops, cost.bytes, cost.copied, cost.result, cost.kept)
    return "  " + " ".join(f"{amount(number):>9}" for number in numbers)


def amount(number: int) -> str:
    """A count with three digits and a decimal prefix: 12_345_678 is "12.3 M"."""
    value = float(number)
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.0f}" if not prefix else f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:.3g} E"


def time_text(seconds: float) -> str:
    """Seconds with three digits and a unit: 6.13e-5 is "61.3 us"."""
    for unit, size in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
