"""What the paper reports (arXiv 1904.06194): one row per network of its tables and per point of its figures.

Accuracies are percent, mean and sample standard deviation over five runs, of the best test epoch. Those of Figs. 2
and 3 are read off the drawings, to about 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("table1", "table2", "fig2", "fig3")
TYPES = "types"  # no part of the paper: other networks in its places, at its parameters
TITLES = {
    "table1": "Table I: LeNet-5 and VGG",
    "table2": "Table II: DenseNet",
    "fig2": "Fig. 2: FC2 on MNIST against the bond of its first layer",
    "fig3": "Fig. 3: ResNet, k = 4, on CIFAR-10 against depth",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One accuracy of the paper.

    Attributes:
        part: The table or figure.
        model: Name in `tnl.models`.
        network: As `tnlayers train` takes it.
        data: "mnist" or "cifar10".
        accuracy: (mean, standard deviation) in percent; None where the paper gives no number.
        rho: The compression ratio as printed; empty where none is.
        point: The key in `tnlayers.models.differences` of what the ratio, or how it is counted, departs from.
        recipe: A named one, where it is not the model's default.
        epochs: Other than the recipe's.
        at: The abscissa in a figure: bond or depth; 0 for the dense FC2, a line in the drawing, and in tables.
    """

    part: str
    model: str
    network: str
    data: str
    accuracy: tuple[float, float] | None
    rho: str = ""
    point: str = ""
    recipe: str | None = None
    epochs: int | None = None
    at: int = 0


_TABLE_1 = (
    ("lenet5", "mnist", "0.05", (99.17, 0.04), (99.17, 0.08)),
    ("vgg16", "cifar10", "~0.0005", (93.13, 0.39), (93.76, 0.16)),
    ("vgg19", "cifar10", "~0.0005", (93.36, 0.26), (93.80, 0.09)),
)
_TABLE_2 = (
    ("densenet40-12", "cifar10", "0.129", (93.56, 0.26), (93.59, 0.13)),
    ("densenet40-24", "cifar10", "0.089", (95.12, 0.15), (95.13, 0.13)),
    ("densenet100-12", "cifar10", "0.070", (95.36, 0.15), (95.58, 0.07)),
    ("densenet100-24", "cifar10", "0.044", (95.74, 0.09), (96.09, 0.07)),
)
# Bond -> accuracy, standard deviation, rho as drawn.
_FIG_2 = {
    2: (97.57, 0.36, "0.0050"),
    4: (97.80, 0.34, "0.0088"),
    6: (97.95, 0.20, "0.0145"),
    8: (97.99, 0.18, "0.0225"),
    10: (98.15, 0.11, "0.0327"),
    12: (98.17, 0.14, "0.0452"),
    14: (98.24, 0.17, "0.0599"),
    16: (98.35, 0.12, "0.0767"),
    18: (98.40, 0.14, "0.0855"),
    20: (98.41, 0.12, "0.0944"),
    22: (98.41, 0.13, "0.1031"),
}
# Depth -> dense, mpo.
_FIG_3 = {
    14: ((93.38, 0.22), (93.38, 0.13)),
    20: ((93.96, 0.13), (93.95, 0.25)),
    26: ((94.09, 0.14), (94.09, 0.15)),
    32: ((94.12, 0.15), (94.12, 0.16)),
    38: ((94.12, 0.21), (94.15, 0.19)),
    44: ((94.16, 0.43), (94.21, 0.21)),
    50: ((94.31, 0.30), (94.31, 0.26)),
    56: ((94.33, 0.49), (94.33, 0.14)),
    86: ((94.59, 0.33), (94.66, 0.20)),
    104: ((94.98, 0.48), (95.13, 0.22)),
    110: ((94.96, 0.40), (95.15, 0.26)),
    116: ((95.14, 0.31), (95.17, 0.26)),
}


def _rows() -> tuple[Row, ...]:
    found = []
    for part, table in (("table1", _TABLE_1), ("table2", _TABLE_2)):
        for model, data, rho, dense, mpo in table:
            found.append(Row(part=part, model=model, network="dense", data=data, accuracy=dense))
            found.append(Row(part=part, model=model, network="mpo", data=data, accuracy=mpo, rho=rho))
    conv = "densenet40-12-conv"  # its dense twin is the first row of the table
    point = "densenet_conv_497"
    found.append(
        Row(part="table2", model=conv, network="mpo", data="cifar10", accuracy=(93.52, 0.40), rho="~0.497", point=point)
    )
    found.append(Row(part="fig2", model="fc2", network="dense", data="mnist", accuracy=(98.35, 0.20)))
    for bond, (mean, std, rho) in _FIG_2.items():
        network = f"mpo(bond={bond})"
        point = "fig2_bond_cap" if bond > 16 else ""
        found.append(
            Row(
                part="fig2",
                model="fc2",
                network=network,
                data="mnist",
                accuracy=(mean, std),
                rho=rho,
                point=point,
                at=bond,
            )
        )
    for depth, points in _FIG_3.items():
        for network, accuracy in zip(("dense", "mpo"), points, strict=True):
            rho = "~0.11" if network == "mpo" else ""
            name = f"resnet{depth}"
            found.append(
                Row(part="fig3", model=name, network=network, data="cifar10", accuracy=accuracy, rho=rho, at=depth)
            )
    # The paper says of it that the accuracy is that of the dense ResNet-56, without a number.
    found.append(Row(part="fig3", model="resnet56-unit", network="mpo", data="cifar10", accuracy=None, at=56))
    return tuple(found)


ROWS = _rows()
# Model, data and epochs of the recipe "fast".
_COMPARED = (("lenet5", "mnist", 20), ("vgg16", "cifar10", 3))
_NETWORKS = ("dense", "mpo", "ring(equal)", "tucker(equal)", "cp(equal)", "btt(equal)", "lowrank(equal)")
OTHERS = tuple(
    Row(part=TYPES, model=model, network=network, data=data, accuracy=None, recipe="fast", epochs=epochs)
    for model, data, epochs in _COMPARED
    for network in _NETWORKS
)


def rows(part: str = "all") -> tuple[Row, ...]:
    """The rows of a table or figure, or all of the paper's; or "types", those of other networks in the same places.

    Example:
        >>> len(rows("fig3")), len(rows()), len(rows("types"))
        (25, 52, 14)
    """
    return OTHERS if part == TYPES else tuple(row for row in ROWS if part in ("all", row.part))
