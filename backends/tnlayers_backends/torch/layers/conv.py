"""`TNConv1d`, `TNConv2d`, `TNConv3d`: drop-in replacements for torch's convolutions whose kernel is a tensor network.

Two ways to see a convolution as a layer of this library, both by name:

    view="kernel"   the kernel is the tensor that is factorised; it is shared over positions, as in any convolution
    view="flat"     the flattened map is one vector, and the layer one linear map to the flattened output map
                    (arXiv 1904.06194): nothing is shared over positions, and the size of the input is fixed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from tnlayers.cores.conv_map import ConvMap
from tnlayers.cores.convolve import convolve, flattened, kernels, pad_ahead, run_routes, unflattened
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.kernel import check_channels, flat_size, kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.declare.window import window
from tnlayers.errors import TNLayersError
from tnlayers.planning.conv_plan import ConvPlan
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import AnyPlan
from tnlayers_backends.torch.layers.conv_dense import DenseConv, Sizes, View
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.run.frozen import Frozen
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS


class TNConv(DenseConv):
    """A convolution whose kernel is a tensor network; abstract: `TNConv1d`, `TNConv2d` and `TNConv3d` set `dims`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One number, or one per dimension; this and the next five are those of torch's convolutions.
        stride: Step between output positions.
        padding: Positions added on both sides, or "same" or "valid".
        dilation: Step between the kernel's positions.
        groups: Groups of channels that do not see each other.
        bias: Whether to add a learned number per channel (view "kernel") or per output feature (view "flat").
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type ("mpo"), a template ("mpo(cores=3, bond=8)"), or a spec with modes: of the kernel, input
            (*kernel, c_in / groups) and output (c_out) in this order, or of the flattened maps.
        view: "kernel" or "flat", see above.
        in_size: The input's size along each dimension, for view "flat".
        in_modes: Modes of the input, if they are not to be chosen.
        out_modes: Modes of the output, likewise.
        seed: Draws the parameters; None takes torch's global generator, so `torch.manual_seed` decides.
        **keywords: The network type's own, such as `bond_dim`, and `cores`, which counts the cores of the channels.

    Shape:
        Input (batch, in_channels, *positions) or (in_channels, *positions); output likewise.

    Raises:
        TNLayersError: If an argument is out of range, or the network's modes do not fit the kernel.
    """

    @checks_arguments(device=device, dtype=floating, in_channels=None, out_channels=None, groups=None)
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        view: View = "kernel",
        in_size: Sizes | None = None,
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> None:
        moves = window(self.dims, kernel_size, stride, padding, dilation, padding_mode)
        asked = {"in_modes": in_modes, "out_modes": out_modes, "bias": bias} | keywords
        check_channels(in_channels, out_channels, groups)
        if view == "flat":
            spatial = flat_size(self.dims, in_size, groups, padding_mode)
            features = prod(spatial) * in_channels, prod(moves.out_sizes(spatial)) * out_channels
            spec = make_spec(network, *features, **asked)
            spec = replace(spec, notes=(*spec.notes, "view 'flat': no weights are shared over positions"))
        elif view != "kernel" or in_size is not None:
            raise TNLayersError(
                f"view={view!r}, in_size={in_size!r}: there are view='kernel', which takes inputs of any size, and "
                "view='flat', which needs in_size."
            )
        else:
            spec = kernel_spec(network, moves.kernel, in_channels, out_channels, groups, **asked)
        super().__init__(spec, device, dtype, seed, linear=view == "flat")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = moves.kernel, moves.stride, moves.dilation
        self.padding = padding if isinstance(padding, str) else tuple(before for before, _ in moves.padding)
        self.padding_mode, self.in_size = padding_mode, spatial if view == "flat" else None
        self._window = moves
        self._conv = ConvMap(self._map, moves, in_channels, out_channels, groups) if view == "kernel" else None

    def _set_map(self, changed: LinearMap) -> None:
        super()._set_map(changed)
        if self._conv is not None and self._conv.matrix.graphs != changed.graphs:  # a move keeps a plan that is pinned
            self._conv = ConvMap(changed, self._window, self.in_channels, self.out_channels, self.groups)

    @property
    def view(self) -> View:
        """What is factorised: the "kernel", or the "flat" map from all positions to all positions."""
        return "flat" if self._conv is None else "kernel"

    def plan_for(self, input_shape: Sequence[int], objective: Objective = "forward") -> ConvPlan | AnyPlan:
        """The plan that an input of this shape runs; print it to see the steps and their price beside the dense layer.

        Args:
            input_shape: (batch, in_channels, *positions).
            objective: "forward" for inference, "training" under autograd.

        Raises:
            TNLayersError: If the shape does not fit the layer.
        """
        self._check_input(input_shape)
        batch, _, *spatial = input_shape
        if self._conv is None:
            return self._map.plan_for(batch, objective)
        return self._conv.plan_for(batch, tuple(spatial), objective)

    def use_plan(self, plan: Any) -> None:
        """Run every input by this plan, traced code included, or choose by its size again (None).

        Raises:
            TNLayersError: If the plan was made for another layer.
        """
        self.thaw()
        if self._conv is None:
            self._map = self._map.with_plan(plan)
        else:
            self._conv.use_plan(plan)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (batch, in_channels, *positions), or to one image without the batch axis."""
        check_tensors(self, x=x)
        if x.ndim == self.dims + 1:
            return self.forward(x[None])[0]
        self._check_input(x.shape)
        return self._forward_flat(x) if self._conv is None else self._forward_kernel(x, self._conv)

    def _forward_kernel(self, x: Tensor, conv: ConvMap) -> Tensor:
        ready: Sequence[Tensor] | None = None  # what is frozen of the kernel
        if is_recorded(x):  # traced code never plans
            plan, ready = conv.traced, self._compiled()
        else:
            objective: Objective = "training" if torch.is_grad_enabled() else "forward"
            plan = conv.plan_for(x.shape[0], tuple(x.shape[2:]), objective)
            frozen = self._serving(x)
            if frozen is not None:
                ready = frozen.once(_key(plan), lambda: self._kernels(plan, frozen.cores()))
        x = pad_ahead(OPS, x, self._window)
        if ready is not None:
            y = self._convolved(plan, x, ready)
        else:
            y = self._contract(lambda x, cores: self._convolved(plan, x, self._kernels(plan, cores)), x)
        return y if self.bias is None or not plan.routes else y + self.bias.to(y.dtype).reshape(-1, *[1] * self.dims)

    def _kernels(self, plan: ConvPlan, cores: Sequence[Tensor]) -> Iterable[Tensor]:
        """What a plan makes of the cores: the kernels of its steps, or the whole one."""
        if plan.routes:
            return kernels(OPS, plan, list(self._map.split(cores)))
        return [self._shaped(self._map.weight(OPS, cores))]

    def _convolved(self, plan: ConvPlan, x: Tensor, made: Iterable[Tensor]) -> Tensor:
        if plan.routes:
            y: Tensor = run_routes(OPS, plan, x, made)
            return y
        (kernel,) = made
        y = convolve(OPS, x, kernel, self.bias, self._window, self.groups)
        return y

    def _prepare_frozen(self, frozen: Frozen) -> None:
        if self._conv is None:
            super()._prepare_frozen(frozen)
            return
        plan = self._conv.traced
        made = frozen.once(_key(plan), lambda: self._kernels(plan, frozen.cores()))
        frozen.compiled = made if frozen.has(_key(plan)) else None

    def _forward_flat(self, x: Tensor) -> Tensor:
        vectors = self._apply_map(flattened(OPS, x), self.bias)
        y: Tensor = unflattened(OPS, vectors, self._window.out_sizes(self.in_size or ()), self.out_channels)
        return y

    def _check_input(self, shape: Sequence[int]) -> None:
        fits = len(shape) == self.dims + 2 and shape[1] == self.in_channels
        if not fits or (self.in_size is not None and tuple(shape[2:]) != self.in_size):
            sizes = "any size" if self.in_size is None else f"size {'x'.join(map(str, self.in_size))} (view 'flat')"
            raise TNLayersError(
                f"The input has shape {tuple(shape)}, but this layer takes (batch, {self.in_channels}, *positions) or "
                f"({self.in_channels}, *positions) with {self.dims} dimensions of positions, of {sizes}."
            )

    def _sizes_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0,) * self.dims), ("dilation", (1,) * self.dims), ("groups", 1)):
            if (value := getattr(self, name)) != default:
                text += f", {name}={value}"
        text += f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        if self.in_size is None:
            return text
        return f"{text}, view=flat (no weights shared over positions), in_size={self.in_size}"


def _key(plan: ConvPlan) -> Any:
    """What distinguishes the kernels of a plan from those of others."""
    return tuple(tuple(step.cores for step in route.steps) for route in plan.routes)


class TNConv1d(TNConv):
    """`nn.Conv1d` with a tensor network for its kernel; see `TNConv` for the arguments.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNConv1d(16, 32, 5, padding="same", network="mpo(bond=4)", seed=0)
        >>> layer(torch.zeros(2, 16, 100)).shape
        torch.Size([2, 32, 100])
    """

    dims = 1


class TNConv2d(TNConv):
    """`nn.Conv2d` with a tensor network for its kernel; see `TNConv` for the arguments.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNConv2d(64, 128, 3, padding=1, network="mpo(cores=3, bond=8)", seed=0)
        >>> layer(torch.zeros(2, 64, 28, 28)).shape, layer.weight.shape
        (torch.Size([2, 128, 28, 28]), torch.Size([128, 64, 3, 3]))
        >>> layer.spec
        Spec('mpo(in=3x3x4x4x4, out=1x1x4x8x4, bias=true, bond=3-8-8-8)')
    """

    dims = 2


class TNConv3d(TNConv):
    """`nn.Conv3d` with a tensor network for its kernel; see `TNConv` for the arguments.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNConv3d(4, 8, 3, stride=2, network="mpo(cores=2, bond=4)", seed=0)
        >>> layer(torch.zeros(2, 4, 9, 9, 9)).shape
        torch.Size([2, 8, 4, 4, 4])
    """

    dims = 3
