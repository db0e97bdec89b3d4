// The diagram of a contraction under way, drawn as tnl.draw draws networks: discs larger with more entries, lines wider
// with their dimension, inputs below, outputs above, hyperedges as dots. Places come with the data (stage.py); what two
// operands become stands where that member stood that is nearest to the middle of all.

const SVG = "http://www.w3.org/2000/svg";
const ASIDE = [[16, 12], [16, -12], [-16, 12], [-16, -12], [0, 18]]; // of a dot, where its size may stand
const SHORTENED = 4; // legs or axes that are still named one by one

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const radiusOf = (entries, grown) => 23 + grown + 3 * Math.log10(Math.max(Number(entries), 1));
const widthOf = (size) => 1 + 0.9 * Math.log2(Math.max(Number(size), 1));
const product = (sizes) => sizes.reduce((all, size) => all * size, 1);
const subscript = (number) => String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
const superscript = (number) => String(number).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
// The sizes of a result, equal ones drawn together: 128×2×4×2×2 is "128×2³×4". The order of axes is the layout's matter.
function shapeText(sizes) {
  const texts = [...new Set(sizes)].map((size) => {
    const count = sizes.filter((other) => other === size).length;
    return count > 1 ? `${size}${superscript(count)}` : size;
  });
  return texts.join("×") || "1";
}

function placeOf(thing, network) {
  const names = Object.keys(network.operands);
  const places = thing.members.map((member) => network.places[names[member]]);
  if (thing.members.includes(0) && network.places.x) return network.places.x;
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
    const mode = network.output.indexOf(index) - (network.batch_index === null ? 0 : 1); // the batch comes first
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

const pathOf = ([a, b, c, d]) => `M${a.join(" ")}C${[b, c, d].map((point) => point.join(" ")).join(" ")}`;

function line(points, size, role, title) {
  return element("path", { d: pathOf(points), class: role, "stroke-width": widthOf(size).toFixed(1) },
    element("title", {}, title));
}

function label(text, [x, y], name = "label") {
  return element("text", { x: x.toFixed(1), y: (y + 4).toFixed(1), class: name }, text);
}

// A long name broken at the underscore nearest to its middle, as tnl.draw breaks it.
function halves(name) {
  const breaks = [...name].flatMap((letter, k) => (letter === "_" && k > 0 && k < name.length - 1 ? [k] : []));
  if (name.length <= 9 || !breaks.length) return [name];
  const off = (k) => Math.abs(k - name.length / 2);
  const at = breaks.reduce((best, k) => (off(k) < off(best) ? k : best));
  return [name.slice(0, at), name.slice(at + 1)];
}

const sizesText = (sizes) =>
  sizes.length <= SHORTENED ? sizes.join("·") : String(product(sizes));

// Open legs of one disc: up, or down where it is `x` that carries them, fanned out to where there is room.
function drawLegs(layer, disc, legs, drawn, sizes) {
  const sorted = legs.toSorted((a, b) => a.mode - b.mode);
  const shown = sorted.length <= SHORTENED ? sorted.map((leg) => [leg]) : [sorted];
  const up = disc.carries && drawn.discs.length > 1 ? 1 : -1;
  shown.forEach((group, k) => {
    const fan = (k - (shown.length - 1) / 2) * Math.min(52, 150 / Math.max(shown.length - 1, 1));
    const pointOf = (lean, reach) => {
      const angle = ((fan + lean) * Math.PI) / 180;
      const away = disc.radius + reach;
      return [disc.place[0] + away * Math.sin(angle), disc.place[1] + up * away * Math.cos(angle)];
    };
    const choices = LEANS.map((lean) => ({ lean, place: pointOf(lean, 36), cost: Math.abs(lean) / 12 }));
    const each = group.map(({ index }) => sizes[index]);
    const size = product(each);
    const name = group.length > 1 ? `out ×${group.length}` : `out${subscript(group[0].mode)}`;
    const text = `${name} ${size}`;
    const { lean, place } = freest(choices, drawn, 3.2 * text.length);
    const leg = curve(disc.place, pointOf(lean, 24), 0);
    drawn.points.push(leg[3]);
    layer.append(line(leg, size, "output", `${name}, size ${size}`), label(text, place));
  });
}

function drawDisc(disc, scene) {
  const { thing, place, radius, entries } = disc;
  const states = [disc.carries && "batch", scene.chosen === thing.register && "chosen",
    scene.suggested.includes(thing.register) && "suggested"].filter(Boolean);
  const names = Object.keys(scene.network.operands);
  const shape = shapeText(thing.indices.map((index) => scene.sizes[index]));
  const offer = scene.offers.get(thing.register);
  const label = `${thing.name}: shape ${shape}, ${entries} entries` +
    (thing.members.length > 1 ? `; made of ${thing.members.map((member) => names[member]).join(", ")}` : "");
  const called = halves(thing.name);
  const longest = Math.max(...called.map((line) => line.length));
  const size = Math.max(9, Math.min(10.5, (10.5 * (2 * radius - 4)) / (6.6 * longest)));
  const top = called.length > 1 ? -9 : -2;
  const made = element("g", { class: ["operand", ...states].join(" "), tabindex: 0, role: "button",
    transform: `translate(${place.join(" ")})`, "aria-label": label, "aria-pressed": scene.chosen === thing.register,
    "data-register": thing.register, "data-name": thing.name },
    element("title", {}, label),
    element("circle", { class: "ring", r: (radius + 5).toFixed(1) }),
    element("circle", { class: "disc", r: radius.toFixed(1) }),
    ...called.map((line, k) => element("text", { class: "name", y: top + 11 * k, style: `font-size:${size.toFixed(1)}px` }, line)),
    element("text", { class: offer ? "offer" : "entries", y: top + 1 + 11 * called.length }, offer ?? amount(entries)));
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

// The lines between discs and hyperedges, their labels, and the open legs: two groups, lines below and texts above discs.
function drawLines(discs, { network, sizes, things }) {
  const { wires, legs, dots } = wiring(things, network);
  const drawn = { discs: [...discs.values()], points: [] };
  const [lines, texts] = [element("g"), element("g")];
  const labels = [];
  const inputs = new Set(network.inputs);
  const join = (from, to, size, role, title, text) => {
    const points = clearCurve(from.place, to.place, drawn.discs);
    lines.append(line(points, size, role, title));
    drawn.points.push(...along(points));
    if (text) labels.push([text, labelPlaces(points, [from, to], String(text), widthOf(size))]);
  };
  for (const { ends, indices } of wires) {
    const [from, to] = ends.map((thing) => discs.get(thing.register));
    const each = indices.map((index) => sizes[index]);
    const role = indices.every((index) => inputs.has(index)) ? "input" : "bond";
    join(from, to, product(each), role, `${ends[0].name} – ${ends[1].name}, size ${each.join("×")}`, sizesText(each));
  }
  const dotOf = (index) => ({ place: network.places[`index ${index}`], radius: 5, carries: false });
  for (const { index, ends } of dots) {
    for (const end of ends) join(dotOf(index), discs.get(end.register), sizes[index], "hyper", `hyperedge of size ${sizes[index]}`);
  }
  // Sizes first: a leg has more places to lean to than a short line has for its size.
  for (const [text, choices] of labels) texts.append(label(text, freest(choices, drawn).place));
  for (const { index, mode } of dots) {
    const dot = dotOf(index);
    const [x, y] = dot.place;
    const beside = ASIDE.map(([u, v], k) => ({ place: [x + u, y + v], cost: k }));
    texts.append(element("circle", { cx: x, cy: y, r: dot.radius, class: "dot" }), label(sizes[index], freest(beside, drawn).place));
    if (mode >= 0) drawLegs(lines, dot, [{ index, mode }], drawn, sizes);
  }
  for (const [register, own] of legs) drawLegs(lines, discs.get(register), own, drawn, sizes);
  return [lines, texts];
}

// The picture has one size for all steps of a network, so that nothing jumps; only a disc larger than usual widens it.
// Where the page is narrow it shrinks to `--least`, at which the smallest text has 9 pixels, and is scrolled beyond.
function frame(svg, places, discs) {
  const [xs, ys] = [0, 1].map((k) => places.map((place) => place[k]));
  const extra = Math.max(0, ...discs.map(({ radius }) => radius - 50));
  const [x, y] = [Math.min(...xs) - 100 - extra, Math.min(...ys) - 105 - extra];
  const [width, height] = [Math.max(...xs) + 100 + extra - x, Math.max(...ys) + 90 + extra - y];
  svg.style.setProperty("--least", `${Math.round(width)}px`);
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  svg.setAttribute("width", Math.round(Math.max(width, 260) * 1.25));
}

// Draw what is left. `scene` has network, sizes, things, chosen, suggested and offers; `before` are the discs of the
// picture before, which glide to what they became. Returns the discs by register.
function drawDiagram(svg, scene, before) {
  const { network, sizes, things } = scene;
  const discs = new Map(things.map((thing) => {
    const entries = elements(thing.indices, sizes);
    const carries = network.batch_index !== null && thing.members.includes(0);
    return [thing.register, { thing, entries, carries, radius: radiusOf(entries, network.grown), place: placeOf(thing, network) }];
  }));
  const [lines, texts] = drawLines(discs, scene);
  svg.replaceChildren(lines, ...[...discs.values()].map((disc) => drawDisc(disc, scene)), texts);
  frame(svg, Object.values(network.places), [...discs.values()]);
  if (before.size === 0) svg.parentElement.scrollLeft = (svg.parentElement.scrollWidth - svg.parentElement.clientWidth) / 2;
  for (const [register, old] of before) {
    const within = ({ thing }) => old.thing.members.every((member) => thing.members.includes(member));
    if (!discs.has(register)) [...discs.values()].filter(within).forEach((heir) => glide(svg, old, heir));
  }
  return discs;
}
