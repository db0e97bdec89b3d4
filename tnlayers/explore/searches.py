"""The optimizers that a reader can choose: the planner's own, opt_einsum's by name, and cotengra's if installed."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

from tnlayers.errors import TNLayersError
from tnlayers.planning.paths import Optimizer

_QUICK = ("auto", "optimal", "dp", "greedy", "random-greedy")
_OPTIMAL_UP_TO, _DP_UP_TO = 7, 13  # operands; beyond these a click might take minutes
_TRIALS = 64  # of cotengra


def choices(operands: int) -> tuple[str, ...]:
    """The names offered for so many operands."""
    slow = {"optimal": _OPTIMAL_UP_TO, "dp": _DP_UP_TO}
    names = tuple(name for name in _QUICK if operands <= slow.get(name, operands))
    return (*names, "cotengra") if find_spec("cotengra") else names


def optimizer(name: str) -> Optimizer:
    """The optimizer of a name; cotengra's searches for 64 trials with random greedy trees.

    Raises:
        TNLayersError: If cotengra is asked for and not installed.
    """
    if name != "cotengra":
        return name
    try:
        with warnings.catch_warnings():  # that it would know more methods with kahypar is no news here
            warnings.simplefilter("ignore", UserWarning)
            import cotengra
    except ImportError as error:
        raise TNLayersError("cotengra is not installed: pip install tnlayers[planner].") from error
    made: Any = cotengra.HyperOptimizer(methods=["greedy"], max_repeats=_TRIALS, parallel=False, optlib="random")
    return made  # type: ignore[no-any-return]


def search_text(finder: Optimizer) -> str:
    """How a search that is an object went: its trials, and at which the best came; "" for others."""
    scores = [float(score) for score in getattr(finder, "scores", ())]
    if not scores:
        return ""
    best = scores.index(min(scores)) + 1
    spread = max(scores) - min(scores)
    return f"{len(scores)} trials, the best of them number {best}; the worst scored {spread:.3g} higher (log flops)."
