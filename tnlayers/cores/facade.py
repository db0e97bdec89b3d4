"""What a layer of cores says of itself on every backend: its weight, its norm, its canonical form, its picture.

A backend's layer names three things, its framework-free half, its primitives and its cores, and adds what its framework
asks for: parameters, a pytree, in-place or not.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from tnlayers.cores.canonical import Factoring, balanced_terms, canonical_terms
from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.norm import norm2
from tnlayers.declare.pictures import Picture, draw, html
from tnlayers.declare.spec import Spec

A = TypeVar("A", bound=Any)


class Facade(Generic[A]):
    """A layer of cores on any backend; abstract.

    Example:
        >>> import tnlayers as tnl
        >>> [isinstance(tnl.build("mpo(in=4x7, out=2x5, bond=3)", b), Facade) for b in ("numpy", "torch", "jax")]
        [True, True, True]
    """

    def _network(self) -> LinearMap:
        """The framework-free half."""
        raise NotImplementedError

    def _primitives(self) -> Factoring:
        """The primitives of the cores' backend."""
        raise NotImplementedError

    def _arrays(self) -> list[A]:
        """The cores, in order of declaration."""
        raise NotImplementedError

    @property
    def spec(self) -> Spec:
        """The declaration."""
        return self._network().spec

    def to_dense(self) -> A:
        """The weight matrix, (out_features, in_features); differentiable where the backend is."""
        return cast("A", self._network().weight(self._primitives(), self._arrays()))

    weight = property(to_dense, doc="The weight matrix, (out_features, in_features), rebuilt at each access.")

    def norm2(self) -> A:
        """||W||^2, the sum of the squared entries of the weight, exact, without building it.

        It is differentiable where the backend is. Added to a loss it is the weight decay of the dense layer:
        `loss + decay / 2 * layer.norm2()`.
        """
        return cast("A", norm2(self._primitives(), self._network(), self._arrays()))

    def draw(self, **options: Any) -> Picture:
        """The network's picture; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        return html(self)

    def _canonical(self, centre: str | None) -> list[A]:
        """The cores swept towards one of them, W unchanged, in at least single precision.

        Raises:
            TNLayersError: If a network has a loop, a hyperedge or a trace, or there is no core of that name.
        """
        return canonical_terms(self._primitives(), self._network().graphs, self._single(), centre)

    def _balanced(self) -> list[A]:
        """The cores scaled to equal norms within each network, W unchanged, in at least single precision."""
        return balanced_terms(self._primitives(), self._network().graphs, self._single())

    def _single(self) -> list[A]:
        """The cores in at least single precision, which LAPACK needs."""
        dtype = str(self._arrays()[0].dtype).removeprefix("torch.")
        wide = "float32" if dtype in ("float16", "bfloat16") else dtype
        return [self._primitives().cast(core, wide) for core in self._arrays()]
