"""Layers that can be frozen: what begins the promise that the cores stay as they are, and who may use it."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tnlayers.pricing.limits import PREPARED_LIMIT
from tnlayers_backends.torch.layers.cores import TRACED_BATCH, HeldCores
from tnlayers_backends.torch.run.frozen import Budget, Frozen, wants_gradients

_DENSE = "dense"  # the key of the dense weight among what is prepared


class Freezable(HeldCores):
    """Cores that the user can promise to leave as they are; abstract, see `TNModule`.

    Made as `HeldCores`.
    """

    def freeze(self, *, memory_limit: int = PREPARED_LIMIT) -> Self:
        """Promise that the cores stay as they are: what inference needs of them is prepared once and used as it is.

        Every later call without gradients takes no time for the cores: it is a product with W, or with the matrices
        of the plan where those are faster. Compiled, exported and captured code (`torch.compile`, `torch.export`, CUDA
        graphs) takes the same matrices. The layer goes to evaluation mode. Calls that want gradients of the cores use
        the cores.

        `thaw()`, `train()`, `load_state_dict`, moves to another dtype or device, `use_plan` and changes of bonds end
        the promise. Copies and pickles of the layer are not frozen.

        Args:
            memory_limit: Bytes of the matrices that may be cached; 64 MiB by default. Larger ones are prepared at every
                call.

        Returns:
            The layer.

        Raises:
            TNLayersError: If a core is computed from other parameters or holds no numbers yet, or the limit is no
                number of bytes. Later calls raise it where a write to a core was counted by torch (an optimizer's
                step, `copy_`) or a core lies elsewhere: `freeze()` again, or `thaw()`.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> layer = tnl.nn.MPOLinear(784, 256, bond_dim=16).freeze()
            >>> with torch.no_grad():
            ...     layer(torch.zeros(1, 784)).shape
            torch.Size([1, 256])
            >>> layer.frozen
            802816
        """
        return self._freeze(Budget(memory_limit))

    @torch.no_grad()
    def _freeze(self, budget: Budget) -> Self:
        self.thaw()
        frozen = Frozen(type(self).__name__, dict(zip(self._names, self._cores(), strict=True)), budget)
        self.eval()
        self._prepared.clear()
        self._frozen = frozen
        self._prepare_frozen(frozen)
        return self

    def _prepare_frozen(self, frozen: Frozen) -> None:
        """Prepare what compiled code will use, which cannot prepare anything while it is traced."""
        frozen.linear(self._map).prepare_compiled(self._map.plan_for(TRACED_BATCH))

    def _prepare_dense(self, frozen: Frozen) -> None:
        """The same where that is the dense weight: cached if the memory limit has room for it."""
        if self.spec.in_features * self.spec.out_features * frozen.cores()[0].itemsize <= frozen.budget.left:
            frozen.compiled = frozen.once(_DENSE, lambda: (self.to_dense().contiguous(),))

    def _frozen_dense(self, x: Tensor, recorded: bool) -> Tensor | None:
        """The dense weight that `_prepare_dense` has cached, where this call may use it."""
        if recorded:
            compiled = self._compiled()
            return None if compiled is None else compiled[0]
        frozen = self._serving(x)
        return frozen.once(_DENSE, list)[0] if frozen is not None and frozen.has(_DENSE) else None

    @property
    def frozen(self) -> int | None:
        """Bytes that a frozen layer keeps beside its cores; None for a layer that is not frozen."""
        return None if self._frozen is None else self._frozen.nbytes

    def train(self, mode: bool = True) -> Self:
        """As torch's; training mode ends what `freeze` began."""
        if mode:
            self.thaw()
        return super().train(mode)

    def _serving(self, x: Tensor) -> Frozen | None:
        """What `freeze` has prepared, where this eager call may use it."""
        frozen = self._frozen
        if frozen is None or is_captured(x) or not frozen.serves(self._parameters):
            return None
        return frozen

    def _compiled(self) -> tuple[Tensor, ...] | None:
        """What `freeze` has prepared for compiled code, where this call may use it."""
        frozen = self._frozen
        return None if frozen is None or wants_gradients(self._cores()) else frozen.compiled


def is_captured(x: Tensor) -> bool:
    """Whether a CUDA graph records this call: what it prepares from the cores must be prepared at every replay."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()
