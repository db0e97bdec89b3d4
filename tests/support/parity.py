"""The table of parity: kinds of layers x where they live x what they do there; each cell is a test, or says why not.

`tests/backends/test_parity.py` runs it, `docs/results/parity.py` writes it into docs/backends.md.
"""

from functools import lru_cache

import numpy as np
import torch
from kind_rows import KINDS, inputs, leaves

import tnlayers as tnl

PLACES = {"numpy": "numpy", "torch": "torch", "nnx": "Flax NNX", "eqx": "Equinox", "linen": "Flax Linen"}
ABILITIES = ("forward", "gradients", "jit", "save/load")

NO_GRADIENTS = "numpy does not differentiate"
NO_TRACE = "numpy runs as it is called: there is nothing to trace"
COMPILED = "torch.compile and export are tested in tests/backends/torch/run/test_torch_compile.py, not here"


def reason(place, ability):
    """Why a cell has no test here; "" where it has one."""
    if place == "numpy":
        return {"gradients": NO_GRADIENTS, "jit": NO_TRACE}.get(ability, "")
    return COMPILED if (place, ability) == ("torch", "jit") else ""


CELLS = [(kind, place, ability) for kind in KINDS for place in PLACES for ability in ABILITIES]
TESTED = [cell for cell in CELLS if not reason(*cell[1:])]


@lru_cache(maxsize=2)
def reference(kind):
    """A torch layer in evaluation mode, its inputs, outputs, and gradients of a loss by parameter."""
    make, shape = KINDS[kind]
    layer, given = make().eval(), inputs(shape)
    y = layer(*map(torch.from_numpy, given))
    outputs = leaves(y)
    loss = sum((one * torch.from_numpy(weights(one))).sum() for one in tensors(y))
    found = dict(layer.named_parameters())
    trained = {name: value for name, value in found.items() if value.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return layer, given, outputs, {name: g.numpy() for name, g in zip(trained, gradients, strict=True) if g is not None}


def tensors(value):
    if isinstance(value, tuple):
        return [one for part in value for one in tensors(part)]
    return [value]


def weights(one):
    """What each output counts in the loss."""
    return np.cos(np.arange(one.numel() if isinstance(one, torch.Tensor) else one.size)).reshape(tuple(one.shape))


def assert_close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def on_jax(place, layer):
    """A jax layer as users of a library hold it: the function `run(params, *inputs)`, and the params."""
    if place == "nnx":
        from flax import nnx

        graph, state = nnx.split(tnl.jax.nnx.TNModule(layer))
        return lambda state, *given: nnx.merge(graph, state)(*given), state
    if place == "eqx":
        return lambda module, *given: module(*given), tnl.jax.eqx.TNModule(layer)
    from flax import linen

    class Held(linen.Module):
        @linen.compact
        def __call__(self, *given):
            return layer.apply(self.param("layer", lambda key: layer.params), *given)

    return lambda variables, *given: Held().apply(variables, *given), {"params": {"layer": layer.params}}


def by_name(place, params):
    """The arrays of such params by their names in torch."""
    if place == "nnx":
        from flax import nnx

        return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(params)}
    return params.layer.params if place == "eqx" else params["params"]["layer"]


@lru_cache(maxsize=2)
def traced(kind, place):
    """Outputs and gradients of a kind on jax, in one compiled function."""
    import jax

    layer, given, outputs, _ = reference(kind)
    run, params = on_jax(place, tnl.to_backend(layer, "jax"))

    def loss(params, *given):
        y = run(params, *given)
        return sum((one * weights(one)).sum() for one in jax.tree.leaves(y)), y

    lowered = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(params, *given)
    (_, y), gradients = lowered.compile({"xla_backend_optimization_level": 0})(params, *given)  # half the time
    assert len(outputs) == len(leaves(y))
    return leaves(y), {name: np.asarray(array) for name, array in by_name(place, gradients).items()}


def check(kind, place, ability, folder):
    """Run one cell; raises AssertionError where it does not hold."""
    layer, given, outputs, gradients = reference(kind)
    if ability == "save/load":
        return check_file(kind, place, folder)
    if place in ("numpy", "torch"):
        if ability == "gradients":  # those of torch against differences of its outputs along one direction
            return check_differences(layer, given, gradients)
        moved = tnl.to_backend(layer, place)
        x = map(torch.from_numpy, given) if place == "torch" else given
        return assert_close(leaves(moved(*x)), outputs)
    if ability == "forward":
        run, params = on_jax(place, tnl.to_backend(layer, "jax"))
        return assert_close(leaves(run(params, *given)), outputs)
    y, found = traced(kind, place)
    if ability == "jit":
        return assert_close(y, outputs)
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
    else:
        there = {
            "nnx": lambda: tnl.jax.nnx.TNModule(there).layer,
            "eqx": lambda: tnl.jax.eqx.TNModule(there).layer,
        }.get(place, lambda: there)()
    tnl.save(there, folder / "again")
    return assert_close(leaves(tnl.load(folder / "again", backend="numpy")(*given)), outputs)


def table():
    """The table as Markdown: what is tested in each cell."""
    marks = {"forward": "f", "gradients": "g", "jit": "j", "save/load": "s"}
    lines = ["| kind | " + " | ".join(PLACES.values()) + " |", "| --- " * (len(PLACES) + 1) + "|"]
    for kind in KINDS:
        cells = [" ".join(marks[a] for a in ABILITIES if not reason(place, a)) for place in PLACES]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)
