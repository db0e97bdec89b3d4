// The explorer in a notebook: a shadow root of its own, and a kernel that answers by messages with numbers.

function connect(model, show) {
  const waiting = new Map();
  let count = 0;
  model.on("msg:custom", (message) => {
    show.busy(false);
    if (message.refused) show.refused(message.refused);
    else if (waiting.has(message.answers)) waiting.get(message.answers)(message);
    waiting.delete(message.answers);
  });
  return {
    ask(question, then) {
      count += 1;
      waiting.set(count, then);
      show.busy(true);
      model.send({ number: count, ...question });
    },
    tell(order) {
      model.set("order_on_view", { path: order.path, at: order.at, by: order.by });
      model.save_changes();
    },
  };
}

function render({ model, el }) {
  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  root.innerHTML = model.get("markup");
  const light = document.body.dataset.jpThemeLight;
  host.style.colorScheme = light === "false" ? "dark" : light === "true" ? "light" : "light dark";
  host.dataset.lmSuppressShortcuts = "true"; // JupyterLab keeps its keys to itself
  el.append(host);
  const refused = (text) => {
    adopt(); // the fields show again what is on view
    made.say(text);
  };
  const show = { refused, busy: (on) => root.getElementById("stage").classList.toggle("busy", on) };
  const made = mount(root, { dtype: model.get("dtype"), parts: [], batches: [] }, connect(model, show));
  function adopt() {
    if (model.get("view").network) made.adopt(model.get("view"));
  }
  model.on("change:view", adopt);
  model.on("change:order_from_python", () => made.setOrder(model.get("order_from_python").order, { quiet: true }));
  adopt();
  return () => host.remove();
}

export default { render };
