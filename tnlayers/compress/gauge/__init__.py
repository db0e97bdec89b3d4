"""Coordinates of a model's inner features, chosen so that networks fit its weights better; its outputs stay."""

from tnlayers.compress.gauge.heads import turn_heads_
from tnlayers.compress.gauge.hidden import covariance_order, reorder_hidden_
from tnlayers.compress.gauge.stream import Stream, fold_, principal_rotation, rotate_, stream_of

__all__ = [
    "Stream",
    "covariance_order",
    "fold_",
    "principal_rotation",
    "reorder_hidden_",
    "rotate_",
    "stream_of",
    "turn_heads_",
]
