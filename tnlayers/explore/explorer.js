// The explorer: what is chosen, the order on view, and everything that is shown of them. `show` draws it all anew from
// the state after each event. `root` is a document or a shadow root; `source` is the kernel behind a notebook's explorer,
// null in a page, which carries its plans.

const CHOICES = ["part", "network", "bond", "batch", "optimizer", "objective", "limit"];
const KEYS = { Home: "first", ArrowLeft: "previous", ArrowRight: "next", End: "last", u: "undo", r: "reset", p: "planner",
  s: "save", f: "finish", c: "pin" };

function mount(root, data, source) {
  const byId = (id) => root.getElementById(id);
  const state = { network: null, sizes: null, plan: null, order: null, chosen: null, pinned: null, measured: null, discs: new Map(),
    asked: 0 };
  const itemsize = ITEMSIZES[data.dtype];

  function fill(name, values, wanted) {
    const kept = values.map(String).includes(String(wanted)) ? wanted : values[0];
    byId(name).replaceChildren(...values.map((value) => new Option(value || "all", value)));
    byId(name).value = String(kept);
    byId(name).parentElement.hidden = values.length < 2;
  }

  const chosen = () => Object.fromEntries(CHOICES.map((name) => [name, name === "batch" ? Number(byId(name).value) : byId(name).value]));
  const partNow = () => data.parts.find(({ name }) => name === byId("part").value);

  // Read the choices: which network with which sizes, and its plan. Choices that go together stay where they can.
  function choose({ keepOrder = false } = {}) {
    const part = partNow();
    if (source) source.ask({ ask: "plan", ...chosen() }, () => {}); // the kernel then sets what is on view
    else {
      fill("network", part.networks.map(({ name }) => name), byId("network").value);
      const kind = part.networks.find(({ name }) => name === byId("network").value);
      fill("bond", kind.bonds.map(({ bond }) => bond), byId("bond").value);
      const network = kind.bonds.find(({ bond }) => bond === byId("bond").value);
      const of = (plans, name) => [...new Set(plans.map((plan) => plan[name]))];
      const narrow = (plans, name) => {
        fill(name, of(plans, name), byId(name).value);
        return plans.filter((plan) => String(plan[name]) === byId(name).value);
      };
      const plan = ["batch", "objective", "optimizer", "limit"].reduce(narrow, network.plans)[0];
      settle(network, plan, keepOrder);
    }
  }

  // What the kernel has on view: a network with its plan, and what can be chosen.
  function adopt({ network, plan, choices, offered, order }) {
    for (const name of CHOICES) if (offered[name]) fill(name, offered[name], choices[name]);
    settle(network, plan, false, order);
  }

  function settle(network, plan, keepOrder, order) {
    if (plan.refused) {
      say(plan.refused);
      return;
    }
    say(network.note);
    const same = state.network && samePath(network.operands, state.network.operands);
    const sameOrder = keepOrder && state.order?.by === "hand" && same;
    if (!same) state.pinned = null;
    state.network = network;
    state.sizes = network.sizes.map((size, index) => (index === network.batch_index ? plan.batch : size));
    state.plan = plan;
    state.measured = null;
    setOrder(order ?? (sameOrder ? state.order : start(plan.path, "planner")), { still: true });
  }

  function say(text) {
    byId("message").textContent = text ?? "";
  }

  function setOrder(order, { still = false, quiet = false } = {}) {
    if (still) state.discs = new Map();
    state.order = order;
    state.chosen = null;
    if (source && !quiet) source.tell(order);
    show();
  }

  const stepsOf = (path, sizes = state.sizes) => priced(state.network, sizes, path, itemsize);
  const names = () => Object.keys(state.network.operands);
  const complete = () => state.order.path.length === names().length - 1;

  // The price of contracting two of the things that are left.
  const offer = (a, b) => stepsOf([...state.order.path.slice(0, state.order.at), [a, b]]).at(-1);

  function pick(register) {
    if (left(state.network, state.order).length < 2) return;
    if (state.chosen === null || state.chosen === register) {
      state.chosen = state.chosen === null ? register : null;
      show();
    } else setOrder(picked(state.order, [state.chosen, register]));
  }

  function showDiagram() {
    const things = left(state.network, state.order);
    const offers = new Map();
    if (state.chosen !== null) {
      for (const { register } of things) {
        if (register !== state.chosen) offers.set(register, amount(offer(state.chosen, register).flops));
      }
    }
    const focused = root.activeElement?.dataset?.register;
    const suggested = state.chosen === null ? (state.order.path[state.order.at] ?? []) : [];
    const scene = { network: state.network, sizes: state.sizes, things, chosen: state.chosen, suggested, offers };
    state.discs = drawDiagram(byId("diagram"), scene, state.discs);
    if (focused !== undefined) {
      const operands = [...byId("diagram").querySelectorAll(".operand")];
      (operands.find(({ dataset }) => dataset.register === focused) ?? operands.at(-1)).focus(); // merged: to what it became
    }
    byId("beside").toggleAttribute("hidden", !state.pinned);
    if (state.pinned) {
      const other = walked(state.pinned, state.order.at);
      drawDiagram(byId("pinned"), { ...scene, things: left(state.network, other), chosen: null, offers: new Map(),
        suggested: other.path[other.at] ?? [] }, new Map());
      for (const operand of byId("pinned").querySelectorAll(".operand")) operand.setAttribute("tabindex", -1);
    }
    hint(things);
  }

  function hint(things) {
    const name = (register) => things.find((thing) => thing.register === register)?.name;
    const next = state.order.path[state.order.at];
    byId("hint").textContent =
      state.chosen !== null ? `${name(state.chosen)} with …? Choose the second operand; each shows the flops it would take.`
        : things.length === 1 ? `All contracted: this is the ${state.network.features ? "layer's output" : "result"}.`
          : next ? `Next: ${next.map(name).join(" with ")}. Or click two operands to go another way.`
            : "Click two operands to contract them.";
  }

  function describePair(a, b) {
    const step = offer(a, b);
    return `${amount(step.flops)} flops, ${byteText(step.bytes)} moved; the result takes ${byteText(step.result)}, with ` +
      `${byteText(step.memory)} of intermediates alive.`;
  }

  function showTotals() {
    const { order, plan, network } = state;
    const other = state.pinned?.path ?? plan.path;
    const named = state.pinned ? "pinned" : "planner's";
    const dense = densePrice(network.features, plan.batch, itemsize);
    const done = complete() && order.at === order.path.length;
    byId("whose").textContent = (order.by === "hand" ? "Your order beside the " : "The planner's order beside the ") +
      (state.pinned ? "pinned one" : order.by === "hand" ? "planner's" : "dense layer");
    const [mine, others] = [stepsOf(order.path), stepsOf(other)];
    fillTable(byId("totals"), totalsRows({ mine, other: others, at: order.at, done, named, dense }));
    drawTimeline(byId("timeline"), mine, others, order.at, null);
    byId("timelineText").textContent = `Bars: intermediates alive in each step of the order on view. Line: the ${named} order.`;
    const { found_by: by, chunk, copied, memory, seconds, slices, printed } = plan;
    byId("python").textContent = `The planner's order was found by ${by}. As Python lays it out it ` +
      (copied ? `copies ${byteText(copied)}, so that print(plan) counts ${byteText(printed)} where products alone are counted here` : "copies nothing") +
      (chunk ? `, walks the batch in chunks of ${chunk} rows` : ", takes all rows at once") +
      (slices.length ? `, sums ${slices.map(([index, parts]) => `a bond of ${state.sizes[index]} in ${parts} slices`).join(" and ")}` : "") +
      `, has ${byteText(memory)} in use beyond input, output and cores, and takes an estimated ${timeText(seconds)}.`;
    const passes = ["forward", "inference", "training"].flatMap((objective) =>
      network.plans.filter((each) => !each.refused && each.batch === plan.batch && each.limit === "none" &&
        each.objective === objective && (objective !== plan.objective || each.optimizer === plan.optimizer)).slice(0, 1));
    fillTable(byId("passes"), passesRows(passes, dense));
    byId("passesPanel").hidden = !network.features;
  }

  function showSearch() {
    const { plan, order, network } = state;
    byId("search").hidden = !plan.candidates;
    if (plan.candidates) {
      const view = (candidate) => setOrder({ ...start(candidate.path, "planner"), by: samePath(candidate.path, plan.path) ? "planner" : "hand" });
      fillTable(byId("candidates"), candidateRows(plan.candidates, order.path, view));
      byId("why").textContent = [plan.search, plan.why].join(" ");
    }
    const points = network.axis?.[plan.objective];
    byId("axisPanel").hidden = !(points || (source && network.features));
    byId("askAxis").hidden = Boolean(points);
    byId("axis").toggleAttribute("hidden", !points);
    byId("changes").textContent = points ? changesText(points) : "";
    if (points) {
      const sizesAt = (batch) => network.sizes.map((size, index) => (index === network.batch_index ? batch : size));
      drawAxis(byId("axis"), points, (path, batch) => totals(stepsOf(path, sizesAt(batch))).flops, plan.batch);
    }
    byId("measuredPanel").hidden = !source || !network.features;
    byId("measuredChart").toggleAttribute("hidden", !state.measured);
    fillTable(byId("measured"), state.measured ? measuredRows(state.measured) : [""]);
    if (state.measured) drawMeasured(byId("measuredChart"), state.measured);
  }

  function showButtons() {
    const { path, at, by } = state.order;
    byId("first").disabled = byId("previous").disabled = at === 0;
    byId("last").disabled = byId("next").disabled = at === path.length;
    byId("undo").disabled = at === 0;
    byId("reset").disabled = by === "hand" && path.length === 0;
    byId("planner").disabled = by === "planner";
    byId("finish").hidden = !source;
    byId("finish").disabled = left(state.network, state.order).length < 2;
    byId("pin").disabled = !state.pinned && !complete();
    byId("pin").textContent = state.pinned ? "Unpin" : "Pin to compare";
    byId("save").disabled = byId("measure").disabled = !complete();
    byId("position").textContent = `step ${at} of ${names().length - 1}`;
  }

  function show() {
    const { spec, parameters } = state.network;
    byId("spec").textContent = `${spec}, ${parameters.toLocaleString("en")} ${state.network.features ? "parameters" : "entries"}`;
    showDiagram();
    showTotals();
    showSearch();
    fillTable(byId("steps"), stepsRows(stepsOf(state.order.path), names(), state.sizes, state.order.at,
      (at) => setOrder(walked(state.order, at))));
    showButtons();
  }

  const orderJson = () => planJson(data, state.network, state.sizes, state.order, state.order.by === "hand" ? null : state.plan);

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([orderJson()], { type: "application/json" }));
    link.download = `order-${byId("network").value}-batch-${state.plan.batch}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  const actions = {
    first: () => setOrder(walked(state.order, 0)),
    previous: () => setOrder(walked(state.order, state.order.at - 1)),
    next: () => setOrder(walked(state.order, state.order.at + 1)),
    last: () => setOrder(walked(state.order, state.order.path.length)),
    undo: () => setOrder(undone(state.order)),
    reset: () => setOrder(start([], "hand")),
    planner: () => setOrder(start(state.plan.path, "planner")),
    finish: () => source.ask({ ask: "finish" }, ({ order }) => setOrder(order, { quiet: true })),
    pin: () => {
      state.pinned = state.pinned ? null : state.order;
      show();
    },
    save,
  };

  function listen() {
    for (const [id, action] of Object.entries(actions)) byId(id).onclick = action;
    for (const id of ["part", "network", "bond"]) byId(id).onchange = () => choose();
    for (const id of ["batch", "optimizer", "objective", "limit"]) byId(id).onchange = () => choose({ keepOrder: true });
    byId("theme").onchange = () => ((root.host ?? document.documentElement).style.colorScheme = byId("theme").value);
    byId("choices").onsubmit = (event) => event.preventDefault();
    byId("askAxis").onclick = () => source.ask({ ask: "axis", ...chosen() }, ({ axis }) => {
      state.network.axis = { ...state.network.axis, [state.plan.objective]: axis };
      show();
    });
    byId("measure").onclick = () => source.ask({ ask: "measure", backend: byId("backend").value, ...chosen() }, ({ rows }) => {
      state.measured = rows;
      show();
    });
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
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
      const register = registerAt(event);
      const key = KEYS[event.key];
      if (register !== undefined && (event.key === "Enter" || event.key === " ")) pick(Number(register));
      else if (event.key === "Escape") {
        state.chosen = null;
        show();
      } else if (key && !byId(key).disabled && !byId(key).hidden) actions[key]();
      else return;
      event.preventDefault();
      event.stopPropagation(); // a notebook has keys of its own
    });
  }

  listen();
  if (!source) {
    for (const name of ["part", "network", "bond"]) fill(name, [data.start[name]], data.start[name]);
    fill("part", data.parts.map(({ name }) => name), data.start.part);
    fill("batch", data.batches, data.batch);
    choose();
  }
  return { state, actions, adopt, say, setOrder };
}
