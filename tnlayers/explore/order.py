"""An order of contraction under way, as a value, so that picking, undoing and stepping give new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tnlayers.declare.graph import Contraction
from tnlayers.errors import TNLayersError
from tnlayers.explore.prices import DTYPE, Price, step_prices
from tnlayers.explore.stage import Stage, finished, rest, stage
from tnlayers.explore.subjects import Part
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import Plan
from tnlayers.program.axes import Path
from tnlayers.program.program import Multiply

HAND = "hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Pairs of registers for one network at one batch size, and how many of them are done.

    Attributes:
        part: The network.
        batch: The batch size.
        path: The pairs, perhaps not yet all that it takes.
        at: How many of them are done.
        by: The optimizer that the pairs come from, or "hand".
    """

    part: Part
    batch: int
    path: Path = ()
    at: int = 0
    by: str = HAND

    @property
    def contraction(self) -> Contraction:
        """What is computed."""
        return self.part.contraction(self.batch)

    @property
    def left(self) -> Stage:
        """What is left after the steps that are done."""
        return stage(self.contraction, self.path[: self.at])

    @property
    def complete(self) -> bool:
        """Whether the pairs contract everything."""
        return len(self.path) == len(self.contraction.operands) - 1

    @property
    def plan(self) -> Plan:
        """The whole order as a plan, for `layer.use_plan`.

        Raises:
            TNLayersError: If operands are left.
        """
        if not self.complete:
            names = ", ".join(stage(self.contraction, self.path).names)
            raise TNLayersError(
                f"This order is not complete: {names} are left. Contract them, or let the planner finish the order."
            )
        return Plan(
            contraction=self.contraction,
            path=self.path,
            dtype=DTYPE,
            found_by=self.by,
            title=self.part.title,
            features=self.part.features,
        )

    def picked(self, a: int, b: int) -> Order:
        """The order that contracts these two registers now, in place of everything that followed."""
        path = (*self.path[: self.at], (a, b))
        return replace(self, path=path, at=len(path), by=HAND)

    def undone(self) -> Order:
        """The order without the last pair that is done."""
        path = self.path[: max(self.at - 1, 0)]
        return replace(self, path=path, at=len(path), by=HAND)

    def at_step(self, at: int) -> Order:
        """The same order with so many steps done."""
        return replace(self, at=min(max(at, 0), len(self.path)))

    def finished(self, optimizer: Optimizer) -> Order:
        """The order whose further steps an optimizer finds, for what is left now.

        Example:
            >>> from tnlayers.explore.subjects import parts_of
            >>> (part,) = parts_of("mpo(in=2x2x2, out=2x2x2, bond=2)")
            >>> order = Order(part=part, batch=4).picked(1, 2)
            >>> order.finished("greedy").path[0], order.finished("greedy").complete
            ((1, 2), True)
        """
        left = self.left
        if len(left.registers) == 1:
            return self
        end = plan_contraction(rest(self.contraction, left), optimize=optimizer, dtype=DTYPE)
        path = finished(self.contraction, self.path[: self.at], left, end)
        return replace(self, path=path, by=HAND if self.at else str(optimizer))

    def prices(self) -> tuple[Price, ...]:
        """The price of each step that is done: what single operands settle alone first, then one per pair."""
        whole = self.finished("greedy").plan  # what a step costs does not depend on what follows
        pairs = [k for k, step in enumerate(whole.program.steps) if isinstance(step, Multiply)]
        return step_prices(whole)[: pairs[self.at - 1] + 1] if self.at else ()
