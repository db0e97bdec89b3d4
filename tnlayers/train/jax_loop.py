"""The training loop on jax: the same recipes, examples and checkpoints as on torch, and steps by optax.

The model is made by torch with its initial weights and moves to jax (`tnlayers.to_backend`); the trained weights move
back, so that a run writes the same files. A step is one compiled function of weights, optimizer's state and batch.
Examples are cut and augmented by the feed, on the processor. One device, 32-true or 64-true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tnlayers import models
from tnlayers.cores.convert import to_backend
from tnlayers.errors import TNLayersError
from tnlayers.train.config import TrainConfig
from tnlayers.train.feed import DeviceData, Examples
from tnlayers.train.launch import launch
from tnlayers.train.loop import TEST_CHUNK
from tnlayers.train.progress import Progress
from tnlayers.train.recipe import Recipe
from tnlayers.train.state import random_states, set_random_state
from tnlayers.train.trainer import Trainer, Way

if find_spec("optax") is None:
    raise TNLayersError("Training on jax needs optax, which is not installed here: pip install optax.")
import optax

Arrays = dict[str, jax.Array]
# Setting -> what backend jax takes.
TAKES: dict[str, tuple[Any, ...]] = {
    "accelerator": ("auto", "cpu"),
    "devices": (1,),
    "nodes": (1,),
    "strategy": ("auto",),
    "threads": (None,),
    "precision": ("32-true", "64-true"),
}


def check(config: TrainConfig) -> None:
    """Refuse what of a configuration jax cannot do.

    Raises:
        TNLayersError: A setting of the machine, or a model that trains otherwise than it evaluates.
    """
    for name, allowed in TAKES.items():
        value = config.recipe.precision if name == "precision" else getattr(config, name)
        if value not in allowed:
            takes = " or ".join(f"{one!r}" for one in allowed if one is not None)
            mend = f"{name} can be {takes}" if takes else f"Leave {name} out"
            raise TNLayersError(
                f"{name}={value!r} with backend='jax': it trains on one device, in 32-true or 64-true, and XLA chooses "
                f"its own threads. {mend}; or use backend='torch'."
            )
    entry = models.find(config.model)
    with torch.device("meta"):
        model = entry.make("dense")
    odd = (nn.modules.batchnorm._BatchNorm, nn.Dropout)
    found = next((type(one).__name__ for one in model.modules() if isinstance(one, odd)), None)
    if entry.language is not None or found:
        why = f"has {found}, which trains otherwise than it evaluates" if found else "is a language model"
        raise TNLayersError(
            f"model={config.model!r} with backend='jax': it {why}. On jax the models of images without batch "
            "normalisation are trained: fc2 and lenet5. Use backend='torch'."
        )


@contextmanager
def ready(config: TrainConfig) -> Iterator[None]:
    """The setting of a run: 64 bits where the recipe has them, and the device.

    Raises:
        TNLayersError: As `check`.
    """
    check(config)
    wide: Any = getattr(jax if hasattr(jax, "enable_x64") else jax.experimental, "enable_x64")  # noqa: B009
    place = jax.default_device(jax.devices("cpu")[0]) if config.accelerator == "cpu" else nullcontext()
    with wide(config.recipe.precision == "64-true"), place:
        yield


def launch_on_processor(config: TrainConfig) -> Fabric:
    """Fabric for what stays with torch: the examples, on the processor."""
    return launch(config.model_copy(update={"accelerator": "cpu", "precision": "32-true"}))


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class JaxState:
    """What training changes.

    Attributes:
        fabric: Launched.
        weights: By their names in torch.
        moments: The optimizer's state.
        average: Of the weights; None where they are not averaged.
    """

    fabric: Fabric
    weights: Arrays
    moments: Any
    average: Arrays | None

    def gather(self) -> dict[str, Any]:
        """Weights, optimizer, averages and torch's random states as tensors."""
        state: dict[str, Any] = {
            "model": _tensors(self.weights),
            "optimizer": _tensors(_by_path(self.moments)),
            "random": random_states(self.fabric),
        }
        return state if self.average is None else state | {"average": _tensors(self.average)}

    def scatter(self, state: Mapping[str, Any]) -> None:
        """Put what `gather` returned back.

        Raises:
            ValueError: The arrays are not those of this state.
        """
        self.weights = _arrays(state["model"], self.weights)
        found = _arrays(state["optimizer"], _by_path(self.moments))
        self.moments = jax.tree.unflatten(jax.tree.structure(self.moments), list(found.values()))
        if self.average is not None:
            self.average = _arrays(state["average"], self.average)
        set_random_state(self.fabric, state["random"])


def _by_path(tree: Any) -> Arrays:
    """The leaves of a tree by their paths, in order."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _tensors(arrays: Mapping[str, jax.Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _arrays(tensors: Mapping[str, Tensor], like: Arrays) -> Arrays:
    """Tensors as arrays, of the names, shapes and dtypes of others."""
    found = {name: jnp.asarray(tensors[name].numpy()) for name in like}
    for name, array in found.items():
        if array.shape != like[name].shape or array.dtype != like[name].dtype or tensors.keys() != like.keys():
            raise ValueError(f"{name} is {array.dtype}{array.shape}, not {like[name].dtype}{like[name].shape}")
    return found


def make_optimizer(recipe: Recipe, weights: Arrays) -> optax.GradientTransformation:
    """The recipe's optimizer as `loop.make_optimizer` has it; its updates are multiplied by the learning rate."""
    decayed = {name: recipe.l2_on == "all" or array.ndim >= 2 for name, array in weights.items()}
    clip = [_clip(recipe.clip_norm)] if recipe.clip_norm else []
    if recipe.optimizer == "adamw":
        adam = optax.scale_by_adam(recipe.momentum, recipe.beta2)
        return optax.chain(*clip, adam, optax.add_decayed_weights(recipe.weight_decay, decayed))
    momentum = [optax.trace(recipe.momentum, recipe.nesterov)] if recipe.momentum else []
    return optax.chain(*clip, optax.add_decayed_weights(recipe.l2, decayed), *momentum)


def _clip(norm: float) -> optax.GradientTransformation:
    """Torch's rule: a factor of norm / (length + 1e-6), at most 1."""

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        length = jnp.sqrt(sum(jnp.vdot(one, one) for one in jax.tree.leaves(gradients)))
        factor = jnp.minimum(1.0, norm / (length + 1e-6))
        return jax.tree.map(lambda one: one * factor, gradients), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def total_loss(logits: jax.Array, answers: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """The cross-entropy of all answers (B,) together, in nats, as `loop.total_loss` has it."""
    logs = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(logs, answers[:, None], 1).sum()
    return -(1 - label_smoothing) * right - label_smoothing * logs.mean(1).sum()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class JaxLoop(Trainer):
    """A model on jax with all that its epochs need.

    Attributes:
        state: What training changes.
        step: (weights, moments, average, images, answers, lr, share of the average) -> the first three anew, the loss.
        measure: (weights, images or their two mirror images, answers) -> loss of all, right answers.
    """

    state: JaxState
    step: Callable[..., tuple[Arrays, Any, Arrays | None, jax.Array]]
    measure: Callable[..., tuple[jax.Array, jax.Array]]

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float64 if self.recipe.precision == "64-true" else np.float32)

    def train(self, epoch: int) -> float:
        """Do the steps of one epoch and return the mean loss over its images."""
        part, batch, state = self.data.train, self.recipe.batch, self.state
        order = part.order(self.steps * batch, seed=self.seed, epoch=epoch)
        draws = part.draws(seed=self.seed, epoch=epoch) if self.recipe.augment else None
        total = jnp.zeros((), self._dtype)
        for step in range(self.steps):
            done = (epoch - 1) * self.steps + step
            mine = order[step * batch : (step + 1) * batch]
            given = part.batch(mine, draws).numpy().astype(self._dtype), part.answers(mine).numpy().astype(np.int32)
            lr = self.recipe.lr_at(done, steps_per_epoch=self.steps)
            share = min(self.recipe.average, (2 + done) / (11 + done))  # of `WeightAverage`, after step done + 1
            state.weights, state.moments, state.average, loss = self.step(
                state.weights, state.moments, state.average, *given, lr, share
            )
            total += loss  # read once per epoch
            self.progress.step(epoch, step + 1, self.steps)
        return float(total) / self.steps

    def test(self, part: Examples) -> tuple[float, float]:
        """Return the mean loss and the accuracy on a whole part."""
        losses = right = 0.0
        for start in range(0, len(part), TEST_CHUNK):
            mine = torch.arange(start, min(start + TEST_CHUNK, len(part)))
            images = part.batch(mine)
            views = [images, images.flip(3)] if self.recipe.flip_test else [images]
            stacked = np.stack([one.numpy().astype(self._dtype) for one in views])
            loss, hits = self.measure(self.state.weights, stacked, part.answers(mine).numpy().astype(np.int32))
            losses, right = losses + float(loss), right + int(hits)
        return losses / part.count, right / part.count

    @contextmanager
    def averages(self) -> Iterator[None]:
        """The moving averages in the place of the weights, where there are any."""
        weights = self.state.weights
        if self.state.average is not None:
            self.state.weights = self.state.average
        try:
            yield
        finally:
            self.state.weights = weights


def begin(
    *, fabric: Fabric, model: nn.Module, data: DeviceData, recipe: Recipe, seed: int, steps: int, progress: Progress
) -> tuple[JaxLoop, JaxState, Callable[[], None]]:
    """Move a torch model to jax and make ready to train it; see `trainer.Begin`."""
    layer = to_backend(model.double() if recipe.precision == "64-true" else model, "jax")
    weights: Arrays = dict(layer.params)
    optimizer = make_optimizer(recipe, weights)
    state = JaxState(
        fabric=fabric, weights=weights, moments=optimizer.init(weights), average=weights if recipe.average else None
    )

    @jax.jit
    def step(
        weights: Arrays, moments: Any, average: Arrays | None, images: Any, answers: Any, lr: Any, share: Any
    ) -> tuple[Arrays, Any, Arrays | None, jax.Array]:
        def mean_loss(weights: Arrays) -> jax.Array:
            return total_loss(layer.apply(weights, images), answers, recipe.label_smoothing) / len(answers)

        loss, gradients = jax.value_and_grad(mean_loss)(weights)
        updates, moments = optimizer.update(gradients, moments, weights)
        weights = jax.tree.map(lambda weight, update: (weight - lr * update).astype(weight.dtype), weights, updates)
        if average is not None:
            mixed = lambda old, new: (old + (1 - share) * (new - old)).astype(old.dtype)  # noqa: E731
            average = jax.tree.map(mixed, average, weights)
        return weights, moments, average, loss

    @jax.jit
    def measure(weights: Arrays, views: Any, answers: Any) -> tuple[jax.Array, jax.Array]:
        logits = sum(layer.apply(weights, images) for images in views) / len(views)
        return total_loss(logits, answers), (logits.argmax(-1) == answers).sum()

    def finish() -> None:
        trained = state.weights if state.average is None else state.average
        targets = model.state_dict()
        with torch.no_grad():
            for name, tensor in _tensors(trained).items():
                targets[name].copy_(tensor)

    common: dict[str, Any] = {"data": data, "recipe": recipe, "seed": seed, "steps": steps, "progress": progress}
    return JaxLoop(state=state, step=step, measure=measure, **common), state, finish


WAY = Way(
    ready=ready,
    launch=launch_on_processor,
    begin=begin,
    environment=lambda: {"jax": jax.__version__, "optax": optax.__version__, "jax_device": str(jax.devices()[0])},
)
