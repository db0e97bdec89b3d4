"""Torch modules as forms, which numpy and jax run: layers of cores, ordinary modules, and models of such by tracing.

One table has the classes of modules; `step_tables` has the functions and methods that a forward pass may call between
them. A model is traced by `torch.fx` in evaluation mode; what is in no table is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Form
from tnlayers.forms.kinds import networked
from tnlayers.forms.several import Adapter, Attention, Cell, Recurrent
from tnlayers.forms.steps import Ref, Step, Steps
from tnlayers_backends.torch.layers.attention import TNMultiheadAttention
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.recurrent_cells import TNRecurrentCell
from tnlayers_backends.torch.layers.sequence import TNRecurrent
from tnlayers_backends.torch.modules.adapter import TNAdapter
from tnlayers_backends.torch.modules.followable import SeenInPlace, check_modules, check_overwritten, followed
from tnlayers_backends.torch.modules.ordinary_table import ORDINARY
from tnlayers_backends.torch.modules.quantising import without_codes
from tnlayers_backends.torch.modules.saved import state_of
from tnlayers_backends.torch.modules.step_tables import FUNCTIONS, METHODS, Call
from tnlayers_backends.torch.modules.storage import dtype_name, take_apart


def _parts(one: nn.Module, *names: str) -> tuple[tuple[str, Form], ...]:
    return tuple((name, form_of(one.get_submodule(name))) for name in names)


def _attention(one: TNMultiheadAttention) -> Form:
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    return Attention(one.num_heads, one.batch_first, parts=_parts(one, *names))


def _cell(one: TNRecurrentCell) -> Form:
    return Cell(one.mode, one.input_size, one.hidden_size, parts=_parts(one, "ih", "hh"))


def _recurrent(one: TNRecurrent) -> Form:
    names = ("mode", "input_size", "hidden_size", "num_layers", "batch_first", "bidirectional", "proj_size")
    return Recurrent(**{name: getattr(one, name) for name in names}, parts=_parts(one, *one.projections()))


# Class of a module -> its form.
MODULES: dict[type[nn.Module], Callable[[Any], Form]] = {
    **ORDINARY,
    TNMultiheadAttention: _attention,
    TNAdapter: lambda one: Adapter(parts=_parts(one, "base", "delta")),
}
# Likewise, for every class derived from these that tnlayers has.
_FAMILIES: dict[type[nn.Module], Callable[[Any], Form]] = {TNRecurrentCell: _cell, TNRecurrent: _recurrent}


def describe(module: nn.Module) -> tuple[Form, dict[str, Tensor]]:
    """A module, of one layer or of many, as a form and its arrays by name, as it evaluates.

    Raises:
        TNLayersError: If something in it has no form on other backends: with its name and what mends it.
    """
    module = without_codes(module)
    check_modules(module)
    form = form_of(module)
    state = module.state_dict(keep_vars=True)
    missing = [name for name in form.shapes if name not in state]
    if missing:
        raise TNLayersError(
            f"This {type(module).__name__} holds {', '.join(missing[:3])} not as parameters of its own: they are "
            "computed from others (parametrised, or pruned). Remove that first."
        )
    return form, {name: state[name] for name in form.shapes}


def form_of(module: nn.Module) -> Form:
    """The form of a module.

    Raises:
        TNLayersError: As for `describe`.
    """
    form = _leaf(module)
    return _traced(module) if form is None else form


def is_known(module: nn.Module) -> bool:
    """Whether a module can be described without running code of others: a form, or a row of such."""
    if _maker(module) is not None:
        return True
    return type(module) is nn.Sequential and all(is_known(child) for child in module.children())


def _maker(module: nn.Module) -> Callable[[Any], Form] | None:
    if isinstance(module, TNModule):
        return _layer
    own = type(module).__module__.partition(".")[0] == __name__.partition(".")[0]
    family = next((make for kind, make in _FAMILIES.items() if own and isinstance(module, kind)), None)
    return MODULES.get(type(module), family)


def _leaf(module: nn.Module) -> Form | None:
    make = _maker(module)
    return None if make is None else make(module)


def _layer(layer: TNModule) -> Form:
    """A layer of one network."""
    parts = take_apart(layer)
    dtype = dtype_name(parts.arrays[next(iter(parts.spec.shapes))])
    orders = {name: array for name, array in parts.arrays.items() if name in ("in_order", "out_place")}
    linear = LinearMap(parts.spec, dtype, pinned=parts.plan, buckets=())
    return networked(parts.kind, linear, parts.keywords, {name: array.tolist() for name, array in orders.items()})


class _Tracer(fx.Tracer):
    """Stops at modules that have a form, and at those of torch, which are refused by name."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A value that tells `x += y` from `x = x + y`."""
        return SeenInPlace(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        of_torch = type(m).__module__.startswith("torch.nn.") and not isinstance(m, (nn.Sequential, nn.ModuleList))
        return _maker(m) is not None or of_torch


def _traced(module: nn.Module) -> Steps:
    """A model as steps.

    Raises:
        TNLayersError: If its forward pass cannot be followed, or has a step of no table.
    """
    name = type(module).__name__
    graph = followed(module, _Tracer())
    check_overwritten(graph.nodes, module)
    parts: dict[str, Form] = {}
    steps: list[Step] = []
    refs: dict[fx.Node, Ref] = {}
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    output: Any = None
    for number, node in enumerate(inputs):
        refs[node] = Ref(number)

    def add(step: Step) -> Ref:
        """A step, after those among its arguments."""
        args = tuple(add(one) if isinstance(one, Step) else one for one in step.args)
        steps.append(Step(step.function, args))
        return Ref(len(inputs) + len(steps) - 1)

    for node in graph.nodes:
        if node.op == "placeholder":
            continue
        args = tuple(_argument(one, refs, name) for one in node.args)
        options = {key: _argument(one, refs, name) for key, one in node.kwargs.items()}
        if node.op == "output":
            (output,) = args
        elif node.op == "call_module":
            refs[node] = add(_called(module, str(node.target), args, options, parts))
        elif node.op == "get_attr":
            refs[node] = add(Step("array", (str(node.target),)))
        else:
            table: Mapping[Any, Callable[..., Call]] = METHODS if node.op == "call_method" else FUNCTIONS
            refs[node] = add(_step(table, node.target, args, options, name))
    return _assembled(module, parts, len(inputs), tuple(steps), output)


def _assembled(module: nn.Module, parts: dict[str, Form], inputs: int, steps: tuple[Step, ...], output: Any) -> Steps:
    made = Steps(parts=tuple(parts.items()), inputs=inputs, steps=steps, output=output)
    state = module.state_dict(keep_vars=True)
    read = [step.args[0] for step in steps if step.function == "array"]
    held = {name: tuple(state[name].shape) for name in read if name in state and name not in made.shapes}
    if lost := [name for name in read if name not in state]:
        raise TNLayersError(
            f"The forward pass of this {type(module).__name__} reads {lost[0]!r}, which is no part of its state dict."
        )
    names = made.shapes.keys() | held.keys()
    tied = {alias: other for alias, other in state_of(module)[1].items() if alias in names and other in names}
    return Steps(
        **{key: getattr(made, key) for key in ("parts", "inputs", "steps", "output")},
        held=tuple((name, shape) for name, shape in held.items() if name not in tied),
        tied=tuple(tied.items()),
    )


def _called(
    module: nn.Module, path: str, args: tuple[Any, ...], options: Mapping[str, Any], parts: dict[str, Form]
) -> Step:
    """The step that calls a module inside."""
    inner = module.get_submodule(path)
    try:
        form = _leaf(inner)
    except TNLayersError as error:
        raise TNLayersError(f"{path!r} of this {type(module).__name__}: {error}") from error
    if form is None:
        known = ", ".join(kind.__name__ for kind in MODULES)
        raise TNLayersError(
            f"{path!r} of this {type(module).__name__} is a {type(inner).__name__}, which has no form on numpy and jax "
            f"so far. Layers of tnl.nn have one, and {known}."
        )
    if options:
        raise TNLayersError(
            f"{path!r} of this {type(module).__name__} is called with {', '.join(options)} by name. Give its arguments "
            "by place, so that it can be followed."
        )
    parts[path] = form
    return Step("call", (path, *args))


def _step(
    table: Mapping[Any, Callable[..., Call]], target: Any, args: tuple[Any, ...], options: Mapping[str, Any], name: str
) -> Step:
    what = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    make = table.get(target)
    if make is None:
        known = sorted({*METHODS, *(getattr(one, "__name__", str(one)) for one in FUNCTIONS)})
        raise TNLayersError(
            f"The forward pass of this {name} calls {what!r}, which has no form on numpy and jax so far. These have: "
            f"{', '.join(known)}."
        )
    try:
        return Step(*make(*args, **options))
    except TypeError as error:
        raise TNLayersError(
            f"The forward pass of this {name} calls {what!r} with {str(args)[:100]}, {str(dict(options))[:100]}, which "
            f"has no form on numpy and jax ({error})."
        ) from error


def _argument(value: Any, refs: Mapping[fx.Node, Ref], name: str) -> Any:
    """An argument of a step: references, numbers, texts and tuples of them."""
    if isinstance(value, fx.Node):
        return refs[value]
    if isinstance(value, (tuple, list)):
        return tuple(_argument(one, refs, name) for one in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TNLayersError(f"A step of this {name} has the argument {str(value)[:60]!r}, which no file could hold.")
