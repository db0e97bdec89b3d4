// The diagram of a contraction under way, drawn as tnl.draw draws networks: discs larger with more entries, lines wider
// with their dimension, inputs below, outputs above, hyperedges as dots. Places come with the data (stage.py); what two
// operands become stands where that member stood that is nearest to the middle of all.

const SVG = "http://www.w3.org/2000/svg";
const BENDS = [0, 0.2, -0.2, 0.35, -0.35, 0.5, -0.5];
const LEANS = [0, 24, -24, 42, -42, 60, -60, 78, -78];
const SHORTENED = 4; // legs or axes that are still told one by one

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const radiusOf = (entries) => 23 + 3 * Math.log10(Math.max(Number(entries), 1));
const widthOf = (size) => 1 + 0.9 * Math.log2(Math.max(Number(size), 1));
const subscript = (number) => String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
const superscript = (number) => String(number).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
const distance = ([x, y], [u, v]) => Math.hypot(x - u, y - v);

// The sizes of a result, equal ones drawn together: 128×2×4×2×2 is "128×2³×4". The order of axes is the layout's matter.
function shapeText(sizes) {
  const told = [...new Set(sizes)].map((size) => {
    const count = sizes.filter((other) => other === size).length;
    return count > 1 ? `${size}${superscript(count)}` : size;
  });
  return told.join("×") || "1";
}

function placeOf(thing, network) {
  const names = Object.keys(network.operands);
  const places = thing.members.map((member) => network.places[names[member]]);
  if (thing.members.includes(0)) return network.places.x;
  const middle = [0, 1].map((k) => places.reduce((sum, place) => sum + place[k], 0) / places.length);
  return places.reduce((best, place) => (distance(place, middle) < distance(best, middle) ? place : best));
}

// Which lines there are: wires between things (all axes that two share as one), legs that stay open, hyperedges.
function wiring(things, network) {
  const wires = new Map();
  const legs = new Map();
  const dots = [];
  const indices = [...new Set(things.flatMap((thing) => thing.indices))].filter((i) => i !== network.batch_index);
  for (const index of indices) {
    const ends = things.filter((thing) => thing.indices.includes(index));
    const mode = network.output.indexOf(index) - 1; // the first axis of the output is the batch
    if (ends.length === 2 && mode < 0) {
      const key = ends.map((thing) => thing.register).join();
      wires.set(key, { ends, indices: [...(wires.get(key)?.indices ?? []), index] });
    } else if (ends.length === 1) {
      const [{ register }] = ends;
      legs.set(register, [...(legs.get(register) ?? []), { index, mode }]);
    } else {
      dots.push({ index, ends, mode });
    }
  }
  return { wires: [...wires.values()], legs, dots };
}

// The four points of a curve whose middle is `bend` times its length beside the straight line.
function curve(from, to, bend) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const aside = [(dy * bend) / 0.75, (-dx * bend) / 0.75];
  const control = (t) => [from[0] + t * dx + aside[0], from[1] + t * dy + aside[1]];
  return [from, control(1 / 3), control(2 / 3), to];
}

function pointAt([a, b, c, d], t) {
  const weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
  return [0, 1].map((k) => weights[0] * a[k] + weights[1] * b[k] + weights[2] * c[k] + weights[3] * d[k]);
}

// The flattest curve between two places that touches no other disc.
function clearCurve(from, to, discs) {
  const others = discs.filter(({ place }) => distance(place, from) > 1 && distance(place, to) > 1);
  const touches = (points) =>
    others.reduce((sum, { place, radius }) => {
      const near = Array.from({ length: 19 }, (_, k) => pointAt(points, (k + 1) / 20));
      return sum + near.some((point) => distance(point, place) < radius + 5);
    }, 0);
  const curves = BENDS.map((bend) => curve(from, to, bend));
  return curves.reduce((best, each) => (touches(each) < touches(best) ? each : best));
}

const pathOf = ([a, b, c, d]) => `M${a.join(" ")}C${[b, c, d].map((point) => point.join(" ")).join(" ")}`;

function line(points, size, role, title) {
  return element("path", { d: pathOf(points), class: role, "stroke-width": widthOf(size).toFixed(1) },
    element("title", {}, title));
}

function label(text, [x, y], name = "label") {
  return element("text", { x: x.toFixed(1), y: (y + 4).toFixed(1), class: name }, text);
}

const sizesText = (sizes) =>
  sizes.length <= SHORTENED ? sizes.join("·") : `${sizes.reduce((product, size) => product * size, 1)}`;

// Where on a line its label stands: the middle of what the discs at its ends leave, a little beside it.
function labelPlace(points, from, to) {
  const seen = Array.from({ length: 41 }, (_, k) => k / 40).filter((t) => {
    const point = pointAt(points, t);
    return distance(point, from.place) > from.radius && distance(point, to.place) > to.radius;
  });
  const t = seen.length ? seen[Math.floor(seen.length / 2)] : 0.5;
  const [x, y] = pointAt(points, t);
  const [u, v] = pointAt(points, Math.min(t + 0.02, 1));
  const length = Math.hypot(u - x, v - y) || 1;
  const side = u > x ? 1 : -1;
  return [x + (side * 11 * (v - y)) / length, y - (side * 11 * (u - x)) / length];
}

// Open legs of one disc: up, or down where it is `x` that carries them, fanned out and away from what leaves it.
function drawLegs(layer, disc, legs, taken, sizes) {
  const sorted = legs.toSorted((a, b) => a.mode - b.mode);
  const shown = sorted.length <= SHORTENED ? sorted.map((leg) => [leg]) : [sorted];
  const down = disc.carries && taken.length > 0;
  shown.forEach((group, k) => {
    const fan = (k - (shown.length - 1) / 2) * Math.min(52, 150 / Math.max(shown.length - 1, 1));
    const angleOf = (lean) => ((fan + lean) * Math.PI) / 180;
    const pointOf = (lean, reach) => [disc.place[0] + (disc.radius + reach) * Math.sin(angleOf(lean)),
      disc.place[1] + (disc.radius + reach) * (down ? 1 : -1) * Math.cos(angleOf(lean))];
    const room = (lean) => Math.min(30, ...taken.map((point) => distance(pointOf(lean, 30), point))) - Math.abs(lean) / 12;
    const lean = LEANS.reduce((best, each) => (room(each) > room(best) ? each : best));
    const [end, text] = [pointOf(lean, 24), pointOf(lean, 38)];
    const each = group.map(({ index }) => sizes[index]);
    const name = group.length > 1 ? `out ×${group.length}` : `out${subscript(group[0].mode)}`;
    const size = each.reduce((product, n) => product * n, 1);
    layer.append(line(curve(disc.place, end, 0), size, "output", `${name}, size ${size}`), label(`${name} ${size}`, text));
    taken.push(pointOf(lean, 30));
  });
}

function drawDisc(disc, scene) {
  const { thing, place, radius, entries } = disc;
  const states = [disc.carries && "batch", scene.chosen === thing.register && "chosen",
    scene.suggested.includes(thing.register) && "suggested"].filter(Boolean);
  const names = Object.keys(scene.network.operands);
  const shape = shapeText(thing.indices.map((index) => scene.sizes[index]));
  const offer = scene.offers.get(thing.register);
  const told = `${thing.name}: shape ${shape}, ${entries} entries` +
    (thing.members.length > 1 ? `; made of ${thing.members.map((member) => names[member]).join(", ")}` : "");
  const size = Math.max(7, Math.min(10.5, (10.5 * (2 * radius - 8)) / (6.6 * thing.name.length)));
  const made = element("g", { class: ["operand", ...states].join(" "), tabindex: 0, role: "button",
    transform: `translate(${place.join(" ")})`, "aria-label": told, "aria-pressed": scene.chosen === thing.register,
    "data-register": thing.register, "data-name": thing.name },
    element("title", {}, told),
    element("circle", { class: "ring", r: (radius + 5).toFixed(1) }),
    element("circle", { class: "disc", r: radius.toFixed(1) }),
    element("text", { class: "name", y: -2, style: `font-size:${size.toFixed(1)}px` }, thing.name),
    element("text", { class: offer ? "offer" : "entries", y: 10 }, offer ?? amount(entries)));
  return made;
}

// What was merged glides to what it became, where motion is welcome.
function glide(svg, old, disc) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const ghost = element("circle", { class: "ghost", r: old.radius, fill: `var(--${old.carries ? "batch" : "core"})` });
  svg.append(ghost);
  const at = ([x, y]) => `translate(${x}px, ${y}px)`;
  const motion = ghost.animate([{ transform: at(old.place), opacity: 0.9 }, { transform: at(disc.place), opacity: 0.1 }],
    { duration: 320, easing: "ease-in-out" });
  motion.onfinish = () => ghost.remove();
}

// Draw what is left. `scene` has network, sizes, things, chosen, suggested and offers; returns the discs by register.
function drawDiagram(svg, scene, before) {
  const { network, sizes, things } = scene;
  const discs = new Map(things.map((thing) => {
    const entries = elements(thing.indices, sizes);
    return [thing.register, { thing, entries, radius: radiusOf(entries), place: placeOf(thing, network),
      carries: thing.indices.includes(network.batch_index) || thing.members.includes(0) }];
  }));
  const all = [...discs.values()];
  const { wires, legs, dots } = wiring(things, network);
  const taken = new Map(all.map(({ thing }) => [thing.register, []]));
  const [lines, texts] = [element("g"), element("g")];
  const inputs = new Set(network.operands.x);
  const join = (from, to, size, role, title, text) => {
    const points = clearCurve(from.place, to.place, all);
    lines.append(line(points, size, role, title));
    for (const [disc, t] of [[from, 0.25], [to, 0.75]]) if (disc.thing) taken.get(disc.thing.register).push(pointAt(points, t));
    if (text) texts.append(label(text, labelPlace(points, from, to)));
  };
  for (const { ends, indices } of wires) {
    const [from, to] = ends.map((thing) => discs.get(thing.register));
    const each = indices.map((index) => sizes[index]);
    const role = indices.every((index) => inputs.has(index)) ? "input" : "bond";
    join(from, to, each.reduce((product, n) => product * n, 1), role,
      `${ends[0].name} – ${ends[1].name}, size ${each.join("×")}`, sizesText(each));
  }
  for (const { index, ends, mode } of dots) {
    const place = network.places[`index ${index}`];
    const dot = { place, radius: 5 };
    for (const end of ends) join(dot, discs.get(end.register), sizes[index], "hyper", `hyperedge of size ${sizes[index]}`);
    texts.append(element("circle", { cx: place[0], cy: place[1], r: 5, class: "dot" }), label(String(sizes[index]), [place[0] + 16, place[1] + 12]));
    if (mode >= 0) drawLegs(lines, { ...dot, carries: false }, [{ index, mode }], [], sizes);
  }
  for (const [register, own] of legs) drawLegs(lines, discs.get(register), own, taken.get(register), sizes);
  svg.replaceChildren(lines, ...all.map((disc) => drawDisc(disc, scene)), texts);
  const points = Object.values(network.places);
  const [xs, ys] = [0, 1].map((k) => points.map((point) => point[k]));
  const [x, y] = [Math.min(...xs) - 100, Math.min(...ys) - 105];
  const [width, height] = [Math.max(...xs) + 100 - x, Math.max(...ys) + 90 - y];
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  svg.setAttribute("width", Math.round(Math.max(width, 260) * 1.25));
  for (const [register, old] of before) {
    const heir = all.find(({ thing }) => thing.register !== register && old.thing.members.every((m) => thing.members.includes(m)));
    if (heir && !discs.has(register)) glide(svg, old, heir);
  }
  return discs;
}
