"""The explorer in a notebook: ipywidgets around an `Order`, with the planner at hand for every choice.

What is shown is drawn anew from the order after each event; events change the order and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tnlayers.declare.keywords import checked
from tnlayers.declare.registry import network_types
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.explore.grid import bond_keyword, fitting, one_network, same_features
from tnlayers.explore.order import Order, planned
from tnlayers.explore.view import message_html, picture, steps_html, totals_html
from tnlayers.files.atomic import write_text
from tnlayers.planning.plan import Plan

try:
    import ipywidgets
except ImportError as error:
    raise TNLayersError(
        "The explorer in a notebook needs ipywidgets, which is not installed: pip install tnlayers[viz]. The page that "
        "`tnlayers explore SPEC -o page.html` writes needs nothing."
    ) from error

OPTIMIZERS = ("auto", "optimal", "dp", "greedy")


class Explorer(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The explorer of one layer; see `tnl.explore`.

    Attributes:
        order: The order on view.
        best: The planner's order for the same choices.
        chosen: The name of the operand picked first, None without.
    """

    def __init__(self, spec: str | Spec, batch: int = 1) -> None:
        self._own = one_network(spec)
        checked("batch", batch, per_edge=False)
        self.best = self.order = planned(self._own, batch, "auto")
        self.chosen: str | None = None
        self._quiet = False
        self._make_choices(batch)
        self.buttons = self._make_buttons()
        self.picks = ipywidgets.Box(layout={"flex_flow": "row wrap"})
        self.picture, self.totals, self.steps = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        self.file = ipywidgets.Text("order.json", description="file", layout={"width": "240px"})
        row = {"flex_flow": "row wrap"}
        super().__init__(
            [
                ipywidgets.Box([self.network, self.bond, self.batch, self.optimizer], layout=row),
                self.picture,
                ipywidgets.HTML("Choose two to contract them:"),
                self.picks,
                ipywidgets.Box([*self.buttons.values(), self.file], layout=row),
                self.message,
                ipywidgets.Box([self.totals, self.steps], layout=row | {"justify_content": "space-around"}),
            ]
        )
        self._show()

    @property
    def spec(self) -> Spec:
        """The network on view."""
        return self.order.spec

    @property
    def plan(self) -> Plan:
        """The order on view as a plan, for `layer.use_plan`.

        Raises:
            TNLayersError: If operands are left.
        """
        return self.order.plan

    def pick(self, name: str) -> None:
        """Choose an operand, or what a step left ("step 2"); the second choice contracts the two.

        Raises:
            TNLayersError: If nothing of that name is left.
        """
        left = self.order.left
        if name not in left.names:
            raise TNLayersError(f"There is no {name!r} to contract; left are {', '.join(left.names)}.")
        if self.chosen is None or self.chosen == name:
            self.chosen = name if self.chosen is None else None
            self._show()
            return
        first, second = (left.registers[left.names.index(each)] for each in (self.chosen, name))
        self._set(self.order.picked(first, second))

    def save(self) -> None:
        """Write the order on view to the file that is named, as JSON for `tnl.Plan.from_json`.

        Raises:
            TNLayersError: If operands are left, or the file cannot be written.
        """
        text = self.order.plan.to_json()
        try:
            write_text(Path(self.file.value), text)
        except OSError as error:
            raise TNLayersError(f"Cannot write {self.file.value!r}: {error.strerror or error}.") from error
        self.message.value = message_html(f"Saved {self.file.value}.")

    def _make_choices(self, batch: int) -> None:
        names = [kind.name for kind in network_types() if fitting(kind.name, self._own)]
        kept = {"layout": {"width": "200px"}}
        own = self._own.network
        self.network = ipywidgets.Dropdown(options=names, value=own, description="network", **kept)
        self.bond = ipywidgets.BoundedIntText(_bond(self._own), 1, 10**6, description="bond", **kept)
        self.batch = ipywidgets.BoundedIntText(batch, 1, 10**7, description="batch", **kept)
        self.optimizer = ipywidgets.Dropdown(options=OPTIMIZERS, description="optimizer", **kept)
        self.network.observe(lambda _: self._guarded(self._change_network), "value")
        self.bond.observe(lambda _: self._guarded(self._change_bond), "value")
        for each in (self.batch, self.optimizer):
            each.observe(lambda _: self._guarded(self._replan), "value")

    def _make_buttons(self) -> dict[str, Any]:
        actions: dict[str, Callable[[], None]] = {
            "Start": lambda: self._set(self.order.walked(0)),
            "Previous": lambda: self._set(self.order.walked(self.order.at - 1)),
            "Next": lambda: self._set(self.order.walked(self.order.at + 1)),
            "End": lambda: self._set(self.order.walked(len(self.order.path))),
            "Undo": lambda: self._set(self.order.undone()),
            "Reset": lambda: self._set(Order(spec=self.spec, batch=self.order.batch)),
            "Finish": lambda: self._set(self.order.finished(self.optimizer.value)),
            "Planner's order": lambda: self._set(self.best),
            "Save": self.save,
        }
        buttons = {}
        for name, action in actions.items():
            buttons[name] = ipywidgets.Button(description=name, layout={"width": "auto"})
            buttons[name].on_click(lambda _, action=action: self._guarded(action))
        buttons["Finish"].tooltip = "The planner's best steps for what is left"
        return buttons

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do what an event asks for; a refusal is shown, not raised where nobody would see it."""
        if self._quiet:
            return
        self.message.value = ""
        try:
            action()
        except TNLayersError as error:
            self.message.value = message_html(str(error))

    def _change_network(self) -> None:
        name = self.network.value
        made = same_features(name, self._own)
        self._quiet = True
        self.bond.value, self.bond.disabled = _bond(made), bond_keyword(name) is None
        self._quiet = False
        self._plan(made)

    def _change_bond(self) -> None:
        keyword = bond_keyword(self.spec.network)
        if keyword is not None:
            with warnings.catch_warnings():  # the spec that is shown tells of clipped bonds
                warnings.simplefilter("ignore", TNLayersWarning)
                self._plan(make_spec(self.spec, **{keyword: self.bond.value}))

    def _replan(self) -> None:
        """Another batch size or optimizer: an order picked by hand stays."""
        mine = self.order if self.order.by == "hand" else None
        self._plan(self.spec, mine)

    def _plan(self, spec: Spec, mine: Order | None = None) -> None:
        self.best = planned(spec, self.batch.value, self.optimizer.value)
        if mine is None:
            self._set(self.best)
        else:
            self._set(Order(spec=spec, batch=self.batch.value, path=mine.path, at=mine.at, by=mine.by))

    def _set(self, order: Order) -> None:
        self.order, self.chosen = order, None
        self._show()

    def _show(self) -> None:
        order = self.order
        self.picture.value = picture(order, self.chosen)._repr_html_()
        old, self.picks.children = self.picks.children, [self._pick_button(name) for name in order.left.names]
        for button in old:
            button.close()
        self.totals.value = totals_html(order, self.best)
        self.steps.value = steps_html(order)
        first, last = order.at == 0, order.at == len(order.path)
        off = {"Start": first, "Previous": first, "Next": last, "End": last, "Undo": first, "Save": not order.complete}
        for name, button in self.buttons.items():
            button.disabled = off.get(name, False)

    def _pick_button(self, name: str) -> Any:
        button = ipywidgets.ToggleButton(name == self.chosen, description=name, layout={"width": "auto"})
        button.observe(lambda _: self._guarded(lambda: self.pick(name)), "value")
        return button


def _bond(made: Spec) -> int:
    """The one number that the field for the bond shows: the largest, where a spec has one per bond."""
    graph = made.graph
    return max((graph.sizes[i] for i in graph.summed), default=1)
