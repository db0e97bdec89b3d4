"""The explorer in a notebook's cell, in a real browser: clicks and keys reach Python, and Python the picture."""

import chromium
import pytest
from explorer_page import SPEC
from explorer_widget import Cell

import tnlayers as tnl

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium here: apt install chromium"),
]


class TestNotebook:
    """The same front end in a shadow root, with a live kernel behind it."""

    @pytest.fixture
    def cell(self, browser, tmp_path):
        browser.errors.clear()
        yield Cell(browser, tnl.explore(SPEC, batch=128), tmp_path / "cell.html")
        assert browser.errors == []

    def names(self, cell):
        return cell.ask("[...root.querySelectorAll('#diagram .operand')].map(node => node.dataset.name)")

    def test_clicks_reach_python(self, cell):
        cell.click("#reset")
        for name in ("core_3", "core_2", "x", "core_0"):
            cell.click(f"[data-name='{name}']")
        assert cell.widget.order.path == ((4, 3), (0, 1))
        cell.click("#finish")
        assert cell.widget.order.complete
        assert cell.ask("root.getElementById('position').textContent") == "step 2 of 4"
        cell.click("#last")
        assert self.names(cell) == ["step 4"]
        assert cell.widget.plan.path[:2] == ((4, 3), (0, 1))

    def test_python_reaches_the_picture(self, cell):
        before = {name: getattr(cell.widget, name) for name in ("view", "order_from_python")}
        cell.widget.reset()
        for name in ("x", "core_1"):
            cell.widget.pick(name)
        cell.bring(before)
        assert self.names(cell) == ["core_0", "core_2", "core_3", "step 1"]

    def test_choices_are_planned_live_and_refusals_are_shown(self, cell):
        cell.choose("batch", "1")
        cell.choose("network", "ring")
        assert cell.widget.plan == tnl.plan(cell.widget.plan.title, 1)
        assert cell.ask("root.getElementById('spec').textContent").startswith("ring(in=4x7x7x4")
        cell.click("#askAxis")
        assert cell.ask("root.querySelectorAll('#axis circle').length") == 13
        cell.widget._answer({"number": 99, "ask": "plan", **cell.widget.choices, "optimizer": "none"})
        cell.bring({})
        assert "no optimizer of this name" in cell.ask("root.getElementById('message').textContent")

    def test_keys_stay_in_the_cell(self, cell):
        cell.browser.ask("document.addEventListener('keydown', () => (window.leaked = true))")
        cell.ask("root.querySelector('[data-name=x]').focus()")
        cell.browser.key("ArrowRight")
        cell.carry()
        assert cell.widget.order.at == 1
        assert cell.browser.ask("window.leaked") is None
