"""The table of all forms, how one is made of a layer's parts, and how files keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError
from tnlayers.forms import ordinary, several
from tnlayers.forms.convolution import CONVOLUTIONS
from tnlayers.forms.form import Form
from tnlayers.forms.networked import ORDERS, Bilinear, Linear, Networked, TensorLinear
from tnlayers.forms.several import Several
from tnlayers.forms.steps import FUNCTIONS, Ref, Step, Steps
from tnlayers.forms.tables import Embedding, EmbeddingBag
from tnlayers.program.program import Array

# Layers of one network, by the names that files have for their kinds.
NETWORKED: dict[str, type[Networked]] = {
    one.kind: one for one in (Linear, *CONVOLUTIONS.values(), Embedding, EmbeddingBag, Bilinear, TensorLinear)
}
# All other modules.
MODULES: dict[str, type[Form]] = {
    one.kind: one
    for one in (
        ordinary.Dense,
        ordinary.DenseConvolution,
        ordinary.DenseEmbedding,
        ordinary.BatchNorm,
        ordinary.LayerNorm,
        ordinary.Elementwise,
        ordinary.Identity,
        ordinary.Flatten,
        ordinary.Pool,
        ordinary.GlobalMean,
        several.Attention,
        several.Cell,
        several.Recurrent,
        several.Adapter,
        Steps,
    )
}


def networked(kind: str, linear: LinearMap, keywords: Mapping[str, Any], arrays: Mapping[str, Array]) -> Networked:
    """The form of a layer of one network; orders of its features are read from the arrays.

    Args:
        kind: A name of `NETWORKED`.
        linear: The network.
        keywords: What the kind needs beside; lists as JSON has them are taken for tuples.
        arrays: Where orders are, if there are any.

    Raises:
        TNLayersError: If the kind is unknown, or the keywords are not what it takes.
    """
    known = NETWORKED.get(kind)
    if known is None:
        raise TNLayersError(
            f"A layer of kind {kind!r} is not known here; known are {', '.join(NETWORKED)}. Use the version of "
            "tnlayers that made it."
        )
    orders = {name: tuple(map(int, arrays[name])) for name in ORDERS if name in arrays}
    expected = {one.name for one in fields(known) if one.init} - {"map", *ORDERS}
    if set(keywords) != expected or (orders and not issubclass(known, Linear)):
        raise TNLayersError(
            f"A layer of kind {kind!r} takes {sorted(expected)} beside its network; given are {sorted(keywords)}"
            f"{' and orders of features' if orders else ''}."
        )
    for name, order in orders.items():
        features = linear.spec.in_features if name == "in_order" else linear.spec.out_features
        if sorted(order) != list(range(features)):
            raise TNLayersError(f"{name!r} is no order of the {features} features of {str(linear.spec)[:120]}.")
    try:
        return known(linear, **_tuples(keywords), **orders)
    except (ArithmeticError, TypeError) as error:  # a file may have keywords that no caller would write
        raise TNLayersError(f"No layer of kind {kind!r} has {str(dict(keywords))[:300]}: {error}") from error


def order_arrays(form: Form) -> dict[str, tuple[int, ...]]:
    """The orders of a form, which files keep as arrays."""
    return {name: order for name in ORDERS if (order := getattr(form, name, ()))}


def check_arrays(form: Form, arrays: Mapping[str, Array]) -> None:
    """Refuse arrays that are not exactly those of a form.

    Raises:
        TNLayersError: With the first names that differ.
    """
    wanted = form.shapes
    missing, surplus = sorted(wanted.keys() - arrays.keys()), sorted(arrays.keys() - wanted.keys())
    if missing or surplus:
        raise TNLayersError(
            f"A module of kind {form.kind!r} needs arrays that are not there ({', '.join(missing[:5])}), or was given "
            f"others ({', '.join(surplus[:5])})."
        )
    for name, shape in wanted.items():
        if tuple(arrays[name].shape) != shape:
            raise TNLayersError(f"{name!r} has shape {tuple(arrays[name].shape)}; it needs {shape}.")


def form_to_data(form: Form) -> dict[str, Any]:
    """A form as JSON can hold it. Layers of one network are named alone: the file has a record of each."""
    if isinstance(form, Networked):
        return {"kind": form.kind}
    own = {one.name: _plain(getattr(form, one.name)) for one in fields(form) if one.init and one.name != "parts"}
    parts = [[name, form_to_data(child)] for name, child in form.children]
    return {"kind": form.kind, "fields": own} | ({"parts": parts} if isinstance(form, Several) else {})


def form_from_data(data: Any, layer: Callable[[str], Networked], path: str = "") -> Form:
    """Read what `form_to_data` wrote.

    Args:
        data: Parsed.
        layer: The form of the layer of one network at a path.
        path: The form's place in the module.

    Raises:
        TNLayersError: Something in it is not as a form has it.
    """
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise TNLayersError(f"The module at {path[:60]!r} is described by {str(data)[:60]!r}, which names no kind.")
    if data["kind"] in NETWORKED:
        found = layer(path)
        if found.kind != data["kind"]:
            raise TNLayersError(f"The layer at {path[:60]!r} is a {found.kind}, described as a {data['kind']}.")
        return found
    known = MODULES.get(data["kind"])
    own = data.get("fields")
    expected = {one.name for one in fields(known) if one.init} - {"parts"} if known is not None else set()
    if known is None or not isinstance(own, dict) or set(own) != expected:
        raise TNLayersError(
            f"The module at {path[:60]!r} is of kind {data['kind'][:60]!r} with {sorted(own or [])[:10]}, which this "
            "version of tnlayers does not know. Use the version that made the file."
        )
    values = {name: _read(value) for name, value in own.items()}
    if issubclass(known, Several):
        values["parts"] = tuple(_part(one, layer, path) for one in data.get("parts", ()))
    try:
        form = known(**values)
        if isinstance(form, Steps):
            _check_steps(form)
        form.shapes  # noqa: B018  works out every size
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise TNLayersError(
            f"The module at {path[:60]!r} is not described as its kind is: {str(error)[:300]}"
        ) from error
    return form


def _part(data: Any, layer: Callable[[str], Networked], path: str) -> tuple[str, Form]:
    if not isinstance(data, list) or len(data) != 2 or not isinstance(data[0], str):
        raise TNLayersError(f"A part of the module at {path[:60]!r} has no name.")
    return data[0], form_from_data(data[1], layer, f"{path}.{data[0]}" if path else data[0])


def _check_steps(form: Steps) -> None:
    """Whether each step is of a known function, and reads what is there before it."""
    parts = {name for name, _ in form.parts}
    arrays = {*form.shapes, *(name for name, _ in form.tied)}
    for number, step in enumerate(form.steps):
        known = {"call": parts, "array": arrays}.get(step.function)
        if known is None and step.function not in FUNCTIONS:
            raise TypeError(f"step {number} is {step.function[:60]!r}, which is no function here")
        if known is not None and (not step.args or step.args[0] not in known):
            raise TypeError(f"step {number} reads {str(step.args[:1])[:60]}, which is not there")
        _check_refs(step.args, form.inputs + number)
    _check_refs(form.output, form.inputs + len(form.steps))


def _check_refs(value: Any, made: int) -> None:
    if isinstance(value, Ref) and not 0 <= value.number < made:
        raise TypeError(f"a step reads result {value.number}, of which there are {made} before it")
    if isinstance(value, tuple):
        for one in value:
            _check_refs(one, made)


def _plain(value: Any) -> Any:
    """A field's value for JSON."""
    if isinstance(value, Ref):
        return {"ref": value.number}
    if isinstance(value, Step):
        return {"do": value.function, "args": _plain(value.args)}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value


def _read(value: Any) -> Any:
    """What `_plain` wrote."""
    if isinstance(value, list):
        return tuple(_read(one) for one in value)
    if isinstance(value, dict):
        if set(value) == {"ref"} and type(value["ref"]) is int:
            return Ref(value["ref"])
        if set(value) == {"do", "args"} and isinstance(value["do"], str) and isinstance(value["args"], list):
            return Step(value["do"], _read(value["args"]))
        raise TNLayersError(f"{str(value)[:60]!r} in the description of a module is neither a step nor a reference.")
    return value


def _tuples(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in keywords.items()}
