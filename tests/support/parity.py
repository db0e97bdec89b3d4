"""The table of parity: kinds of layers x where they live x what they do there; each cell is a test, or says why not.

`tests/backends/test_parity.py` runs it, `docs/results/parity.py` writes it into docs/backends.md.
"""

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from kind_rows import KINDS, inputs, leaves
from named_classes import named

import tnlayers as tnl

PLACES = {"numpy": "numpy", "torch": "torch", "nnx": "Flax NNX", "eqx": "Equinox", "linen": "Flax Linen"}
ABILITIES = ("forward", "gradients", "jit", "training", "save/load")
STEPS, RATE = 3, 1e-2

NO_GRADIENTS = "numpy does not differentiate"
NO_TRACE = "numpy runs as it is called: there is nothing to trace"
COMPILED = "torch.compile and export are tested in tests/backends/torch/run/test_torch_compile.py, not here"
FOLLOWED = "training by Adam on torch is what the others are compared with, step by step"


def reason(place, ability):
    """Why a cell has no test here; "" where it has one."""
    if place == "numpy":
        return {"gradients": NO_GRADIENTS, "training": NO_GRADIENTS, "jit": NO_TRACE}.get(ability, "")
    return {"jit": COMPILED, "training": FOLLOWED}.get(ability, "") if place == "torch" else ""


CELLS = [(kind, place, ability) for kind in KINDS for place in PLACES for ability in ABILITIES]
TESTED = [cell for cell in CELLS if not reason(*cell[1:])]


def reference(kind, place="torch"):
    """A torch layer in evaluation mode, its inputs, outputs, and gradients of a loss by parameter."""
    return _reference(kind, gives_no_weights(kind, place))


def trained(kind, place):
    """Outputs of a torch layer before each of a few steps of Adam."""
    return _trained(kind, gives_no_weights(kind, place))


def gives_no_weights(kind, place):
    """Whether a layer is attention of flax or Equinox, which returns the output alone."""
    return kind == "TNMultiheadAttention" and place in ("nnx", "eqx")


def called(layer, given, without_weights):
    y = layer(*map(torch.from_numpy, given))
    return y[0] if without_weights else y


def loss_of(y):
    return sum((one * torch.from_numpy(weights(one))).sum() for one in tensors(y))


@lru_cache(maxsize=2)
def _reference(kind, without_weights):
    make, shape = KINDS[kind]
    layer, given = make().eval(), inputs(shape)
    y = called(layer, given, without_weights)
    found = {name: value for name, value in layer.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(loss_of(y), list(found.values()), allow_unused=True)
    return layer, given, leaves(y), {n: g.numpy() for n, g in zip(found, gradients, strict=True) if g is not None}


@lru_cache(maxsize=2)
def _trained(kind, without_weights):
    layer, given, _, _ = _reference(kind, without_weights)
    layer, found = deepcopy(layer), []
    optimizer = torch.optim.Adam([one for one in layer.parameters() if one.requires_grad], RATE)
    for _ in range(STEPS):
        y = called(layer, given, without_weights)
        found += leaves(y)
        optimizer.zero_grad()
        loss_of(y).backward()
        optimizer.step()
    return found


def tensors(value):
    if isinstance(value, tuple):
        return [one for part in value for one in tensors(part)]
    return [value]


def weights(one):
    """What each output counts in the loss."""
    return np.cos(np.arange(one.numel() if isinstance(one, torch.Tensor) else one.size)).reshape(tuple(one.shape))


def assert_close(found, expected, rtol=1e-10):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol / 100)


def held_by(kind, place, layer):
    """A jax layer as users of a library hold it: the function `run(params, *inputs)`, the params, and their names."""
    if place == "linen":
        from flax import linen

        class Held(linen.Module):
            @linen.compact
            def __call__(self, *given):
                return layer.apply(self.param("layer", lambda key: layer.params), *given)

        run = lambda variables, *given: Held().apply(variables, *given)  # noqa: E731
        return run, {"params": {"layer": layer.params}}, lambda params: params["params"]["layer"]
    row = named(kind, place)
    return row.call, row.holding(layer), row.by_torch_name


def training(kind, place, layer):
    """The state of a training by optax, its step `step(state, *given)`: the next state, outputs, gradients by name."""
    import equinox as eqx
    import jax
    import optax
    from flax import nnx

    run, params, by_name = held_by(kind, place, layer)

    def loss(params, *given):
        y = run(params, *given)
        return sum((one * weights(one)).sum() for one in jax.tree.leaves(y)), y

    if place == "nnx":
        graph, state = nnx.split((params, nnx.Optimizer(params, optax.adam(RATE), wrt=nnx.Param)))

        def step(state, *given):
            module, optimizer = nnx.merge(graph, state)
            (_, y), gradients = nnx.value_and_grad(loss, has_aux=True)(module, *given)
            optimizer.update(module, gradients)
            return nnx.state((module, optimizer)), y, by_name(gradients)

        return state, step
    optimizer = optax.adam(RATE)
    arrays, static = eqx.partition(params, eqx.is_inexact_array)

    def step(state, *given):
        arrays, moments = state
        whole = lambda arrays, *given: loss(eqx.combine(arrays, static), *given)  # noqa: E731
        (_, y), gradients = jax.value_and_grad(whole, has_aux=True)(arrays, *given)
        updates, moments = optimizer.update(gradients, moments, arrays)
        return (optax.apply_updates(arrays, updates), moments), y, by_name(gradients)

    return (arrays, optimizer.init(arrays)), step


@lru_cache(maxsize=2)
def traced(kind, place):
    """Outputs and gradients of a kind on jax, and outputs before each step of a training: one compiled function."""
    import jax

    layer, given, _, _ = reference(kind, place)
    state, step = training(kind, place, tnl.to_backend(layer, "jax"))
    lowered = jax.jit(step).lower(state, *given)
    compiled, seen, first = lowered.compile({"xla_backend_optimization_level": 0}), [], None  # half the time
    for _ in range(STEPS):
        state, y, gradients = compiled(state, *given)
        seen += leaves(y)
        first = {name: np.asarray(array) for name, array in gradients.items()} if first is None else first
    return seen[: len(seen) // STEPS], first, seen


def check(kind, place, ability, folder):
    """Run one cell; raises AssertionError where it does not hold."""
    layer, given, outputs, gradients = reference(kind, place)
    if ability == "save/load":
        return check_file(kind, place, folder)
    if place in ("numpy", "torch"):
        if ability == "gradients":  # those of torch against differences of its outputs along one direction
            return check_differences(layer, given, gradients)
        moved = tnl.to_backend(layer, place)
        x = map(torch.from_numpy, given) if place == "torch" else given
        return assert_close(leaves(moved(*x)), outputs)
    if ability == "forward":
        run, params, _ = held_by(kind, place, tnl.to_backend(layer, "jax"))
        return assert_close(leaves(run(params, *given)), outputs)
    y, found, seen = traced(kind, place)
    if ability == "jit":
        return assert_close(y, outputs)
    if ability == "training":
        return assert_close(seen, trained(kind, place), 1e-9)
    return assert_close([found[name] for name in gradients], list(gradients.values()))


def check_differences(layer, given, gradients):
    """Torch's gradients along one direction are central differences of its loss."""
    step, along, values = 1e-6, 0.0, []
    parameters = {name: value for name, value in layer.named_parameters() if name in gradients}
    directions = {name: np.sin(np.arange(g.size)).reshape(g.shape) for name, g in gradients.items()}
    along = sum((g * directions[name]).sum() for name, g in gradients.items())
    with torch.no_grad():
        for sign in (1, -2):
            for name, value in parameters.items():
                value += sign * step * torch.from_numpy(directions[name])
            y = leaves(layer(*map(torch.from_numpy, given)))
            values.append(sum((one * weights(one)).sum() for one in y))
        for name, value in parameters.items():
            value += step * torch.from_numpy(directions[name])
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), along, rtol=1e-5, atol=1e-7)


def check_file(kind, place, folder):
    """What torch saved gives the same there, and what is saved there gives the same on numpy."""
    layer, given, outputs, _ = reference(kind)
    tnl.save(layer, folder / "torch")
    if place == "torch":
        whole = tnl.io.header(folder / "torch").object != "layer"
        again = tnl.load(folder / "torch", into=KINDS[kind][0]()) if whole else tnl.load(folder / "torch")
        return assert_close(leaves(again.eval()(*map(torch.from_numpy, given))), outputs)
    there = tnl.load(folder / "torch", backend="numpy" if place == "numpy" else "jax")
    if place == "numpy":
        assert_close(leaves(there(*given)), outputs)
    elif place != "linen":
        row = named(kind, place)
        module = row.holding(there)
        # Cells and attention are modules of modules: their arrays, in the layer that was loaded, are saved.
        there = module.layer if hasattr(module, "layer") else replace(there, params=row.by_torch_name(module))
    tnl.save(there, folder / "again")
    return assert_close(leaves(tnl.load(folder / "again", backend="numpy")(*given)), outputs)


def table():
    """The table as Markdown: what is tested in each cell."""
    marks = {"forward": "f", "gradients": "g", "jit": "j", "training": "t", "save/load": "s"}
    lines = ["| kind | " + " | ".join(PLACES.values()) + " |", "| --- " * (len(PLACES) + 1) + "|"]
    for kind in KINDS:
        cells = [" ".join(marks[a] for a in ABILITIES if not reason(place, a)) for place in PLACES]
        cells = [
            f"`{named(kind, place).name}` {cell}" if place in ("nnx", "eqx") else cell
            for place, cell in zip(PLACES, cells, strict=True)
        ]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)
