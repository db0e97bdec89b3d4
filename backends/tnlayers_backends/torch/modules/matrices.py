"""Optimizers that want matrices, such as Muon: each core is shown to them as a matrix.

Carry the input through the cores in order of declaration: a core takes the indices that end at it, and makes those that
begin there (as in `learning_rates.fans`). That is a matrix of shape (fan_out, fan_in), as `nn.Linear` has its weight,
and an optimizer that orthogonalises updates does so with this matrix (Muon: Jordan et al. 2024,
kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv 2502.16982). Where one side would be empty, as for the core of
a Tucker network, the axes are cut in two where the sides are closest. Cores keep their shapes and their identity; only
while the optimizer steps, and while it is made, they are matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import log, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.kinds import find
from tnlayers_backends.torch.layers.module import TNModule


class MatrixSplit(NamedTuple):
    """The parameters of a model by whether they are matrices.

    Attributes:
        matrices: Cores, and the two-dimensional weights of other layers but for tables of embeddings.
        others: Biases, scales, tables, kernels of dense convolutions, cores that are vectors.
    """

    matrices: list[nn.Parameter]
    others: list[nn.Parameter]


@dataclass(frozen=True, slots=True)
class _View:
    """How a core is a matrix: its axes in the order (those that begin here, those that end here), and the sizes."""

    order: tuple[int, ...]
    rows: int
    columns: int

    def of(self, tensor: Tensor) -> Tensor:
        """The matrix; a view where the axes lie so that there is one."""
        return tensor.permute(self.order).reshape(self.rows, self.columns)

    def back(self, matrix: Tensor, into: Tensor) -> None:
        """Write a matrix into a tensor, unless it is a view of it."""
        if matrix.untyped_storage().data_ptr() != into.untyped_storage().data_ptr():
            shape = [into.shape[axis] for axis in self.order]
            into.permute(self.order).copy_(matrix.reshape(shape))


def split_matrices(model: nn.Module) -> MatrixSplit:
    """The parameters of a model that learn, by whether an optimizer of matrices takes them.

    Args:
        model: Any module.

    Example:
        >>> import tnlayers as tnl
        >>> model = nn.Sequential(nn.Embedding(10, 64), tnl.nn.MPOLinear(64, 64, cores=2, bond_dim=4), nn.Linear(64, 3))
        >>> [[tuple(p.shape) for p in part] for part in split_matrices(model)]
        [[(8, 8, 4), (4, 8, 8), (3, 64)], [(10, 64), (64,), (3,)]]
    """
    views = _views(model)
    plain = {id(p) for p in _plain_matrices(model)}
    learning = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learning if id(p) in plain or p in views]
    taken = set(map(id, matrices))
    return MatrixSplit(matrices, [p for p in learning if id(p) not in taken])


def matrix_optimizer(
    kind: Callable[..., torch.optim.Optimizer],
    model: nn.Module,
    params: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]] | None = None,
    **options: Any,
) -> Any:
    """A torch optimizer of matrices over a model's cores and matrices: `torch.optim.Muon`, or any such class.

    Args:
        kind: The class of the optimizer.
        model: Whose cores.
        params: What it optimizes, parameters or groups; `split_matrices(model).matrices` if None. The others of the
            split want another optimizer.
        **options: The optimizer's own.

    Returns:
        An object of a class derived from `kind`: schedules, `state_dict` and `zero_grad` are its own.

    Raises:
        TNLayersError: If `kind` is no class of an optimizer, or there is nothing to optimize.

    Example:
        >>> import tnlayers as tnl
        >>> model = nn.Sequential(tnl.nn.MPOLinear(64, 64, cores=3, bond_dim=4), nn.Linear(64, 3))
        >>> muon = matrix_optimizer(torch.optim.Muon, model, lr=0.02)
        >>> adam = torch.optim.AdamW(split_matrices(model).others, lr=1e-3)
        >>> model(torch.ones(2, 64)).square().sum().backward()
        >>> for optimizer in (muon, adam):
        ...     optimizer.step()
        ...     optimizer.zero_grad()
    """
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        raise TNLayersError(f"{str(kind)[:100]} is no class of torch.optim: give one, such as torch.optim.Muon.")
    asked = split_matrices(model).matrices if params is None else list(params)
    if not asked:
        raise TNLayersError(f"This {type(model).__name__} has no cores and no matrices that learn.")
    views = _views(model)

    class OfMatrices(kind):  # type: ignore[misc,valid-type]
        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            loss = None
            if closure is not None:  # it runs the model, whose cores are to be cores then
                with torch.enable_grad():
                    loss = closure()
            with _as_matrices(views):
                super().step()
            return loss

    OfMatrices.__name__ = OfMatrices.__qualname__ = kind.__name__
    with _as_matrices(views):
        return OfMatrices(asked, **options)


@contextmanager
def _as_matrices(views: Mapping[nn.Parameter, _View]) -> Iterator[None]:
    """Cores and their gradients as matrices, and as they were afterwards, whatever happens."""
    before = [(core, view, core.data, core.grad) for core, view in views.items()]
    try:
        for core, view, data, grad in before:
            core.grad = None  # a gradient has to have its parameter's shape
            core.data = view.of(data)
            core.grad = None if grad is None else view.of(grad)
        yield
    finally:
        for core, view, data, grad in before:
            if core.data is not data:
                view.back(core.data, data)
            core.grad = None
            core.data = data
            core.grad = grad


def _views(model: nn.Module) -> dict[nn.Parameter, _View]:
    """Every core of a model that is a matrix, as one."""
    found: dict[nn.Parameter, _View] = {}
    for module in model.modules():
        kind = find(module)
        if isinstance(module, TNModule) and kind is not None and not kind.one_hot:
            for graph in module.spec.graphs:
                for name, view in _of_graph(graph).items():
                    core = module._parameters.get(name)
                    if core is not None and min(view.rows, view.columns) > 1:
                        found.setdefault(core, view)
    return found


def _of_graph(graph: Graph) -> dict[str, _View]:
    """How each core is a matrix."""
    places = {i: [k for k, core in enumerate(graph.cores) if i in core.indices] for i in range(len(graph.sizes))}
    found = {}
    for k, core in enumerate(graph.cores):
        ends = [
            axis for axis, index in enumerate(core.indices) if index not in graph.outputs and places[index][-1] == k
        ]
        sizes = [graph.sizes[index] for index in core.indices]
        begins = [axis for axis in range(len(sizes)) if axis not in ends]
        if 1 in (prod(sizes[axis] for axis in ends), prod(sizes[axis] for axis in begins)):
            cut = min(range(1, len(sizes) + 1), key=lambda cut: abs(log(prod(sizes[:cut]) / prod(sizes[cut:]))))
            begins, ends = list(range(cut)), list(range(cut, len(sizes)))
        rows, columns = (prod(sizes[axis] for axis in axes) for axes in (begins, ends))
        found[core.name] = _View((*begins, *ends), rows, columns)
    return found


def _plain_matrices(model: nn.Module) -> Iterator[nn.Parameter]:
    """The two-dimensional weights of layers that are no networks and no tables."""
    for module in model.modules():
        kind = find(module)
        if not isinstance(module, TNModule) and (kind is None or not kind.one_hot):
            yield from (p for p in module.parameters(recurse=False) if p.ndim == 2)
