"""One cell: contenders made, checked against double precision, watched for memory, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from tnlayers.bench.cells import Cell
from tnlayers.bench.contenders import OWN, TUNED, ours
from tnlayers.bench.jax_rows import jax_makers, one_processor
from tnlayers.bench.limit import best_plan, limit
from tnlayers.bench.measure import DENSE, OURS, Timing, clock_for, interval, measure, ratio
from tnlayers.bench.peers import PEERS, installed
from tnlayers.bench.provenance import SEED
from tnlayers.bench.subjects import Given, Subject, torch_subject

Result = dict[str, Any]
Maker = Callable[[Cell, Given], Subject]

_GUESSED = 2e9  # flops of the dense layer from which on a contender is first tried with a few rows
_ROUGH = 2.0  # times the bound: a guess below is looked at again with the whole batch
_SLOW = 1 / 6  # of the cell's cap: a contender whose call takes longer is not timed, unless it is near ours
_NEAR = 2.0


def run_cell(cell: Cell, *, cap: float) -> Result:
    """Measure one cell.

    Args:
        cell: The cell.
        cap: Seconds of rounds.
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(cell.threads)
    given = Given(cell, {name: core.detach() for name, core in ours(cell).cores.items()})
    place: AbstractContextManager[None] = one_processor() if cell.framework == "jax" else nullcontext()
    with place:
        subjects, left_out, memory = _ready(cell, given, cap)
        timings = measure({n: s.call for n, s in subjects.items()}, threads=cell.threads, cap=cap, seed=SEED)
    found, plan = limit(cell), best_plan(cell)
    return {
        "cell": cell.to_dict(),
        "spec": str(cell.spec),
        "parameters": cell.spec.parameters,
        "limit": {
            "seconds": found.seconds,
            "products": found.products,
            "pages": found.pages,
            "moved": found.moved,
            "flops": found.flops,
            "bytes": found.bytes,
        },
        "plan": {
            "predicted_seconds": plan.seconds,
            "copied_bytes": sum(term.cost.copied for term in plan.terms),
            "chunks": [term.chunk for term in plan.terms],
            "links": sum(0 if term.sweep is None else len(term.sweep.chain.links) for term in plan.terms),
        },
        "contenders": {name: _numbers(timing, timings, memory[name]) for name, timing in timings.items()},
        "left_out": left_out,
    }


def makers(cell: Cell) -> dict[str, Maker]:
    """All contenders of a cell, by name, the dense layer and ours first."""
    if cell.framework == "jax":
        return jax_makers()
    peers = {} if cell.network else installed()
    by_clock = TUNED[cell.mode] if cell.drawn else {}
    return {name: partial(_torch_maker, name, make) for name, make in (OWN | peers | by_clock).items()}


def _torch_maker(name: str, make: Callable[[Cell], nn.Module], cell: Cell, given: Given) -> Subject:
    return torch_subject(name, make(cell), given)


def _ready(
    cell: Cell, given: Given, cap: float
) -> tuple[dict[str, Subject], dict[str, dict[str, Any]], dict[str, tuple[int, int]]]:
    """The contenders whose answers are right and that are not hopelessly slow; why others are not; memory of each."""
    subjects, left_out, memory = {}, {}, {}
    bound = _SLOW * cap
    for name, make in makers(cell).items():
        try:
            subject = make(cell, given)
            seconds, why = _tried(subject, given, float("inf") if name in (OURS, DENSE) else bound)
            if why is not None:
                left_out[name] = why
                continue
            if name == OURS:
                bound = max(bound, _NEAR * seconds)
            memory[name] = subject.memory()
            subject.call()  # what a look at the memory throws away is made again
            subjects[name] = subject
        except Exception as error:  # a library that cannot run a cell is reported, and ends nothing
            left_out[name] = {"why": "failed", "told": f"{type(error).__name__}: {str(error)[:200]}"}
    return subjects, left_out, memory


def _tried(subject: Subject, given: Given, bound: float) -> tuple[float, dict[str, Any] | None]:
    """Seconds of a call, and why a subject is not timed: it takes longer than the bound, or its answer is wrong."""
    clock = clock_for(given.cell.threads)
    guess = seconds = 0.0 if bound == float("inf") else _guess(subject, given.cell)
    if seconds <= _ROUGH * bound:
        begin = clock()
        answer = {} if subject.answer is None else subject.answer()
        seconds = clock() - begin
        if answer and not (units := given.units(answer)) <= 1:
            return seconds, {"why": "wrong", "told": f"its error is {units:.2g} times what rounding allows"}
        if seconds > bound and not guess:  # the first call may have loaded something: once more
            begin = clock()
            subject.call()
            seconds = clock() - begin
    slow = {"why": "slow", "told": f"about {seconds:.2g} s a call", "seconds": seconds}
    return seconds, slow if seconds > bound else None


def _guess(subject: Subject, cell: Cell) -> float:
    """About the seconds of a call, from calls with few rows; 0 where cells are small and it is quicker to see."""
    if cell.dense_flops < _GUESSED or cell.batch < 64:
        return 0.0
    clock, few, more = clock_for(cell.threads), cell.batch // 64, cell.batch // 32
    times = []
    for rows in (few, few, more):
        begin = clock()
        subject.rows(rows)
        times.append(clock() - begin)
    return times[2] + (cell.batch - more) * max(0.0, times[2] - times[1]) / (more - few)


def _numbers(timing: Timing, timings: dict[str, Timing], memory: tuple[int, int]) -> dict[str, Any]:
    return {
        "seconds": timing.median,
        "seconds_95": list(interval(timing.seconds.values(), seed=SEED)[1:]),
        "quartiles": list(timing.quartiles),
        "rounds": len(timing.seconds),
        "to_dense": list(ratio(timing, timings[DENSE], seed=SEED)) if DENSE in timings else None,
        "ours_to": list(ratio(timings[OURS], timing, seed=SEED)) if OURS in timings else None,
        "peak_bytes": memory[0],
        "kept_bytes": memory[1],
    }


def best_peer(result: Result) -> str | None:
    """The fastest other library of a cell; None where none was timed."""
    return _fastest(result, lambda name: name in PEERS)


def best_way(result: Result) -> str | None:
    """The fastest other way to run the same declaration without a peer: rebuilt, or as an einsum."""
    return _fastest(result, lambda name: name in OWN and name not in (OURS, DENSE))


def regret(result: Result) -> float | None:
    """Our time over that of the best plan that was measured, ours among them; None where none other was."""
    times = {name: c["ours_to"][0] for name, c in result["contenders"].items() if name in TUNED["forward"]}
    return max(1.0, *times.values()) if times else None


def _fastest(result: Result, wanted: Callable[[str], bool]) -> str | None:
    times = {name: c["seconds"] for name, c in result["contenders"].items() if wanted(name)}
    return min(times, key=lambda name: times[name]) if times else None


def summary(result: Result) -> str:
    """A cell in one line."""
    contenders = result["contenders"]
    if OURS not in contenders or DENSE not in contenders:
        return "; ".join(f"{name} {left['why']}: {left['told']}" for name, left in result["left_out"].items())
    own = contenders[OURS]
    text = f"{own['to_dense'][0]:.2f} of dense, {own['seconds'] / result['limit']['seconds']:.2f} of the limit"
    if (peer := best_peer(result)) is not None:
        text += f"; best peer {peer} takes {contenders[peer]['seconds'] / own['seconds']:.2f} times as long"
    return text + f"; {own['rounds']} rounds"
