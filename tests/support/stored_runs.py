"""The stored runs that docs/paper.md is made of, and a row of the paper that has several."""

from places import RESULTS

from tnlayers.reproduce.paper import Row
from tnlayers.reproduce.store import Store

STORE = Store(folder=RESULTS)
RUNS, STRUCTURE, STEPS = STORE.runs(), STORE.structure(), STORE.steps()
FC2 = Row(part="fig2", model="fc2", network="mpo(bond=8)", data="mnist", accuracy=(97.99, 0.18), at=8)
