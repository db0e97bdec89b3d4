// What follows from an order alone: flops, bytes of the products and intermediates, counted as tnlayers/pricing/counts.py counts
// them (copies and chunks left out; tnlayers/explore/prices.py has the same numbers). All counts are BigInts: exact.

const ITEMSIZES = { float16: 2n, bfloat16: 2n, float32: 4n, float64: 8n, complex64: 8n, complex128: 16n };

// The entries of an array with these axes.
function elements(indices, sizes) {
  return indices.reduce((product, index) => product * BigInt(sizes[index]), 1n);
}

// The axes that two operands leave: those that the result or something else that is left still has.
function contracted(first, second, others, output) {
  const kept = new Set([...output, ...others.flat()]);
  return [...new Set([...first, ...second])].filter((index) => kept.has(index));
}

// The steps of a path, which need not be complete, each with its price; first what single operands settle alone.
// `network` is an entry of the page's data, `sizes` its sizes with the batch at hand.
function priced(network, sizes, path, itemsize) {
  const operands = Object.values(network.operands);
  const alive = new Map(network.reduced.map((indices, register) => [register, indices]));
  const held = new Map();
  const memory = () => [...held.values()].reduce((sum, bytes) => sum + bytes, 0n);
  const steps = [];
  for (const { operand, diagonals, axes, sums } of network.alone) {
    const before = elements(axes, sizes);
    const after = elements(network.reduced[operand], sizes);
    const read = diagonals.reduce((sum, each) => sum + 2n * elements(each, sizes), sums ? before + after : 0n);
    const result = itemsize * after;
    held.set(operand, result);
    steps.push({ alone: operand, reads: [operand], indices: network.reduced[operand],
      flops: before - after, bytes: itemsize * read, result, memory: memory() });
  }
  path.forEach(([a, b], number) => {
    const [first, second] = [alive.get(a), alive.get(b)];
    alive.delete(a);
    alive.delete(b);
    const indices = contracted(first, second, [...alive.values()], network.output);
    const result = itemsize * elements(indices, sizes);
    const register = operands.length + number;
    alive.set(register, indices);
    held.set(register, result);
    steps.push({ pair: number, reads: [a, b], register, indices,
      flops: 2n * elements([...new Set([...first, ...second])], sizes),
      bytes: itemsize * (elements(first, sizes) + elements(second, sizes)) + result,
      result, memory: memory() });
    held.delete(a);
    held.delete(b);
  });
  return steps;
}

// The price of some steps together.
function totals(steps) {
  const largest = (name) => steps.reduce((most, step) => (step[name] > most ? step[name] : most), 0n);
  const sum = (name) => steps.reduce((all, step) => all + step[name], 0n);
  return { flops: sum("flops"), bytes: sum("bytes"), largest: largest("result"), memory: largest("memory") };
}

// The dense layer of equal size, by the same rules; null for an einsum, which has none.
function densePrice(features, batch, itemsize) {
  if (!features) return null;
  const [inFeatures, outFeatures] = features;
  const [m, n, b] = [BigInt(inFeatures), BigInt(outFeatures), BigInt(batch)];
  const result = itemsize * b * n;
  return { flops: 2n * b * m * n, bytes: itemsize * (b * m + m * n) + result, largest: result, memory: result };
}

// Three digits as Python writes them, which rounds an exact half to an even digit: 1.125 is 1.12.
function threeDigits(value) {
  const half = /^\d\d[02468]50*$/.test(value.toPrecision(30).replace(".", ""));
  return Number((half ? value * (1 - 1e-9) : value).toPrecision(3));
}

// A count with three digits and a decimal prefix, as plans print it: 12345678 is "12.3 M".
function amount(count) {
  let value = Number(count);
  for (const prefix of ["", "k", "M", "G", "T", "P"]) {
    if (value < 999.5) return prefix ? `${threeDigits(value)} ${prefix}` : String(value);
    value /= 1000;
  }
  return `${threeDigits(value)} E`;
}

function byteText(count) {
  const text = amount(count);
  return text.includes(" ") ? `${text}B` : `${text} B`;
}

function timeText(seconds) {
  const [value, unit] = seconds < 1e-3 ? [seconds * 1e6, "µs"] : seconds < 1 ? [seconds * 1e3, "ms"] : [seconds, "s"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

// How many times as much one count is as another.
function times(count, other) {
  if (!count || !other) return "";
  const ratio = Number(count) / Number(other);
  return ratio > 0 && ratio < 0.001 ? "× < 0.001" : `× ${Number(ratio.toPrecision(3))}`;
}
