"""What a form is: the arrays of a module by name, and the function that they and inputs go into.

Forms are frozen and compared by value, so that jax's compiled functions serve equal ones alike. They hold no arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.program.program import Array

Shape = tuple[int, ...]
Children = tuple[tuple[str, "Form"], ...]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a backend brings for forms to run on it.

    Attributes:
        ops: Its primitives.
        linear: Applies a linear map to vectors (..., in): `linear(map, x, cores)`, by the backend's choice of a plan.
        objective: What other plans are made for: "training" where a call may be differentiated.
        count: The product of leading sizes, or what is planned for where one is a symbol.
        placed: A linear map with the dtype of these cores and the device whose rates plan for it: `placed(map, cores)`.
        between: What is done to the output of a recurrent layer before the next one: dropout in training, else nothing.
    """

    ops: Arithmetic
    linear: Callable[[LinearMap, Array, Sequence[Array]], Array]
    objective: Objective
    count: Callable[[Sequence[Any]], int]
    placed: Callable[[LinearMap, Sequence[Array]], LinearMap] = lambda linear, cores: linear
    between: Callable[[Array], Array] = lambda x: x


@dataclass(frozen=True)
class Form:
    """A module as a value; abstract: a kind adds `apply` and what it holds.

    Fields are what a file has to keep: numbers, texts, lists of them; and `children`, forms by name.

    Attributes:
        kind: Its name in files.
        takes: The inputs of a call by name, in their order.
        defaults: What those inputs are that may be left out.
    """

    kind: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ("x",)
    defaults: ClassVar[Mapping[str, Any]] = {}

    @property
    def children(self) -> Children:
        """The forms inside, by name."""
        return ()

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """The shapes of the arrays that no child holds."""
        return {}

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of all arrays by name; those of a child stand behind its name and a dot."""
        inner = {f"{name}.{key}": shape for name, child in self.children for key, shape in child.shapes.items()}
        return self.own_shapes | inner

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Run the module.

        Args:
            at: The backend.
            arrays: Arrays by name, as `shapes` has them.
            *inputs: As the kind takes them.
            **options: Likewise.

        Raises:
            TNLayersError: If an input does not fit.
        """
        raise NotImplementedError

    def arguments(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Any]:
        """What a call gives, by place or by name, in the order of `takes`.

        Raises:
            TNLayersError: If an input is missing, is given twice, or is none that the kind takes.
        """
        if len(inputs) == len(self.takes) and not options:
            return inputs
        found = {**self.defaults, **dict(zip(self.takes, inputs, strict=False)), **options}
        if len(inputs) <= len(self.takes) and set(options) <= {*self.takes[len(inputs) :]} <= set(found) | set(options):
            return [found[name] for name in self.takes]
        optional = f", of which {', '.join(self.defaults)} may be left out" if self.defaults else ""
        by_name = f" and {', '.join(sorted(options))[:200]} by name" if options else ""
        raise TNLayersError(
            f"A module of kind {self.kind!r} takes {', '.join(self.takes)}{optional}; it was called with {len(inputs)} "
            f"inputs by place{by_name}."
        )

    def run_child(self, at: Runtime, arrays: Mapping[str, Array], name: str, *inputs: Any) -> Any:
        """Run the form of a name inside this one."""
        child = dict(self.children)[name]
        return child.apply(at, {key: arrays[f"{name}.{key}"] for key in child.shapes}, *inputs)


def tree(form: Form, path: str = "") -> list[tuple[str, Form]]:
    """A form and all forms inside it, each with its path."""
    found = [(path, form)]
    for name, child in form.children:
        found += tree(child, f"{path}.{name}" if path else name)
    return found
