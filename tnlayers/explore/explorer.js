// The page: what is chosen, the order on view, and everything that is shown of them. One function, `show`, draws it all
// anew from the state after each event.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { network: null, sizes: null, plan: null, order: null, chosen: null, discs: new Map() };
const itemsize = ITEMSIZES[data.dtype];

function fill(select, values, wanted) {
  const kept = values.map(String).includes(wanted) ? wanted : String(values[0]);
  select.replaceChildren(...values.map((value) => new Option(value, value)));
  select.value = kept;
}

// Read the choices: which network with which sizes, and its plan. Choices that go together stay where they can.
function choose({ keepOrder = false } = {}) {
  const kind = data.networks.find(({ name }) => name === byId("network").value);
  fill(byId("bond"), kind.bonds.map(({ bond }) => bond), byId("bond").value);
  const network = kind.bonds.find(({ bond }) => bond === byId("bond").value);
  const batch = Number(byId("batch").value);
  const plans = network.plans.filter((plan) => plan.batch === batch);
  fill(byId("optimizer"), plans.map(({ optimizer }) => optimizer), byId("optimizer").value);
  const sameOrder = keepOrder && state.order?.by === "hand" && network === state.network;
  state.network = network;
  state.sizes = network.sizes.map((size, index) => (index === network.batch_index ? batch : size));
  state.plan = plans.find(({ optimizer }) => optimizer === byId("optimizer").value);
  setOrder(sameOrder ? state.order : start(state.plan.path, "planner"), { still: true });
}

function setOrder(order, { still = false } = {}) {
  if (still) state.discs = new Map();
  state.order = order;
  state.chosen = null;
  show();
}

const stepsOf = (path) => priced(state.network, state.sizes, path, itemsize);
const complete = () => state.order.path.length === Object.keys(state.network.operands).length - 1;

// The price of contracting two of the things that are left.
function offer(a, b) {
  const path = [...state.order.path.slice(0, state.order.at), [a, b]];
  return stepsOf(path).at(-1);
}

function pick(register) {
  const things = left(state.network, state.order);
  if (things.length < 2) return;
  if (state.chosen === null || state.chosen === register) {
    state.chosen = state.chosen === null ? register : null;
    show();
    return;
  }
  setOrder(picked(state.order, [state.chosen, register]));
}

function showDiagram() {
  const things = left(state.network, state.order);
  const offers = new Map();
  if (state.chosen !== null) {
    for (const { register } of things) {
      if (register !== state.chosen) offers.set(register, amount(offer(state.chosen, register).flops));
    }
  }
  const focused = document.activeElement?.dataset?.register;
  const suggested = state.chosen === null ? (state.order.path[state.order.at] ?? []) : [];
  const scene = { network: state.network, sizes: state.sizes, things, chosen: state.chosen, suggested, offers };
  state.discs = drawDiagram(byId("diagram"), scene, state.discs);
  if (focused !== undefined) {
    const operands = [...byId("diagram").querySelectorAll(".operand")];
    (operands.find(({ dataset }) => dataset.register === focused) ?? operands.at(-1)).focus(); // merged: to what it became
  }
  hint(things);
}

function hint(things) {
  const name = (register) => things.find((thing) => thing.register === register)?.name;
  const next = state.order.path[state.order.at];
  byId("hint").textContent =
    state.chosen !== null ? `${name(state.chosen)} with …? Choose the second operand; in each stand the flops it would take.`
      : things.length === 1 ? "All contracted: this is the layer's output."
        : next ? `Next: ${next.map(name).join(" with ")}. Or click two operands to go another way.`
          : "Click two operands to contract them.";
}

function describePair(a, b) {
  const step = offer(a, b);
  return `${amount(step.flops)} flops, ${byteText(step.bytes)} moved; the result takes ${byteText(step.result)}, with ` +
    `${byteText(step.memory)} of intermediates alive.`;
}

const cell = (text, name = "") => Object.assign(document.createElement("td"), { textContent: text, className: name });
const head = (text) => Object.assign(document.createElement("th"), { textContent: text, scope: "col" });

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function times(count, other) {
  if (count === 0n || other === 0n) return "";
  const ratio = Number(count) / Number(other);
  return ratio > 0 && ratio < 0.001 ? "× < 0.001" : `× ${Number(ratio.toPrecision(3))}`;
}

function showTotals() {
  const steps = stepsOf(state.order.path.slice(0, state.order.at));
  const [shown, planned] = [totals(steps), totals(stepsOf(state.plan.path))];
  const dense = densePrice(state.network.features, state.plan.batch, itemsize);
  const done = complete() && state.order.at === state.order.path.length;
  byId("whose").textContent = state.order.by === "hand" ? "Your order beside the planner's" : "The planner's order";
  const rows = [["flops", "flops", amount], ["bytes moved", "bytes", byteText],
    ["largest intermediate", "largest", byteText], ["memory at once", "memory", byteText]];
  const title = row(head(""), head(done ? "on view" : "so far"), head("planner's"), head("ratio"), head("dense layer"));
  byId("totals").replaceChildren(title, ...rows.map(([name, field, told]) => {
    const ratio = cell(times(shown[field], planned[field]),
      shown[field] > planned[field] ? "more" : shown[field] < planned[field] && done ? "less" : "");
    const made = row(cell(name), cell(told(shown[field])), cell(told(planned[field])), ratio, cell(told(dense[field])));
    made.dataset.field = field;
    made.children[1].title = `${shown[field]}`;
    made.children[2].title = `${planned[field]}`;
    return made;
  }));
  const { found_by: by, chunk, copied, memory, seconds } = state.plan;
  byId("python").textContent = `The planner's order was found by ${by}. As Python lays it out it ` +
    (copied ? `copies ${byteText(copied)}` : "copies nothing") +
    (chunk ? `, walks the batch in chunks of ${chunk} rows` : ", takes all rows at once") +
    `, has ${byteText(memory)} in use beyond input, output and cores, and takes an estimated ${timeText(seconds)}.`;
}

function timeText(seconds) {
  const [value, unit] = seconds < 1e-3 ? [seconds * 1e6, "µs"] : seconds < 1 ? [seconds * 1e3, "ms"] : [seconds, "s"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

function showSteps() {
  const steps = stepsOf(state.order.path);
  const names = Object.keys(state.network.operands);
  const name = (register) => names[register] ?? `step ${register - names.length + 1}`;
  const most = totals(steps);
  const top = { flops: most.flops, bytes: steps.reduce((top, step) => (step.bytes > top ? step.bytes : top), 1n), memory: most.memory };
  const bar = (text, step, field) => {
    const made = cell(text);
    const inner = Object.assign(document.createElement("span"), { className: `bar ${field}` });
    inner.style.width = `${Math.max((100 * Number(step[field])) / Math.max(Number(top[field]), 1), 1)}%`;
    made.append(inner);
    return made;
  };
  const header = document.createElement("thead");
  header.append(row(head("step"), head("contracts"), head("result"), head("flops"), head("bytes moved"), head("memory at once")));
  const body = document.createElement("tbody");
  for (const step of steps) {
    const jump = document.createElement("button");
    jump.textContent = step.pair === undefined ? "first" : step.pair + 1;
    jump.title = "Show the network after this step";
    jump.onclick = () => setOrder(walked(state.order, (step.pair ?? -1) + 1));
    const first = cell("");
    first.append(jump);
    const shape = shapeText(step.indices.map((index) => state.sizes[index]));
    const made = row(first, cell(step.pair === undefined ? `${name(step.alone)} alone` : step.reads.map(name).join(" · ")),
      cell(shape), bar(amount(step.flops), step, "flops"), bar(byteText(step.bytes), step, "bytes"),
      bar(byteText(step.memory), step, "memory"));
    made.className = (step.pair ?? -1) < state.order.at ? "done" : "";
    if (step.pair === state.order.at - 1) made.classList.add("now");
    body.append(made);
  }
  if (!steps.length) body.append(row(cell("none yet")));
  byId("steps").replaceChildren(header, body);
}

function showButtons() {
  const { path, at, by } = state.order;
  byId("first").disabled = byId("previous").disabled = at === 0;
  byId("last").disabled = byId("next").disabled = at === path.length;
  byId("undo").disabled = at === 0;
  byId("reset").disabled = by === "hand" && path.length === 0;
  byId("planner").disabled = by === "planner";
  byId("save").disabled = !complete();
  byId("position").textContent = `step ${at} of ${Object.keys(state.network.operands).length - 1}`;
}

function show() {
  byId("spec").textContent = `${state.network.spec}, ${state.network.parameters.toLocaleString("en")} parameters`;
  showDiagram();
  showTotals();
  showSteps();
  showButtons();
}

function orderJson() {
  const by = state.order.by === "hand" ? "hand" : state.plan.found_by;
  return planJson(data, state.network, state.sizes, state.order, by);
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([orderJson()], { type: "application/json" }));
  link.download = `order-${byId("network").value}-batch-${state.plan.batch}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

const ACTIONS = {
  first: () => setOrder(walked(state.order, 0)),
  previous: () => setOrder(walked(state.order, state.order.at - 1)),
  next: () => setOrder(walked(state.order, state.order.at + 1)),
  last: () => setOrder(walked(state.order, state.order.path.length)),
  undo: () => setOrder(undone(state.order)),
  reset: () => setOrder(start([], "hand")),
  planner: () => setOrder(start(state.plan.path, "planner")),
  save,
};
const KEYS = { Home: "first", ArrowLeft: "previous", ArrowRight: "next", End: "last", u: "undo", r: "reset", p: "planner", s: "save" };

for (const [id, action] of Object.entries(ACTIONS)) byId(id).onclick = action;
for (const id of ["network", "bond"]) byId(id).onchange = () => choose();
for (const id of ["batch", "optimizer"]) byId(id).onchange = () => choose({ keepOrder: true });
byId("theme").onchange = () => (document.documentElement.style.colorScheme = byId("theme").value);
byId("choices").onsubmit = (event) => event.preventDefault();

const registerAt = (event) => event.target.closest?.(".operand")?.dataset.register;
byId("diagram").addEventListener("click", (event) => {
  const register = registerAt(event);
  if (register !== undefined) pick(Number(register));
});
for (const kind of ["mouseover", "focusin"]) {
  byId("diagram").addEventListener(kind, (event) => {
    const register = Number(registerAt(event) ?? state.chosen);
    if (state.chosen !== null && register !== state.chosen) byId("hint").textContent = describePair(state.chosen, register);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const register = registerAt(event);
  if (register !== undefined && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    pick(Number(register));
  } else if (event.key === "Escape") {
    state.chosen = null;
    show();
  } else if (KEYS[event.key] && !byId(KEYS[event.key]).disabled) {
    event.preventDefault();
    ACTIONS[KEYS[event.key]]();
  }
});

fill(byId("network"), data.networks.map(({ name }) => name), data.start.network);
fill(byId("bond"), [data.start.bond], data.start.bond);
fill(byId("batch"), data.batches, data.batches.includes(128) ? "128" : String(data.batches[0]));
choose();
