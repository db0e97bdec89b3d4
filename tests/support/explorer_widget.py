"""The notebook's explorer in a browser without a notebook: its front end, with its kernel's messages carried over."""

import json

HARNESS = """<!doctype html><html><head><meta charset="utf-8"></head><body><div id="cell"></div>
<script type="module">
%s
const values = %s, listeners = {};
const fire = (name, ...rest) => (listeners[name] ?? []).forEach((listener) => listener(...rest));
window.sent = [];
window.kernel = {
  set(name, value) { values[name] = value; fire(`change:${name}`); },
  message(content) { fire("msg:custom", content); },
};
const model = {
  get: (name) => values[name], on: (name, listener) => (listeners[name] ??= []).push(listener),
  set: (name, value) => { values[name] = value; window.sent.push({ trait: name, value }); }, save_changes() {},
  send: (content) => window.sent.push({ content }),
};
shown.render({ model, el: document.getElementById("cell") });
</script></body></html>"""


class Cell:
    """A widget shown in a browser; `carry` takes what the browser sent to Python and the answers back."""

    def __init__(self, browser, widget, file, **look):
        self.browser, self.widget, self.answers = browser, widget, []
        program = widget._esm.replace("export default", "const shown =")
        traits = {name: getattr(widget, name) for name in ("markup", "dtype", "view")}
        file.write_text(HARNESS % (program, json.dumps(traits).replace("<", "\\u003c")))
        widget.send = lambda content, **_: self.answers.append(content)
        browser.open(file, **look)

    def carry(self):
        for sent in self.browser.ask("window.sent.splice(0)"):
            before = {name: getattr(self.widget, name) for name in ("view", "order_from_python")}
            if "trait" in sent:
                setattr(self.widget, sent["trait"], sent["value"])
            else:
                self.widget._answer(sent["content"])
            self.bring(before)

    def bring(self, before):
        """Show in the browser what Python has changed."""
        for name, value in before.items():
            if getattr(self.widget, name) != value:
                self.browser.ask(f"window.kernel.set({json.dumps(name)}, {json.dumps(getattr(self.widget, name))})")
        while self.answers:
            self.browser.ask(f"window.kernel.message({json.dumps(self.answers.pop(0))})")

    def ask(self, expression):
        """The value of an expression in which `root` is the explorer's shadow root."""
        return self.browser.ask(f"(root => {expression})(document.querySelector('#cell > div').shadowRoot)")

    def click(self, selector):
        x, y = self.ask(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})(root.querySelector({json.dumps(selector)}))"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)
        self.carry()

    def choose(self, name, value):
        self.ask(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }})"
            f"(root.getElementById({json.dumps(name)}))"
        )
        self.carry()
