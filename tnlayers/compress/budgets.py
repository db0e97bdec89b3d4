"""What is asked of a whole model: exactly one budget, and how strictly it counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

from tnlayers.decompose.decomposition import check_error
from tnlayers.errors import TNLayersError

RatioOf: TypeAlias = Literal["model", "replaced"]
Key: TypeAlias = Literal["ratio", "max_params", "max_flops", "error"]
NEAR = 0.98  # a model that gets less than this share of its budget is told


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
            "error": error,
        }
        given = {key: value for key, value in sizes.items() if value is not None}
        if len(given) != 1:
            told = ", ".join(f"{key}={value}" for key, value in given.items()) or "None of them"
            raise TNLayersError(f"{told} given; give exactly one of {', '.join(sizes)}.")
        ((key, value),) = given.items()
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
        if not number or value < 0 or (key in ("max_params", "max_flops") and value != int(value)):
            kind = "an integer" if key.startswith("max") else "a number"
            raise TNLayersError(f"{key}={value!r} must be {kind} of at least 0.")
        if key == "error":
            check_error(value)
        if key == "ratio" and value > 1:
            raise TNLayersError(
                f"ratio={value:g} is more than the whole model: it is parameters after over parameters before, "
                "so that 0.2 keeps a fifth of them."
            )
        if ratio_of not in ("model", "replaced"):
            raise TNLayersError(f"ratio_of={ratio_of!r} must be 'model' or 'replaced'.")
        return cls(key=key, value=value, ratio_of=ratio_of, strict=strict)

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
        return f"{self.key}={self.value:g}{' of the replaced layers' if self.ratio_of == 'replaced' else ''}"
