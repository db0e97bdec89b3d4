"""Where the paper, its code and tnlayers differ: 23 points, each with what is done here and the models it touches.

The paper is arXiv 1904.06194, its code github.com/zfgao66/deeplearning-mpo at commit c345b9f. Two more points are
PicoGPT-MPO's (arXiv 2603.28534; code: github.com/younesjavanmard/mpo-picogpt), and touch `gpt-pico`.
"""

from __future__ import annotations

from dataclasses import dataclass

_MNIST = ("fc2", "lenet5")
_CIFAR = ("vgg", "resnet", "densenet")
_ALL = (*_MNIST, *_CIFAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One point.

    Attributes:
        key: A short name.
        models: Beginnings of the names of the models it touches.
        what: Where paper and code differ, or what a number leaves out.
        here: What tnlayers does.
    """

    key: str
    models: tuple[str, ...]
    what: str
    here: str


def _point(key: str, models: tuple[str, ...], what: str, here: str) -> Difference:
    return Difference(key=key, models=models, what=what, here=here)


DIFFERENCES = (
    _point(
        "momentum",
        _MNIST,
        "The paper trains all networks by SGD with momentum; its MNIST scripts use plain SGD.",
        "Plain SGD for MNIST, as in the code.",
    ),
    _point(
        "stopping",
        _ALL,
        "The paper stops when the cost stops falling; the code runs a fixed number of steps.",
        "A fixed number of epochs.",
    ),
    _point(
        "test_selection",
        _ALL,
        "The accuracy reported is the best over training on the test set, which serves as validation set too.",
        "Images held out of training choose the epoch; --paper-selection does as the paper. The last epoch and the "
        "best test epoch are reported too, and named.",
    ),
    _point(
        "fc2_bias",
        _MNIST,
        "The dense FC2 and the dense linear layers of LeNet-5 have no biases, their MPOs have (266 and 94 numbers).",
        "As in the code; rho counts no biases.",
    ),
    _point(
        "fc2_dense_config",
        ("fc2",),
        "The dense FC2 script imports a configuration that its folder lacks: it does not run as committed.",
        "The MPO script's configuration.",
    ),
    _point(
        "lenet_mpo_names",
        ("lenet5",),
        "The MPO LeNet-5 names lists of factors that do not exist; shifted by one they are the paper's.",
        "The paper's factors.",
    ),
    _point(
        "fc2_layer2_order",
        ("fc2",),
        "FC2's second layer has output factors 1,1,10,1 in the paper, 1,10,1,1 in the code; the count is the same.",
        "The paper's order.",
    ),
    _point(
        "fig2_bond_cap",
        ("fc2",),
        "Fig. 2 at bonds 18, 20, 22 counts outer bonds clipped to 16; the paper's formula and code give rho 0.0957, "
        "0.1170, 0.1404.",
        "Clipped, as drawn; `uniform_parameters` is the formula.",
    ),
    _point(
        "resnet_mpo_head",
        ("resnet",),
        "The last MPO ResNet file cannot be built; its revision of January 2019 can, and has the classifier alone.",
        "The classifier as in that revision.",
    ),
    _point(
        "resnet_depth",
        ("resnet",),
        "The code replaces the last unit at any depth, the paper at depth 56.",
        "A variant by name: resnet56-unit.",
    ),
    _point(
        "densenet_modes",
        ("densenet",),
        "The code has the factors of (16,12,12) alone: the other rows of Table II do not run unchanged.",
        "The paper's factors of each row.",
    ),
    _point(
        "densenet_conv_497",
        ("densenet40-12-conv",),
        "The paper's factors are of 28160 inputs, the layer has 27904; its rho of 0.497 does not follow: 0.801 by the "
        "formula, 0.630 clipped.",
        "The last 256 inputs of the factors read as zero; rho 0.6295 as built. Not reproduced.",
    ),
    _point(
        "vgg_dropout_eval",
        ("vgg",),
        "In the code dropout stays on when the model is evaluated.",
        "Off in evaluation.",
    ),
    _point(
        "vgg_drop_flag",
        ("vgg",),
        "The dense VGG reads a flag for dropout of convolutions, the MPO one sets it to 0; both are 0.",
        "No dropout of convolutions.",
    ),
    _point(
        "vgg19_bias",
        ("vgg",),
        "The MPOs of fc1 and fc2 have biases in VGG-16 and none in VGG-19; all dense ones have.",
        "As in the code.",
    ),
    _point(
        "extra_bn",
        _CIFAR,
        "MPO classifiers of ResNet and DenseNet have one more normalisation before them and no bias; after a replaced "
        "convolution every position and channel is normalised by itself.",
        "As in the code.",
    ),
    _point(
        "rho_excludes",
        _ALL,
        "rho leaves out biases, normalisations and all layers that stay: as a whole VGG-16 shrinks to 18 %, VGG-19 to "
        "39 %, ResNet and DenseNet, with the classifier alone, by "
        "less than 0.5 %.",
        "rho as in the paper, and both totals beside it.",
    ),
    _point(
        "unused_layers",
        _CIFAR,
        "Three layers of TT convolutions in the code are used nowhere: replaced convolutions are full linear maps of "
        "the flattened map.",
        'The same: TNConv2d with view="flat".',
    ),
    _point(
        "reduction_flag",
        ("densenet",),
        "The code's reduction of 0.5 and list of growths are flags that nothing reads: transitions keep all channels.",
        "Transitions keep all channels.",
    ),
    _point(
        "core_regularizer",
        _MNIST,
        "The MPO layers name an L2 regulariser that no loss includes; the explicit sum over all trainables does.",
        "The explicit sum.",
    ),
    _point(
        "eval_script",
        _CIFAR,
        "The separate evaluation script calls a missing function and averages weights by 0.999, training by 0.9.",
        "Training's 0.9 in the paper's recipe.",
    ),
    _point(
        "first_release",
        _MNIST,
        "Before April 2019 the MNIST scripts had a fixed rate of 0.01, 30,000 steps and no L2, and LeNet-5 replaced "
        "linear layers only.",
        "The later scripts.",
    ),
    _point(
        "table2_factor",
        ("densenet",),
        "The text says DenseNet classifiers shrink 7 to 21 times; the four ratios are 7.8 to 22.6.",
        "The ratios as counted.",
    ),
)

PICOGPT = (
    _point(
        "picogpt_parameters",
        ("gpt-pico",),
        "The table has 1,020,224 parameters dense and 408,832, 191,872, 110,592 and 78,336 with MPOs of bonds 32, 16, "
        "8 and 4; its code builds 808,448 and 472,192, 177,408, 79,168 and 42,336.",
        "As the code builds them, no bond clipped.",
    ),
    _point(
        "picogpt_accuracy",
        ("gpt-pico",),
        "The table has 52.8 % token accuracy dense and 52.4, 51.6, 46.8 and 36.8 % with those MPOs, on 20 random "
        "batches; its code with its defaults was seen to reach 34.7 % dense. Which of the two the table belongs to is "
        "not known.",
        "Accuracy over the whole last tenth of the text; both counts are named.",
    ),
)


def differences(model: str) -> tuple[Difference, ...]:
    """The points that touch a model.

    Example:
        >>> [point.key for point in differences("vgg16")][-1]
        'eval_script'
    """
    return tuple(point for point in (*DIFFERENCES, *PICOGPT) if model.startswith(point.models))
