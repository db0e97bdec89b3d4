"""The framework-free half of a convolution layer: its kernel's indices, and a plan for every size of input."""

from __future__ import annotations

from functools import reduce

from tnlayers.cores.linear_map import LinearMap, bucket
from tnlayers.declare.kernel import kernel_of
from tnlayers.declare.window import Window
from tnlayers.errors import TNLayersError
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.conv_choice import plan_convolution
from tnlayers.planning.conv_plan import Convolution, ConvPlan
from tnlayers.planning.lowered import Objective
from tnlayers.pricing.counts import NOTHING, Cost


class ConvMap:
    """Plans of a convolution: chosen by batch and size of input, each searched at most once.

    Attributes:
        convolution: What is computed.
        matrix: The kernel as a matrix (out_channels, kernel positions times in_channels / groups).
        rebuilt: The plan that rebuilds the kernel and convolves once, stated for one image of the kernel's size.
    """

    def __init__(self, matrix: LinearMap, window: Window, in_channels: int, out_channels: int, groups: int) -> None:
        kernels = (kernel_of(graph, window.kernel, in_channels, out_channels, groups) for graph in matrix.graphs)
        self.convolution = Convolution(
            kernels=tuple(kernels),
            window=window,
            in_channels=in_channels,
            out_channels=out_channels,
            groups=groups,
            title=str(matrix.spec),
        )
        self.matrix = matrix
        self._pinned: ConvPlan | None = None
        self._plans: dict[tuple[int, tuple[int, ...], Objective], ConvPlan] = {}
        # Traced code runs this one where no plan is pinned: it is right, and rarely slow, at every size of input.
        self.rebuilt = ConvPlan(
            convolution=self.convolution,
            batch=1,
            spatial=tuple(window.extent(d) for d in range(len(window.kernel))),
            objective="forward",
            dtype=matrix.dtype,
            device=matrix.device,
            routes=(),
            rebuild=reduce(Cost.__add__, (matrix.weight_plan(k).cost for k in range(len(matrix.graphs))), NOTHING),
        )

    def plan_for(self, batch: int, spatial: tuple[int, ...], objective: Objective = "forward") -> ConvPlan:
        """The plan for that many images of that size: the pinned one, else the one of its bucket.

        Raises:
            TNLayersError: If the kernel does not fit into the padded input.
        """
        if self._pinned is not None:
            return self._pinned
        dtype, device = self.matrix.dtype, self.matrix.device
        asked = (self.convolution, bucket(batch), spatial, self.rebuilt.rebuild, objective, dtype, device)
        return plan_convolution(*asked, rates=machine(device, dtype))

    @property
    def traced(self) -> ConvPlan:
        """The plan that compiled and exported code closes over."""
        return self._pinned or self.rebuilt

    def use_plan(self, plan: ConvPlan | None) -> None:
        """Run every input by this plan from now on, or choose by its size again (None).

        Raises:
            TNLayersError: If the plan was made for another convolution.
        """
        if plan is not None and (not isinstance(plan, ConvPlan) or plan.convolution != self.convolution):
            raise TNLayersError(
                f"This plan was not made for the convolution {self.convolution.title} with kernel "
                f"{self.convolution.window.kernel}: take one from the layer's own plan_for(input_shape)."
            )
        self._pinned = plan
