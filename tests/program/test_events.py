"""One list of a chain's events: what runs is what it says, event by event, and what is priced by it is frozen."""

import json
from dataclasses import astuple, replace
from math import prod

import pytest
from counting import CountingOps, Space, Strided, operands
from places import DATA
from specs import MARKET

import tnlayers as tnl
from tnlayers.machine.rates import GPU, Machine
from tnlayers.planning.memory import peak
from tnlayers.pricing.seconds import Estimator
from tnlayers.program.events import along, back
from tnlayers.program.sweep import propagate, propagate_back

BATCH = 6
STORED = DATA / "prices.json"


class Watching(CountingOps):
    """The primitives of a sweep, each call noted as (kind, sizes or entries)."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _product(self, kind, left, right):
        *stack, rows, summed = left.shape
        self.seen.append((kind, (prod(stack or right.shape[:-2]), rows, summed, right.shape[-1])))

    def matmul_into(self, out, left, right):
        self._product("product", left, right)
        return super().matmul_into(out, left, right)

    def add_product(self, total, left, right):
        self._product("sum", left, right)
        return super().add_product(total, left, right)

    def copy_into(self, out, array):
        self.seen.append(("copy", array.size))
        return super().copy_into(out, array)


def stated(events, rows):
    """Events as a sweep of some rows is to do them."""
    return [(e.kind, rows * e.written if e.kind == "copy" else e.at(rows)) for e in events]


def turned(event, added):
    """A state on the right that is viewed transposed: its product runs transposed, and is priced as if it did not."""
    if event.kind != "product" or event.again or not event.state_left or added.state_left:
        return event
    stack, rows, summed, columns = event.sizes
    return event._replace(sizes=(stack, columns, summed, rows), side=(0, 3, 2, 1)[event.side])


def in_order(stages):
    """The events of the way back as they run: first what is computed again, along the chain."""
    stages = [tuple(turned(event, stage[0]) for event in stage) for stage in stages]
    again = [event for stage in reversed(stages) for event in stage if event.again]
    return again + [event for stage in stages for event in stage if not event.again]


def run(plan, rows):
    """What a sweep of some rows does along, and on its way back."""
    sweep, (x, *cores) = plan.sweep, operands(plan)
    matrices = sweep.chain.prepare(CountingOps(), plan.program, cores)
    some = Strided.new(rows, x.size // BATCH)
    y = Strided.new(rows, sweep.chain.links[-1].after)
    forth, home = Watching(), Watching()
    propagate(forth, sweep, some, matrices, Space(rows, sweep.forward), y)
    totals = [Strided.new(*matrix.shape) for matrix in matrices]
    propagate_back(home, sweep, some, matrices, Space(rows, sweep.both), y, some, totals)
    return forth.seen, home.seen


def ways(text):
    """Plans with the batch carried through one core after the other, from either end, with stacks and without."""
    n = len(tnl.spec(text).graph.cores)
    for path in ([(0, n), *((0, n - k) for k in range(1, n))], [(0, 1), *((0, n - k) for k in range(1, n))]):
        for stacked in (True, False):
            yield replace(tnl.plan(text, BATCH, objective="training", optimize=path), stacked=stacked, chunk=4)


@pytest.mark.parametrize("name", MARKET)
def test_a_sweep_does_what_the_events_say(name):
    for plan in ways(MARKET[name]):
        chain = plan.sweep.chain
        for rows in (1, 4):
            forth, home = run(plan, rows)
            assert forth == stated((event for stage in along(chain, BATCH) for event in stage), rows), plan
            assert home == stated(in_order(back(chain, BATCH, again=True)), rows), plan


def test_the_comparison_sees_an_event_that_is_left_out_or_of_another_size():
    plan = next(ways(MARKET["mpo-3"]))
    forth, home = run(plan, 4)
    assert home != stated(in_order(back(plan.sweep.chain, BATCH, again=False)), 4)
    assert forth != stated((event for stage in along(plan.sweep.chain, BATCH) for event in stage), 3)


def prices():
    """All prices of some plans: by hand-made paths, so that they depend on no search."""
    pytest.importorskip("torch")
    from tnlayers.bench.limit import products_of

    names = ["mpo-4", "ring", "monarch", "three-open", "kronecker-4"]
    found = {}
    for name in names:
        for number, way in enumerate(ways(MARKET[name])):
            for objective in ("forward", "training", "inference"):
                for chunk in (None, 4):
                    plan = replace(way, objective=objective, chunk=chunk)
                    estimates = [
                        Estimator(plan.program, plan.part, 4, objective, rates).seconds(chunk).hex()
                        for rates in (Machine(), GPU, Machine(repeated_bytes_per_second=5e9))
                    ]
                    found[f"{name} {number} {objective} {chunk}"] = [
                        [*astuple(plan.cost), *astuple(plan.backward)],
                        [plan.memory, peak(plan), plan.workspace, plan.prepared],
                        estimates,
                        [[*product.sizes, product.shared, *product.parts, n] for product, n in products_of(plan)],
                    ]
    return found


def test_prices_are_those_of_before():
    """Frozen when the events became one list; seconds of inference when calls came to share what is prepared.

    `python tests/program/test_events.py` writes them anew.
    """
    stored, found = json.loads(STORED.read_text()), prices()
    assert stored.keys() == found.keys()
    for name, values in found.items():
        assert json.loads(json.dumps(values)) == stored[name], name


if __name__ == "__main__":
    rows = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in prices().items()]
    STORED.write_text("{\n" + ",\n".join(rows) + "\n}\n")
