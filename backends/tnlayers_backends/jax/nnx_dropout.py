"""Dropout inside the modules for Flax NNX."""

from __future__ import annotations

from flax import nnx

from tnlayers.errors import TNLayersError


def drops_by(rate: float, rngs: nnx.Rngs | None) -> None:
    """Refuse generators that have no stream to draw by.

    Raises:
        TNLayersError: Neither a stream "dropout" nor a default one is among them.
    """
    if rate and rngs is not None and not {"dropout", "default"} & set(rngs):
        raise TNLayersError(
            f"dropout_rate={rate} draws what it drops from the stream 'dropout', and rngs has only {sorted(rngs)}: "
            "give nnx.Rngs(params=0, dropout=1), or nnx.Rngs(0), whose stream is for both."
        )


def make_dropout(rate: float, deterministic: bool, rngs: nnx.Rngs) -> nnx.Dropout:
    """A dropout with a generator of its own; without a rate it has none, and its state is empty.

    Raises:
        TNLayersError: As `drops_by`.
    """
    drops_by(rate, rngs)
    return nnx.Dropout(rate, deterministic=deterministic, rngs=rngs if rate else None)
