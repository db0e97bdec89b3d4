// The charts: intermediates in memory step by step, the batch on one axis, and estimates against measured times.

const CHART = { width: 560, height: 210, left: 74, right: 20, top: 14, bottom: 40 };

function scale([low, high], [from, to], log = false) {
  const of = log ? Math.log2 : (value) => value;
  const [a, b] = [of(low), of(high)];
  return (value) => from + ((of(value) - a) / (b - a || 1)) * (to - from);
}

const chartText = (text, x, y, anchor = "middle") => element("text", { x, y, "text-anchor": anchor }, text);

function axes(svg, { xs, ys, across, up }) {
  const { width, height, left, right, top, bottom } = CHART;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const frame = element("path", { class: "frame", d: `M${left} ${top}V${height - bottom}H${width - right}` });
  const labels = xs.map(([text, x]) => chartText(text, x, height - bottom + 17));
  const sides = ys.map(([text, y]) => chartText(text, left - 6, y + 4, "end"));
  const title = chartText(across, (left + width - right) / 2, height - 4);
  svg.replaceChildren(frame, ...labels, ...sides, title, element("title", {}, up));
}

const drawnLine = (points, name) => element("polyline", { class: name, points: points.map((p) => p.join()).join(" ") });

// Bars of the order on view beside a line of the other one; `limit` is a memory limit in bytes, or null.
function drawTimeline(svg, mine, other, at, limit) {
  const { width, height, left, right, top, bottom } = CHART;
  const count = Math.max(mine.length, other.length, 1);
  const most = Math.max(1, ...[...mine, ...other].map((step) => Number(step.memory)), limit ?? 0);
  const x = scale([0, count], [left, width - right]);
  const y = scale([0, most], [height - bottom, top]);
  axes(svg, { xs: mine.map((step, k) => [step.pair === undefined ? "first" : step.pair + 1, x(k + 0.5)]),
    ys: [["0", y(0)], [byteText(most), y(most)]], across: "step", up: "Intermediates alive during each step, in bytes" });
  mine.forEach((step, k) => svg.append(element("rect", { class: (step.pair ?? -1) < at ? "memory done" : "memory",
    x: x(k + 0.15), width: x(0.7) - x(0), y: y(Number(step.memory)), height: Math.max(y(0) - y(Number(step.memory)), 1) },
  element("title", {}, byteText(step.memory)))));
  const stairs = other.flatMap((step, k) => [[x(k), y(Number(step.memory))], [x(k + 1), y(Number(step.memory))]]);
  svg.append(drawnLine(stairs, "other"));
  if (limit !== null) svg.append(drawnLine([[left, y(limit)], [width - right, y(limit)]], "limit"));
}

// The orders that are best somewhere, each with the batches at which it is.
function winners(points) {
  const found = [];
  for (const point of points) {
    const known = found.find((one) => samePath(one.path, point.path));
    if (known) known.batches.push(point.batch);
    else found.push({ path: point.path, found_by: point.found_by, batches: [point.batch] });
  }
  return found;
}

// Flops per row of every order that is best somewhere, over the batch; thick where it is the best. `flopsOf` counts.
function drawAxis(svg, points, flopsOf, now) {
  const { width, height, left, right, top, bottom } = CHART;
  const orders = winners(points);
  const batches = points.map(({ batch }) => batch);
  const rows = orders.map((order) => batches.map((batch) => Number(flopsOf(order.path, batch)) / batch));
  const [low, high] = [Math.min(...rows.flat()), Math.max(...rows.flat())];
  const x = scale([batches[0], batches.at(-1)], [left, width - right], true);
  const y = scale([Math.max(low, 1), Math.max(high, low * 1.1, 2)], [height - bottom, top], true);
  axes(svg, { xs: batches.filter((_, k) => k % 2 === 0).map((batch) => [batch, x(batch)]),
    ys: [[amount(low), y(Math.max(low, 1))], [amount(high), y(Math.max(high, 1))]], across: "batch size",
    up: "Forward flops per row of each order that is the best at some batch size" });
  orders.forEach((order, k) => {
    const at = (batch) => [x(batch), y(Math.max(rows[k][batches.indexOf(batch)], 1))];
    svg.append(drawnLine(batches.map(at), `thin order-${k % 4}`));
    order.batches.forEach((batch) => svg.append(element("circle", { class: `order-${k % 4}`, cx: at(batch)[0], cy: at(batch)[1], r: 5 },
      element("title", {}, `batch ${batch}: order ${k + 1}, found by ${order.found_by}`))));
  });
  svg.append(drawnLine([[x(now), top], [x(now), height - bottom]], "limit"));
  return orders;
}

// Where the best order changes, in words.
function changesText(points) {
  const orders = winners(points);
  const number = (point) => orders.findIndex((order) => samePath(order.path, point.path)) + 1;
  const changes = points.slice(1).flatMap((point, k) =>
    number(point) === number(points[k]) ? [] : [`${points[k].batch} and ${point.batch} (order ${number(points[k])} to ${number(point)})`]);
  return changes.length ? `The best order changes between batch ${changes.join(", ")}.`
    : "One order is the best at every batch size from 1 to 4096.";
}

// Estimate across, measured median up, both in seconds; the middle half as a line.
function drawMeasured(svg, measured) {
  const rows = measured.filter(({ estimate }) => estimate);
  const { width, height, left, right, top, bottom } = CHART;
  const all = rows.flatMap(({ estimate, low, high }) => [estimate, low, high]);
  const [low, high] = [Math.min(...all) / 1.2, Math.max(...all) * 1.2];
  const x = scale([low, high], [left, width - right], true);
  const y = scale([low, high], [height - bottom, top], true);
  axes(svg, { xs: [[timeText(low), x(low) + 16], [timeText(high), x(high) - 16]], ys: [[timeText(low), y(low)], [timeText(high), y(high)]],
    across: "estimate; on the line, measured and estimate agree", up: "Measured against estimated seconds" });
  svg.append(drawnLine([[x(low), y(low)], [x(high), y(high)]], "other"));
  for (const each of rows) {
    svg.append(drawnLine([[x(each.estimate), y(each.low)], [x(each.estimate), y(each.high)]], "spread"),
      element("circle", { class: "order-0", cx: x(each.estimate), cy: y(each.seconds), r: 5 },
        element("title", {}, `${each.name}: ${timeText(each.seconds)}, estimated ${timeText(each.estimate)}`)));
  }
}
