// The tables: what an order costs beside others, its steps, and the planner's candidates. Each takes values and returns
// rows; nothing here knows the page.

const cell = (text, name = "") => Object.assign(document.createElement("td"), { textContent: text, className: name });
const head = (text) => Object.assign(document.createElement("th"), { textContent: text, scope: "col" });

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

// Fill a table: the first row is its head.
function fillTable(table, [header, ...rows]) {
  const [top, body] = ["thead", "tbody"].map((name) => document.createElement(name));
  top.append(header);
  body.append(...rows);
  table.replaceChildren(top, body);
}

const COUNTS = [["flops", "flops", amount], ["bytes of products", "bytes", byteText],
  ["largest intermediate", "largest", byteText], ["intermediates at once", "memory", byteText]];

// The first steps of a priced order, up to `at` pairs.
const upTo = (steps, at) => steps.filter((step) => (step.pair ?? -1) < at);

// Rows of prices: of the order on view so far, of the other one after as many steps, and of whole orders.
function totalsRows({ mine, other, at, done, named, dense }) {
  const [shown, same, whole] = [totals(upTo(mine, at)), totals(upTo(other, at)), totals(other)];
  const titles = ["", done ? "on view" : `after step ${at}`, done ? named : `${named} after step ${at}`, "ratio",
    `${named} in all`, ...(dense ? ["dense layer"] : [])];
  return [row(...titles.map(head)), ...COUNTS.map(([name, field, text]) => {
    const counts = [shown[field], same[field]];
    const better = counts[0] > counts[1] ? "more" : counts[0] < counts[1] ? "less" : "";
    const made = row(cell(name), ...counts.map((count) => cell(text(count))), cell(times(...counts), better),
      cell(text(whole[field])), ...(dense ? [cell(text(dense[field]))] : []));
    made.dataset.field = field;
    [shown, same, null, whole].forEach((each, k) => each && (made.children[k + 1].title = `${each[field]}`));
    return made;
  })];
}

// What one call takes forward, at inference and in training, each by the planner's best plan for it.
function passesRows(plans, dense) {
  const header = ["minimised for", "flops", "bytes", "memory in use", "estimated time", ...(dense ? ["dense flops"] : [])];
  return [row(...header.map(head)), ...plans.map((plan) => row(cell(plan.objective), cell(amount(plan.flops)),
    cell(byteText(plan.bytes)), cell(byteText(plan.memory)), cell(timeText(plan.seconds)),
    ...(dense ? [cell(amount(dense.flops * (plan.objective === "training" ? 3n : 1n)))] : [])))];
}

function bar(text, share, field) {
  const made = cell(text);
  const inner = Object.assign(document.createElement("span"), { className: `bar ${field}` });
  inner.style.width = `${Math.max(100 * share, 1)}%`;
  made.append(inner);
  return made;
}

// One row per step; `jump` is called with the number of pairs carried out after it.
function stepsRows(steps, names, sizes, at, jump) {
  const name = (register) => names[register] ?? `step ${register - names.length + 1}`;
  const top = (field) => Math.max(1, ...steps.map((step) => Number(step[field])));
  const tops = { flops: top("flops"), bytes: top("bytes"), memory: top("memory") };
  const rows = steps.map((step) => {
    const after = (step.pair ?? -1) + 1;
    const button = Object.assign(document.createElement("button"), {
      textContent: step.pair === undefined ? "first" : after, title: "Show the network after this step", onclick: () => jump(after) });
    const first = cell("");
    first.append(button);
    const bars = [["flops", amount], ["bytes", byteText], ["memory", byteText]].map(([field, text]) =>
      bar(text(step[field]), Number(step[field]) / tops[field], field));
    const made = row(first, cell(step.pair === undefined ? `${name(step.alone)} alone` : step.reads.map(name).join(" · ")),
      cell(shapeText(step.indices.map((index) => sizes[index]))), ...bars);
    made.className = after <= at ? "done" : "";
    if (after === at) made.classList.add("now");
    return made;
  });
  const titles = ["step", "contracts", "result", "flops", "bytes of products", "intermediates at once"];
  return [row(...titles.map(head)), ...(rows.length ? rows : [row(cell("none yet"))])];
}

// The planner's candidates, the fastest by its estimate first; `view` shows one.
function candidateRows(plans, shown, view) {
  const rows = plans.map((plan, k) => {
    const button = Object.assign(document.createElement("button"), { textContent: k + 1, title: "Show this order",
      onclick: () => view(plan) });
    const first = cell("");
    first.append(button);
    const made = row(first, cell(plan.found_by), cell(amount(plan.flops)), cell(byteText(plan.bytes)),
      cell(byteText(plan.memory)), bar(timeText(plan.seconds), plan.seconds / plans.at(-1).seconds, "flops"));
    if (samePath(plan.path, shown)) made.className = "now";
    return made;
  });
  return [row(...["", "found by", "flops", "bytes", "memory in use", "estimated time"].map(head)), ...rows];
}

const samePath = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function measuredRows(rows) {
  return [row(...["order", "median", "middle half", "estimate", "median / estimate"].map(head)),
    ...rows.map(({ name, seconds, low, high, estimate }) => row(cell(name), cell(timeText(seconds)),
      cell(`${timeText(low)} to ${timeText(high)}`), cell(estimate ? timeText(estimate) : ""), cell(times(seconds, estimate))))];
}
