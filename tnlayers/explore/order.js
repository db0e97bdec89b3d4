// An order under way: pairs of registers, and how many of them are carried out. Orders are values: picking, undoing and
// walking give new ones. `by` is "planner" or "hand".

const start = (path, by) => ({ path, at: by === "hand" ? path.length : 0, by });

const walked = (order, at) => ({ ...order, at: Math.max(0, Math.min(at, order.path.length)) });

// The pair contracted next, in place of everything that followed.
function picked(order, pair) {
  const path = [...order.path.slice(0, order.at), pair];
  return { path, at: path.length, by: "hand" };
}

// Without the last pair carried out.
function undone(order) {
  const path = order.path.slice(0, Math.max(order.at - 1, 0));
  return { path, at: path.length, by: "hand" };
}

// What is left after the steps carried out: each register with its axes and the operands in it.
function left(network, order) {
  const names = Object.keys(network.operands);
  const found = new Map(names.map((name, k) => [k, { register: k, name, members: [k], indices: network.reduced[k] }]));
  order.path.slice(0, order.at).forEach(([a, b], number) => {
    const [first, second] = [found.get(a), found.get(b)];
    found.delete(a);
    found.delete(b);
    const register = names.length + number;
    const others = [...found.values()].map((thing) => thing.indices);
    found.set(register, { register, name: `step ${number + 1}`, members: [...first.members, ...second.members],
      indices: contracted(first.indices, second.indices, others, network.output) });
  });
  return [...found.values()];
}

// A complete order in the words of Plan.to_dict: what Plan.from_json reads. `plan` is the planner's, where the order is
// its own: how it is walked goes with it.
function planJson(data, network, sizes, order, plan) {
  return JSON.stringify({
    format: "tnlayers.plan/1",
    title: network.spec,
    operands: network.operands,
    output: network.output,
    sizes,
    batch_index: network.batch_index,
    features: network.features,
    objective: plan?.objective ?? "forward",
    dtype: data.dtype,
    found_by: plan?.found_by ?? "hand",
    path: order.path,
    chunk: plan?.chunk ?? null,
    slices: plan?.slices ?? [],
    stacked: plan?.stacked ?? true,
  });
}
