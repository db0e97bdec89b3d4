"""What is asked of a whole model: exactly one budget, and how strictly it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tnlayers.decompose.asked import check_size, given
from tnlayers.errors import TNLayersError

RatioOf: TypeAlias = Literal["model", "replaced", "bytes"]
Key: TypeAlias = Literal["ratio", "max_params", "max_flops", "max_bytes", "error"]
NEAR = 0.98  # a model that gets less than this share of its budget is reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One budget.

    Attributes:
        key: Which.
        value: Its value.
        ratio_of: What a ratio is of: the whole model, or the layers that may be replaced.
        strict: Whether a budget that is met only from far below is refused.
    """

    key: Key
    value: float
    ratio_of: RatioOf
    strict: bool

    @classmethod
    def of(
        cls,
        ratio: float | None,
        max_params: int | None,
        max_flops: int | None,
        error: float | None,
        max_bytes: int | None = None,
        *,
        ratio_of: RatioOf = "model",
        strict: bool = False,
    ) -> Budget:
        """The budget that was given.

        Raises:
            TNLayersError: If none or several were given, or one that is no budget.

        Example:
            >>> str(Budget.of(0.2, None, None, None))
            'ratio=0.2'
        """
        sizes: dict[Key, float | None] = {
            "ratio": ratio,
            "max_params": max_params,
            "max_flops": max_flops,
            "max_bytes": max_bytes,
            "error": error,
        }
        asked = given(sizes)
        if len(asked) != 1:
            listed = ", ".join(f"{key}={value}" for key, value in asked.items()) or "None of them"
            raise TNLayersError(f"{listed} given; give exactly one of {', '.join(sizes)}.")
        ((key, value),) = asked.items()
        check_size(key, value, "the whole model", least=0)
        if ratio_of not in ("model", "replaced", "bytes"):
            raise TNLayersError(f"ratio_of={ratio_of!r} must be 'model', 'replaced' or 'bytes'.")
        return cls(key=key, value=value, ratio_of=ratio_of, strict=strict)

    @property
    def of_bytes(self) -> bool:
        """Whether it limits the bytes of the file."""
        return self.key == "max_bytes" or (self.key == "ratio" and self.ratio_of == "bytes")

    def file_bytes(self, model: int) -> int | None:
        """The most bytes of a file, where the budget is one of bytes.

        Args:
            model: Bytes of the dense model's parameters and buffers.
        """
        if self.key == "ratio" and self.ratio_of == "bytes":
            return int(self.value * model)
        return int(self.value) if self.key == "max_bytes" else None

    def parameters(self, model: int, replaceable: int) -> int:
        """The parameters that the layers which may be replaced can have together, biases included.

        Args:
            model: Parameters of the whole dense model.
            replaceable: Those of the layers which may be replaced.
        """
        if self.key == "ratio" and self.ratio_of == "replaced":
            return int(self.value * replaceable)
        limit = int(self.value * model) if self.key == "ratio" else int(self.value)
        return limit - (model - replaceable)

    def __str__(self) -> str:
        of = {"replaced": " of the replaced layers", "bytes": " of the bytes"}.get(self.ratio_of, "")
        return f"{self.key}={self.value:g}{of}"
