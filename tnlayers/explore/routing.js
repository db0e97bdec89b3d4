// Where the lines and texts of the diagram go, between discs that have their places: points are [x, y], lines are the
// four points of a Bezier curve, discs are { place, radius }.

const BENDS = [0, 0.2, -0.2, 0.35, -0.35, 0.5, -0.5];
const LEANS = [0, 24, -24, 42, -42, 60, -60, 78, -78];

const distance = ([x, y], [u, v]) => Math.hypot(x - u, y - v);

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

// Points along a curve, about one every ten pixels.
function along(points) {
  const count = Math.max(Math.ceil(distance(points[0], points[3]) / 10), 4);
  return Array.from({ length: count + 1 }, (_, k) => pointAt(points, k / count));
}

// Of some places for a text the one with most room around it, the first of equals; what has enough room has enough.
// `drawn` holds the discs, and points of the lines and texts that are there; the text, so long to each side of its place,
// becomes some of them.
function freest(choices, drawn, half = 12) {
  const room = ({ place, cost }) => {
    const toDiscs = drawn.discs.map((disc) => distance(place, disc.place) - disc.radius);
    return Math.min(16, ...toDiscs, ...drawn.points.map((point) => distance(place, point))) - cost;
  };
  const best = choices.map((choice) => ({ choice, room: room(choice) })).reduce((a, b) => (b.room > a.room ? b : a)).choice;
  for (const part of [-1, -0.5, 0, 0.5, 1]) drawn.points.push([best.place[0] + part * half, best.place[1]]);
  return best;
}

// The places for the label of a line of that width: beside the part of it that the discs at its ends leave, near the
// middle first.
function labelPlaces(points, ends, text, width) {
  const seen = Array.from({ length: 41 }, (_, k) => k / 40).filter((t) =>
    ends.every(({ place, radius }) => distance(pointAt(points, t), place) > radius));
  const [first, last] = seen.length ? [seen[0], seen.at(-1)] : [0, 1];
  return [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8].flatMap((part, rank) => {
    const t = first + part * (last - first);
    const [[x, y], [u, v]] = [pointAt(points, t), pointAt(points, Math.min(t + 0.02, 1))];
    const length = Math.hypot(u - x, v - y) || 1;
    return [1, -1].map((side) => {
      const [nx, ny] = [(side * (v - y)) / length, (side * (x - u)) / length].map((n) => (u > x ? n : -n));
      const away = 9 + width / 2 + 3 * Math.max(text.length - 1, 0) * Math.abs(nx);
      return { place: [x + away * nx, y + away * ny], cost: 0.5 * rank + (side < 0 ? 1 : 0) };
    });
  });
}
