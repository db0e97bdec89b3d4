"""Following a forward pass by torch.fx, and what a trace does not see: hooks, forwards, values overwritten."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.ordinary import computes

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
# Steps whose result may share its memory with their first argument.
_VIEWS_BY_NAME = ("view", "reshape", "flatten", "permute", "transpose", "unflatten", "contiguous")
_VIEWS = (torch.flatten, torch.permute, torch.reshape, torch.transpose, torch.unflatten, operator.getitem)
_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Flatten)
_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
_MAYBE_IN_PLACE = (torch.relu, functional.relu, functional.silu)


class SeenInPlace(fx.Proxy):
    """A value of a trace whose augmented assignments are recorded as such: `fx.Proxy` records `x += y` as `x + y`."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        """`x += other`."""
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> fx.Proxy:
        """`x -= other`."""
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> fx.Proxy:
        """`x *= other`."""
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> fx.Proxy:
        """`x /= other`."""
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


def followed(module: nn.Module, tracer: fx.Tracer) -> fx.Graph:
    """The trace of a forward pass with all its inputs, or else with those left out that are None by default.

    Args:
        module: What is followed, in evaluation mode.
        tracer: Says which modules are single steps.

    Raises:
        TNLayersError: If neither can be followed.
    """
    parameters = inspect.signature(type(module).forward).parameters.values()
    optional = {one.name: None for one in parameters if one.default is None}
    first: Exception | None = None
    for left_out in ({}, optional) if optional else ({},):
        try:
            with _evaluating(module):
                graph = tracer.trace(module, dict(left_out))
            break
        except TNLayersError:
            raise
        except Exception as error:  # the forward pass is code of others, and may do anything
            first = first or error
    else:
        raise TNLayersError(
            f"The forward pass of this {type(module).__name__} cannot be followed step by step "
            f"({type(first).__name__}: {str(first)[:300]}). Split off what depends on values, or move its parts one by "
            "one (tnl.to_backend)."
        ) from first
    for node in list(graph.nodes):
        if getattr(node.target, "__name__", "") == "_assert_is_none":  # of what was left out
            (value, *_) = node.all_input_nodes
            graph.erase_node(node)
            graph.erase_node(value)
    return graph


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode, and as it was afterwards."""
    before = {one: one.training for one in module.modules()}
    try:
        for one in before:
            one.training = False
        yield
    finally:
        for one, training in before.items():
            one.training = training


def check_modules(module: nn.Module) -> None:
    """Refuse what is called beside the forward of a module's class: hooks, and a forward of the object's own.

    Hooks of torch that compute a weight (weight norm, pruning) are left to the caller, who sees no parameter there.

    Raises:
        TNLayersError: With the name of the first one.
    """
    for path, one in module.named_modules():
        where = f"{path!r} of this {type(module).__name__}" if path else f"This {type(one).__name__}"
        if any(not computes(hook) for name in _HOOKS for hook in getattr(one, name).values()):
            raise TNLayersError(
                f"{where} has a forward hook, which is code that another backend does not run, and may change what is "
                "computed. Remove it (handle.remove()), or write what it does into the forward pass."
            )
        if "forward" in vars(one):
            raise TNLayersError(
                f"{where} has a forward of its own, set on the object, which another backend does not run. Delete it "
                "(del module.forward), or derive a class that has it."
            )


def check_overwritten(nodes: Iterable[fx.Node], module: nn.Module) -> None:
    """Refuse a forward pass that reads a value after it was changed in place: steps elsewhere change nothing in place.

    Args:
        nodes: Of a trace, in order.
        module: What was traced.

    Raises:
        TNLayersError: With the name of the step that changes the value.
    """
    place: dict[fx.Node, int] = {}
    memory: dict[fx.Node, fx.Node] = {}  # whose memory a node may share
    overwritten: dict[fx.Node, tuple[int, str]] = {}  # memory -> where it was changed last, and by what
    for number, node in enumerate(nodes):
        place[node] = number
        for read in node.all_input_nodes:
            changed = overwritten.get(memory[read])
            if changed is not None and place[read] < changed[0]:
                raise TNLayersError(
                    f"The forward pass of this {type(module).__name__} changes a value in place ({changed[1]}) and "
                    "reads it again afterwards by an older name, which has no form on other backends. Write it without "
                    "inplace=True, += and the like."
                )
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        in_place = first is not None and _in_place(node, module)
        shares = first is not None and (in_place or _view(node, module))
        memory[node] = memory[first] if first is not None and shares else node
        if in_place:
            overwritten[memory[node]] = (number, node.name)


def _in_place(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    flagged = node.kwargs.get("inplace", node.args[1] if len(node.args) > 1 else False)
    return node.target in _IN_PLACE or (node.target in _MAYBE_IN_PLACE and bool(flagged))


def _view(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), _SAME)
    return node.target in (_VIEWS_BY_NAME if node.op == "call_method" else _VIEWS)
