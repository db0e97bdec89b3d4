"""The explorer in a notebook: the page's own front end, with a live kernel behind it, by anywidget.

The front end asks by messages, each with a number, and Python answers with the number. What is shown is the value of
two traits: `view`, a network with its plan, and `order_on_view`, the order under way. The planner is at hand for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from html import escape
from pathlib import Path
from typing import Any

from tnlayers.declare.keywords import checked
from tnlayers.declare.registry import network_types
from tnlayers.errors import TNLayersError, did_you_mean
from tnlayers.explore.data import choice_data, page_data
from tnlayers.explore.grid import BATCHES, BONDS, Choice, Grid, at_bond, fitting, of_spec, own_bond, same_features
from tnlayers.explore.order import HAND, Order
from tnlayers.explore.page import file_text, page, script, style
from tnlayers.explore.prices import DTYPE
from tnlayers.explore.questions import LIMITS, OBJECTIVES, Question, answer, axis_data, planned
from tnlayers.explore.searches import choices as optimizers
from tnlayers.explore.subjects import Part, parts_of
from tnlayers.files.atomic import write_text
from tnlayers.planning.plan import Plan

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise TNLayersError(
        "The explorer in a notebook needs anywidget, which is not installed: pip install tnlayers[viz]. The page that "
        "tnl.explore(spec, path='page.html') and `tnlayers explore SPEC -o page.html` write needs nothing."
    ) from error

_CHOICES = ("part", "network", "bond", "batch", "optimizer", "objective", "limit")
_STATIC_HEIGHT = 1500  # pixels of the page that replaces the widget where no kernel is


class Explorer(anywidget.AnyWidget):
    """The explorer of whatever `tnl.explore` takes.

    Attributes:
        order: The order on view.
        best: The planner's plan for the same choices.
        chosen: The name of the operand picked first, None without.
        choices: What is chosen, by name: part, network, bond, batch, optimizer, objective, limit.
    """

    _esm = script() + "\n" + file_text("widget.js")
    markup = traitlets.Unicode(f"<style>{style()}</style>{file_text('explorer.html')}").tag(sync=True)
    dtype = traitlets.Unicode(DTYPE).tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    order_on_view = traitlets.Dict().tag(sync=True)
    order_from_python = traitlets.Dict().tag(sync=True)

    def __init__(self, thing: Any, shapes: Sequence[Sequence[int]] | None = None, *, batch: int = 1) -> None:
        self._parts = {part.name: part for part in parts_of(thing, shapes)}
        checked("batch", batch, per_edge=False)
        super().__init__()
        first = next(iter(self._parts.values()))
        self.chosen: str | None = None
        self._part = first
        self._asked = Question(batch=batch, ranked=True)
        self._updates = 0
        self.observe(self._order_of_browser, "order_on_view")
        self.on_msg(lambda _, message, __: self._answer(message))
        self._show(first, self._asked)

    @property
    def choices(self) -> dict[str, Any]:
        """What is chosen, by name."""
        part, asked = self._part, self._asked
        return {"part": part.name, "network": part.network, "bond": own_bond(part), "batch": asked.batch} | {
            name: getattr(asked, name) for name in _CHOICES[4:]
        }

    @property
    def plan(self) -> Plan:
        """The order on view as a plan, for `layer.use_plan`: the planner's own as it found it.

        Raises:
            TNLayersError: If operands are left.
        """
        return self.best if self.order.path == self.best.path else self.order.plan

    def choose(self, **choices: Any) -> None:
        """Choose as the fields above the diagram do; an order picked by hand stays for another batch or optimizer.

        Args:
            **choices: Any of part, network, bond, batch, optimizer, objective and limit. A bond and a batch size may
                be any number here.

        Raises:
            TNLayersError: If there is no such choice, or no plan for it.
        """
        for name in choices:
            if name not in _CHOICES:
                raise TNLayersError(
                    f"There is no choice {name!r} in the explorer.{did_you_mean(name, _CHOICES)} It has "
                    f"{', '.join(_CHOICES)}."
                )
        wanted = self.choices | choices
        if wanted["part"] not in self._parts:
            raise TNLayersError(f"There is no part {wanted['part']!r}; there are {', '.join(map(repr, self._parts))}.")
        part = self._chosen_part(wanted, moved="part" in choices)
        checked("batch", wanted["batch"], per_edge=False)
        named = {name: wanted[name] for name in _CHOICES[3:]}
        self._show(part, Question(**named, ranked=True), keep=self.order if self.order.by == HAND else None)

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
            return
        first, second = (left.registers[left.names.index(each)] for each in (self.chosen, name))
        self._set(self.order.picked(first, second))

    def walk(self, at: int) -> None:
        """Carry out so many steps of the order on view."""
        self._set(self.order.at_step(at))

    def undo(self) -> None:
        """Take the last pair back."""
        self._set(self.order.undone())

    def reset(self) -> None:
        """Begin an order of your own."""
        self._set(replace(self.order, path=(), at=0, by=HAND))

    def finish(self) -> None:
        """Let the planner find the best steps for what is left."""
        self._set(self.order.finished(self._asked.optimizer if self._asked.optimizer != "cotengra" else "auto"))

    def save(self, path: str | Path) -> None:
        """Write the order on view as JSON, for `tnl.Plan.from_json`.

        Raises:
            TNLayersError: If operands are left, or the file cannot be written.
        """
        text = self.plan.to_json()
        try:
            write_text(Path(path), text)
        except OSError as error:
            raise TNLayersError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error

    def _chosen_part(self, wanted: dict[str, Any], *, moved: bool) -> Part:
        """The network that is chosen; another part begins with its own type and bond."""
        own = self._parts[wanted["part"]]
        if moved or own.spec is None:
            return own
        part, bond = self._part, str(wanted["bond"])
        if wanted["network"] != part.network:
            same = wanted["network"] == own.network
            return own if same else of_spec(same_features(wanted["network"], own.spec), own.name)
        if bond == own_bond(part):
            return part
        if part.network == own.network and bond == own_bond(own):
            return own
        if not bond.isdecimal() or int(bond) < 1:
            raise TNLayersError(f"bond={wanted['bond']!r}: one positive integer is needed, for all bonds.")
        return at_bond(part, int(bond))

    def _show(self, part: Part, asked: Question, keep: Order | None = None) -> None:
        """Plan, and show the planner's order, or the one that is kept where it fits."""
        best = planned(part, asked)  # refused before anything changes
        sent = choice_data(Choice(own_bond(part), part, 0), [asked])
        self._part, self._asked, self.best, self.chosen = part, asked, best, None
        sent["plans"] += self._passes(part, asked)
        same = keep is not None and keep.contraction.operands == best.contraction.operands
        by = HAND if same else asked.optimizer
        path, at = (keep.path, keep.at) if keep is not None and same else (best.path, 0)
        self.order = Order(part=part, batch=asked.batch, path=path, at=at, by=by)
        self.view = {
            "network": sent,
            "plan": sent["plans"][0],
            "choices": self.choices,
            "offered": self._offered(),
            "order": self._order(),
        }

    def _passes(self, part: Part, asked: Question) -> list[dict[str, Any]]:
        """The planner's plans for the other objectives, of which the front end shows the price."""
        if part.einsum is not None:
            return []
        others = [name for name in OBJECTIVES if name != asked.objective or asked.limit != "none"]
        return [answer(part, Question(batch=asked.batch, objective=name)) for name in others]

    def _offered(self) -> dict[str, list[Any]]:
        part, own = self._part, self._parts[self._part.name]
        kinds = [part.network]
        if own.spec is not None:
            made = own.spec
            kinds = [kind.name for kind in network_types() if fitting(kind.name, made)]
        mine = own_bond(part)
        bonds = [mine, *map(str, BONDS), *([own_bond(own)] if own.network == part.network else [])] if mine else [""]
        layer = part.einsum is None
        return {
            "part": list(self._parts),
            "network": kinds,
            "bond": list(dict.fromkeys(bonds)),
            "batch": sorted({*BATCHES, self._asked.batch}) if layer else [self._asked.batch],
            "optimizer": list(optimizers(len(self.best.contraction.operands))),
            "objective": list(OBJECTIVES) if layer else ["forward"],
            "limit": ["none", *LIMITS] if layer else ["none"],
        }

    def _order(self) -> dict[str, Any]:
        by = HAND if self.order.by == HAND else "planner"
        return {"path": [list(pair) for pair in self.order.path], "at": self.order.at, "by": by}

    def _set(self, order: Order) -> None:
        self.order, self.chosen = order, None
        self._updates += 1  # an order that equals the last one is shown again too
        self.order_from_python = {"order": self._order(), "number": self._updates}

    def _order_of_browser(self, change: Any) -> None:
        sent = change["new"]
        path = tuple((int(a), int(b)) for a, b in sent["path"])
        by = HAND if sent["by"] == HAND else self._asked.optimizer
        self.order = replace(self.order, path=path, at=int(sent["at"]), by=by)

    def _answer(self, message: dict[str, Any]) -> None:
        """What the front end asks for; a refusal is shown, not raised where nobody would see it."""
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "plan": self._answer_plan,
            "axis": lambda _: {"axis": axis_data(self._part, self._asked.objective)},
            "finish": self._answer_finish,
            "measure": self._answer_measure,
        }
        number = message.get("number")
        try:
            self.send({"answers": number} | answers[message["ask"]](message))
        except TNLayersError as error:
            self.send({"answers": number, "refused": str(error)})

    def _answer_plan(self, message: dict[str, Any]) -> dict[str, Any]:
        now = self.choices
        self.choose(**{name: message[name] for name in _CHOICES if message[name] != now[name]})
        return {}  # `view` has changed, and shows it

    def _answer_finish(self, _: dict[str, Any]) -> dict[str, Any]:
        self.finish()
        return {"order": self._order()}

    def _answer_measure(self, message: dict[str, Any]) -> dict[str, Any]:
        found = self.plan.measure(str(message["backend"]))
        return {"rows": [asdict(row) for row in found.rows]}

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for places without a kernel the page of what it begins with."""
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data:
            grid = Grid(
                choices=(Choice(own_bond(self._part), self._part, 1),),
                batches=(self._asked.batch,),
                optimizers=("auto",),
            )
            static = page(page_data(grid))
            data["text/html"] = (
                f'<iframe srcdoc="{escape(static)}" title="Contractions" loading="lazy" '
                f'style="width:100%;height:{_STATIC_HEIGHT}px;border:0"></iframe>'
            )
        return bundle
