"""What a frozen layer keeps: matrices prepared once from its cores, which the user has promised to leave as they are.

No contents are compared. What costs next to nothing is still checked at every call, and refused: a version that torch
has counted up, a core in other memory, another parameter under the name of a core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap, Runner
from tnlayers.errors import TNLayersError
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers_backends.torch.run import planned
from tnlayers_backends.torch.run.bound_call import BoundCall, bind, like
from tnlayers_backends.torch.run.prepared import PreparedMatrices, keepable, laid_out, prepare, recipe
from tnlayers_backends.torch.run.primitives import OPS

# W is taken unless the plan is faster by this factor, as estimated: estimates of a few small products are rough, and W
# is one call. Measured at batch 1 on an AMD EPYC: 784 -> 256 has an estimate of 1.7 and takes half the time by W, 1024
# -> 1024 has 7.7 and takes 0.8 of it by the plan.
_MARGIN = 2.0
_SHAPES = 64  # of inputs, whose bound calls are cached


class Budget:
    """Bytes that frozen layers may keep together.

    Raises:
        TNLayersError: If the limit is no number of bytes.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise TNLayersError(
                f"memory_limit={limit!r} must be a number of bytes, such as 2**30, or 0 to keep nothing."
            )
        self.left = limit

    def take(self, nbytes: int) -> bool:
        """Reserve bytes, if so many are left."""
        if nbytes > self.left:
            return False
        self.left -= nbytes
        return True

    def give_back(self, nbytes: int) -> None:
        """End a reservation."""
        self.left += nbytes


class Frozen:
    """What one layer keeps while it is frozen. A copy or a pickle of it is None: the copy of a layer is not frozen.

    Args:
        kind: The layer's class, for messages.
        cores: The cores by name.
        budget: How much may be cached.

    Attributes:
        budget: The same.
        nbytes: Bytes that are cached.
        bound_calls: What calls with inputs of a shape do.
        compiled: What compiled code of a convolution or an embedding uses; None where it uses the cores.

    Raises:
        TNLayersError: If a core is no parameter of the layer's own, or holds no numbers.
    """

    def __init__(self, kind: str, cores: Mapping[str, Tensor], budget: Budget) -> None:
        if not keepable(list(cores.values())) or any(core.is_meta for core in cores.values()):
            raise TNLayersError(
                f"This {kind} cannot be frozen: a core is computed from other parameters at each access (parametrised "
                "or pruned), or holds no numbers yet (meta). Bake it in, by tnl.dequantise(model), "
                "torch.nn.utils.parametrize.remove_parametrizations or torch.nn.utils.prune.remove; or load the "
                "weights."
            )
        self.kind, self.budget, self.nbytes = kind, budget, 0
        self._marks = tuple((name, core, core.data_ptr(), _version(core)) for name, core in cores.items())
        self.compiled: tuple[Tensor, ...] | None = None
        self.bound_calls: dict[torch.Size, BoundCall] = {}
        self._replaced: str | None = None
        self._linear: FrozenMap | None = None
        self._tensors: dict[Any, tuple[Tensor, ...]] = {}

    def again(self, x: Tensor, parameters: Mapping[str, Tensor | None]) -> Tensor | None:
        """What an eager call did before with an input of this shape, by as few steps as are safe; None to decide anew.

        At batch 1 every step counts: a layer of 784 -> 256 takes as long as 40 of the questions asked here.
        """
        call = self.bound_calls.get(x.shape)
        if call is None or is_dynamo_compiling() or torch.is_grad_enabled():
            return None
        for name, core, address, version in self._marks:
            if parameters[name] is not core or core._version != version or core.data_ptr() != address:
                return None
        bias = parameters["bias"]
        weight = call.weight
        return call(x, bias) if weight is None else functional.linear(x, weight, bias)

    def serves(self, parameters: Mapping[str, Tensor | None]) -> bool:
        """Whether the cores are those that were frozen, and no gradient of them is wanted.

        Raises:
            TNLayersError: If one has been written to.
        """
        if self._replaced is not None:
            self._refuse(self._replaced)
        for name, core, address, version in self._marks:
            if parameters.get(name) is not core:  # `functional_call` has put another one there for this call
                return False
            if core.data_ptr() != address or _version(core) != version:
                self._refuse(name)
        return not wants_gradients(self.cores())

    def replaced(self, name: str) -> None:
        """Note that another parameter is put in the place of a core."""
        self._replaced = name

    def has(self, key: Any) -> bool:
        """Whether such tensors are cached."""
        return key in self._tensors

    def once(self, key: Any, make: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, ...]:
        """Tensors of the cores, made once and cached if the budget allows it.

        Args:
            key: What they are.
            make: Makes them.
        """
        if key in self._tensors:
            return self._tensors[key]
        with torch.inference_mode(False), torch.no_grad():
            made = tuple(tensor.detach() for tensor in make())
        own = {core.untyped_storage().data_ptr() for core in self.cores()}
        nbytes = sum(tensor.nbytes for tensor in made if tensor.untyped_storage().data_ptr() not in own)
        if self.budget.take(nbytes):
            self._tensors[key] = made
            self.nbytes += nbytes
        return made

    def cores(self) -> list[Tensor]:
        """The cores that were frozen."""
        return [core for _, core, _, _ in self._marks]

    def linear(self, own: LinearMap) -> FrozenMap:
        """The layer's map of vectors, of which it has one at most."""
        if self._linear is None or self._linear.own is not own:
            self.bound_calls = {}
            self._linear = FrozenMap(own, self)
        return self._linear

    def _refuse(self, name: str) -> NoReturn:
        raise TNLayersError(
            f"{name} of this {self.kind} has changed since freeze(), which promises that the cores stay as they are. "
            "Call freeze() again to use the new values, or thaw() the layer before it is trained or changed."
        )

    def __deepcopy__(self, memo: Any) -> None:
        return None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class FrozenMap:
    """Vectors times the weight of a frozen layer: by W, or by the matrices of the plan for their number.

    Args:
        own: The map.
        frozen: What the layer keeps.
    """

    def __init__(self, own: LinearMap, frozen: Frozen) -> None:
        self.own, self.frozen = own, frozen
        self.compiled_weight: Tensor | None = None  # W for compiled code, or
        self.compiled_matrices: tuple[tuple[Tensor, ...], ...] | None = None  # the matrices of each network

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """W x + bias."""
        found = self.frozen.bound_calls.get(x.shape)
        if found is not None:
            return found(x, bias)
        own = self.own
        if not x.ndim or x.shape[-1] != own.spec.in_features or type(x.numel()) is not int:
            return self._applied(x, bias, own.plan_for(1), planned.run)  # which refuses, or is traced
        made = self._bound_call(x.shape)
        if made is None:
            return self._applied(x, bias, own.plan_for(prod(x.shape[:-1]), "inference"), self._run)
        if len(self.frozen.bound_calls) >= _SHAPES:
            self.frozen.bound_calls.clear()
        self.frozen.bound_calls[x.shape] = made
        return made(x, bias)

    def has(self, shape: torch.Size) -> bool:
        """Whether all is prepared for inputs of a shape."""
        return shape in self.frozen.bound_calls

    def prepare_compiled(self, plan: AnyPlan) -> None:
        """Prepare what compiled code uses, for the plan that it would run otherwise."""
        if self._takes_weight(plan):
            self.compiled_weight = self._weight()
        elif all(term.sweep is not None and not term.slices for term in plan.terms):
            parts = zip(plan.terms, self.own.split(self.frozen.cores()), strict=True)
            self.compiled_matrices = tuple(tuple(self._prepared_of(term, cores).matrices) for term, cores in parts)

    def traced(self, plan: AnyPlan, x: Tensor, bias: Tensor | None) -> Tensor | None:
        """The same as plain operations, for what traces; None where nothing was prepared."""
        if self.compiled_weight is not None:
            self.own.check(x)
            return functional.linear(x, self.compiled_weight, bias)
        if self.compiled_matrices is None:
            return None
        rest = list(self.compiled_matrices)

        def run(term: Plan, x: Tensor, cores: Sequence[Tensor]) -> Tensor:
            assert term.sweep is not None
            y: Tensor = term.sweep.chain.run(OPS, x, rest.pop(0))
            return y

        return self._applied(x, bias, plan, run)

    def _applied(self, x: Tensor, bias: Tensor | None, plan: AnyPlan, run: Runner) -> Tensor:
        """The map by a plan, whatever its number of networks."""
        cores = tuple(self.own.shapes) if torch.compiler.is_compiling() else self.frozen.cores()  # names: none is read
        y: Tensor = self.own.apply(OPS, x, cores, plan, run)
        return y if bias is None else y + like(y, bias)

    def _bound_call(self, shape: torch.Size) -> BoundCall | None:
        """What is done with inputs of a shape: one product with W, or the products of the plan."""
        own = self.own
        plan = own.plan_for(prod(shape[:-1]), "inference")
        if self._takes_weight(plan):
            return BoundCall(own, self._weight(), ())
        if len(plan.terms) > 1 or plan.terms[0].sweep is None or plan.terms[0].slices:
            return None
        return bind(own, self._prepared_of(plan.terms[0], self.frozen.cores()), shape)

    def _takes_weight(self, plan: AnyPlan) -> bool:
        """Whether W fits the budget and is not slower than the plan by more than estimates can tell."""
        own, batch = self.own, plan.batch or 1
        inputs, outputs = own.spec.in_features, own.spec.out_features
        here = self.frozen.cores()[0]
        nbytes = inputs * outputs * here.itemsize
        if own.pinned is not None or (not self.frozen.has("weight") and nbytes > self.frozen.budget.left):
            return False
        if any(own.weight_plan(term).memory > 8 * nbytes for term in range(len(own.graphs))):
            return False  # loops can make the weight dearer to build than to do without
        rates = machine(own.device, own.dtype)
        cached = float(nbytes <= rates.cache_bytes)
        moved = rates.move(inputs * outputs + batch * (inputs + outputs), here.itemsize, cached=cached)
        product = rates.product((1, batch, inputs, outputs))
        return product + moved + rates.seconds_per_layer + rates.seconds_per_call <= _MARGIN * plan.seconds

    def _weight(self) -> Tensor:
        """W, (out_features, in_features)."""
        own, frozen = self.own, self.frozen
        return frozen.once("weight", lambda: (own.weight(OPS, frozen.cores()).contiguous(),))[0]

    def _prepared_of(self, plan: Plan, cores: Sequence[Tensor]) -> PreparedMatrices:
        """The matrices of a plan of one network."""
        key = plan.contraction.names, recipe(plan)
        matrices = self.frozen.once(key, lambda: laid_out(plan, prepare(plan, cores)))
        return PreparedMatrices(plan, list(matrices), None, None)

    def _run(self, plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> Tensor:
        if plan.sweep is None or plan.slices:
            return planned.run(plan, x, cores)
        return planned.multiplied(plan, x, self._prepared_of(plan, cores).matrices)


def wants_gradients(cores: Iterable[Tensor]) -> bool:
    """Whether a call wants gradients of the cores; what is exported is not trained."""
    return torch.is_grad_enabled() and any(core.requires_grad for core in cores) and not torch.compiler.is_exporting()


def _version(core: Tensor) -> int:
    return 0 if core.is_inference() else core._version
