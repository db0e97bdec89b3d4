"""What a configuration may change in its recipe: the recipe's own settings, each None where the recipe decides."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tnlayers.train.recipe import Recipe

RECIPE_FIELDS = {"lr_decay": "lr_decay_per_epoch"}  # our key -> the field of Recipe, where they differ


class RecipeOverrides(BaseModel):
    """Settings of a recipe, as in `Recipe`; the recipe itself checks their values.

    Attributes:
        epochs: As in `Recipe`, like all others but these two.
        lr_decay: `lr_decay_per_epoch` of `Recipe`.
        paper_selection: Chooses the best epoch by the test part and trains on the whole training part: `validation` 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int | None = None
    batch: int | None = None
    steps: int | None = None
    lr: float | None = None
    lr_decay: float | None = None
    staircase: int | None = None
    warmup: float | None = None
    cooldown: float | None = None
    cooldown_shape: str | None = None
    optimizer: str | None = None
    momentum: float | None = None
    beta2: float | None = None
    weight_decay: float | None = None
    nesterov: bool | None = None
    l2: float | None = None
    l2_on: str | None = None
    clip_norm: float | None = None
    label_smoothing: float | None = None
    average: float | None = None
    augment: bool | None = None
    normalise: str | None = None
    flip_test: bool | None = None
    validation: int | None = None
    precision: str | None = None
    paper_selection: bool = False

    def changed(self, recipe: Recipe) -> Recipe:
        """Return the recipe with these settings put in."""
        values = recipe.model_dump()
        for key in RecipeOverrides.model_fields:
            if key != "paper_selection" and getattr(self, key) is not None:
                values[RECIPE_FIELDS.get(key, key)] = getattr(self, key)
        if self.paper_selection:
            values["validation"] = 0
        return Recipe(**values)
