"""Spectra of weights at the bonds of a loop-free network: of live layers from their cores, of dense weights by SVD.

Of a layer the weight is not rebuilt: with every other core an isometry towards one end of a bond, the singular values
of that end alone, as a matrix with the bond as its columns, are those of the whole weight at the cut.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from tnlayers.backends import backend_of
from tnlayers.cores.canonical import canonical, moves_to
from tnlayers.cores.pairs import pair_spec
from tnlayers.cores.spectrum import BondSpectrum, Spectra
from tnlayers.declare.graph import Graph
from tnlayers.declare.kernel import kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.truncated_svd import behind
from tnlayers.decompose.truncated_svd import spectra as cut_spectra
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.program.program import Array

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture


_WIDE = {"complex64": "complex128", "complex128": "complex128"}


def spectra(thing: Any, template: str | Spec | None = None) -> Spectra:
    """The singular values at every bond, and with them entropies and advice on bond dimensions.

    In double precision. Of a sum each network is looked at by itself. Features that a layer pads are part of it.

    Args:
        thing: A layer of this library; a dense weight (out_features, in_features), a convolution's kernel
            (out, in / groups, *kernel), or a dense torch module that has one.
        template: The loop-free network whose bonds cut a dense weight ("mpo(cores=4)"; its bond dimensions do not
            matter). With a layer: cut its rebuilt weight by this network instead of by its own.

    Raises:
        TNLayersError: If a dense weight comes without a template, the network has loops, hyperedges or traces, or the
            backend has no SVD.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> found = spectra(np.eye(16), "mpo(in=4x4, out=4x4)")
        >>> [round(value, 6) for value in found.bonds[0].values[:2]], found.advice(error=0.1)
        ([4.0, 0.0], (1,))
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0)
        >>> len(spectra(layer).bonds[0].values)
        3
    """
    if template is not None:
        return _of_weight(_matrix_of(thing), _moded(_quietly(template), thing))
    if not isinstance(cores := getattr(thing, "cores", None), Mapping):
        raise TNLayersError(
            f"A dense weight ({type(thing).__name__}) has no bonds of its own: give a template that cuts it, such as "
            "tnl.spectra(weight, 'mpo(cores=4)')."
        )
    linear = getattr(thing, "_map", getattr(thing, "map", thing))
    bonds: list[BondSpectrum] = []
    values = [_wide(getattr(core, "detach", lambda core=core: core)()) for core in cores.values()]
    for graph in linear.graphs:
        own, values = values[: len(graph.cores)], values[len(graph.cores) :]
        bonds += _of_cores(graph, own)
    return Spectra(name=str(linear.spec), bonds=tuple(bonds))


def _of_cores(graph: Graph, cores: Sequence[Array]) -> list[BondSpectrum]:
    """One network's, from its cores: the network swept towards one end of each bond in turn."""
    ops = _splitting(cores[0])
    found = {}
    for move in _moves(graph):
        swept = canonical(ops, graph, cores, move.source)
        indices = graph.cores[move.source].indices
        order = [indices.index(i) for i in (*(i for i in indices if i not in move.bond), *move.bond)]
        columns = prod(graph.sizes[i] for i in move.bond)
        core = ops.permute(swept[move.source], tuple(order))
        found[move.bond] = ops.singular_values(ops.reshape(core, (prod(core.shape) // columns, columns)))
    return _named(graph, found)


def _quietly(*asked: Any) -> Spec:
    """A spec whose modes alone matter: how large its bonds are by default is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        return make_spec(*asked)


def _of_weight(weight: Array, template: Spec) -> Spectra:
    """A dense weight's, cut by a template."""
    ops = _splitting(weight)
    sized = _quietly(template, int(weight.shape[1]), int(weight.shape[0]))
    if sized.terms:
        raise TNLayersError(f"{sized} is a sum: a weight is cut by one network. Give one of its terms.")
    _moves(sized.graph)
    wide = ops.pad(_wide(weight), sized.pad_in)
    wide = ops.permute(ops.pad(ops.permute(wide, (1, 0)), sized.pad_out), (1, 0))
    shape = "x".join(str(int(size)) for size in weight.shape)
    return Spectra(
        name=f"a {shape} weight cut by {sized.network}",
        bonds=tuple(_named(sized.graph, cut_spectra(ops, sized.graph, wide))),
    )


def _moves(graph: Graph) -> tuple[Any, ...]:
    try:
        return moves_to(graph, len(graph.cores) // 2)
    except TNLayersError as error:
        raise TNLayersError(
            f"This network has no spectra of its own: {str(error).split(': ', 1)[-1].split('. ')[0]}. Cut its rebuilt "
            "weight by a network that has: tnl.spectra(layer, 'mpo(cores=4)')."
        ) from error


def _named(graph: Graph, found: Mapping[tuple[int, ...], Array]) -> list[BondSpectrum]:
    """In order of declaration, with the names of the cores that each bond joins."""
    bonds = []
    for bond in sorted(found, key=lambda bond: graph.summed.index(bond[0])):
        left, right = (core.name for core in graph.cores if bond[0] in core.indices)
        values = tuple(float(value) for value in found[bond])
        bonds.append(BondSpectrum(cores=(left, right), values=values, shape=_shape(graph, bond)))
    return bonds


def _shape(graph: Graph, bond: tuple[int, ...]) -> tuple[int, int]:
    """The sizes of the two sides of a bond, the lesser first."""
    moves = moves_to(graph, len(graph.cores) // 2)
    side = behind(graph, moves, next(move for move in moves if move.bond == bond))
    one, all_of_it = prod(graph.sizes[i] for i in side), prod(graph.in_modes) * prod(graph.out_modes)
    return min(one, all_of_it // one), max(one, all_of_it // one)


def _matrix_of(thing: Any) -> Array:
    """The weight of a layer, a module, or the array itself, as a matrix; kernels in their networks' order of axes."""
    weight = thing.to_dense() if hasattr(thing, "cores") and hasattr(thing, "to_dense") else _weight_of(thing)
    weight = weight.detach() if hasattr(weight, "detach") else weight
    if weight.ndim == 2:
        return weight
    if weight.ndim < 2:
        raise TNLayersError(f"A weight has two axes or a kernel's three to five; this one is {tuple(weight.shape)}.")
    ops = _splitting(weight)
    if hasattr(thing, "in1_features"):  # a bilinear map's
        return ops.reshape(weight, (int(weight.shape[0]), prod(weight.shape[1:])))
    last = ops.permute(weight, (0, *range(2, weight.ndim), 1))
    return ops.reshape(last, (int(weight.shape[0]), prod(weight.shape[1:])))


def _weight_of(thing: Any) -> Any:
    found = getattr(thing, "weight", thing)
    if not hasattr(found, "ndim"):
        raise TNLayersError(f"There is no weight in a {type(thing).__name__}: give an array, a layer, or a module's.")
    return found


def _moded(template: Spec, thing: Any) -> Spec:
    """A template with the modes of a kernel or of a bilinear map; as it is for a matrix."""
    weight = thing.to_dense() if hasattr(thing, "cores") and hasattr(thing, "to_dense") else _weight_of(thing)
    if weight.ndim <= 2:
        return template
    out, inner, *rest = (int(size) for size in weight.shape)
    if hasattr(thing, "in1_features"):
        return pair_spec(template, inner, rest[0], out)
    groups = int(getattr(thing, "groups", 1))
    return kernel_spec(template, rest, inner * groups, out, groups)


def _splitting(array: Array) -> Splitting:
    backend = backend_of(array)
    if not isinstance(backend.ops, Splitting):
        raise TNLayersError(
            f"The backend {backend.name!r} offers no singular value decomposition; bring the layer over first: "
            "tnl.to_backend(layer, 'numpy')."
        )
    return backend.ops


def _wide(array: Array) -> Array:
    return _splitting(array).cast(array, _WIDE.get(str(array.dtype).removeprefix("torch."), "float64"))


@dataclass(kw_only=True)
class SpectraRecorder:
    """Spectra over training: call it in the loop with the step, then look at `entropies` or `draw()`.

    Attributes:
        layers: The layers to look at, by the name to show.
        steps: The steps recorded so far.
        records: By layer, its spectra at each step.

    Example:
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0)
        >>> recorder = SpectraRecorder(layers={"fc": layer})
        >>> for step in (0, 10):
        ...     recorder(step)
        >>> recorder.steps, len(recorder.entropies["fc"])
        ([0, 10], 2)
    """

    layers: Mapping[str, Any]
    steps: list[int] = field(default_factory=list, init=False)
    records: dict[str, list[Spectra]] = field(default_factory=dict, init=False)

    def __call__(self, step: int) -> None:
        """Record every layer as it is now.

        Args:
            step: Of the training, to stand below the curves.
        """
        self.steps.append(step)
        for name, layer in self.layers.items():
            self.records.setdefault(name, []).append(spectra(layer))

    @property
    def entropies(self) -> dict[str, list[tuple[float, ...]]]:
        """By layer, the entropy of every bond at each recorded step."""
        return {name: [one.entropies for one in found] for name, found in self.records.items()}

    def draw(self, **options: Any) -> Picture:
        """The entropies over the steps, a panel per layer; options as for `tnl.draw`."""
        from tnlayers.draw.spectra import draw_entropies

        return draw_entropies(self.steps, self.records, **options)
