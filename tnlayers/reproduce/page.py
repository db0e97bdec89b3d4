"""The page docs/paper.md, written from the stored runs and counts alone."""

from __future__ import annotations

from collections.abc import Sequence

from tnlayers.models.differences import DIFFERENCES
from tnlayers.reproduce.cells import MEASURED, Structure, measured, rho
from tnlayers.reproduce.dense_twins import twins
from tnlayers.reproduce.missing import not_run
from tnlayers.reproduce.other_networks import others
from tnlayers.reproduce.paper import PARTS, ROWS, TITLES, Row, rows
from tnlayers.reproduce.recipe_text import Run
from tnlayers.reproduce.store import of
from tnlayers.reproduce.summary import difference, in_short

_BEGIN = """# The whole paper, beside what was measured here

Every row of the tables and every point of the figures of arXiv 1904.06194. `tnlayers reproduce` writes this page
from the runs stored in `docs/results/`; a cell is empty where nothing was run. Accuracies are percent of the 10,000
test images, mean ± sample standard deviation over seeds. "Best" is the best test epoch, which is what the paper
reports, "final" the last epoch, "chosen" the epoch that images held out of training chose, where some were: these
two saw nothing of the test set. The paper has five runs a row. Its accuracies in the two figures are read off the
drawings.

"paper" is the recipe of that name of `tnlayers train`, which for FC2 clips gradients at norm 1 (`docs/mnist.md` says
why). By default 5,000 training images are held out to choose the epoch by. The paper trains on all of them and chooses
by the test set: that is `--paper-selection` of `train` and `reproduce`, "paper selection" in the column of the recipe;
"chosen" is empty there, and "final" is chosen by nothing. Any other recipe is named with what it changes from a named
one: such a row is no repetition of the paper's. "Weights in place" are those that stand where the paper replaces
layers. Runs on an accelerator have rows of their own. `docs/fast.md` shows how "fast" was chosen; `docs/mnist.md`
lists every MNIST run of the paper's recipe, and shows the entropies of FC2's bonds over training.

```bash
tnlayers reproduce --dry-run                      # what is missing, and about how long each run takes here
tnlayers reproduce fig2 --budget 120              # two hours of it; the same command goes on where it stopped
tnlayers reproduce fig2 --paper-selection --seeds 3    # counts the runs below, which choose as the paper does
tnlayers reproduce table1 --model vgg16 --recipe fast --epochs 20 --seeds 1 --budget 600
tnlayers reproduce types --model lenet5 --seeds 3 # other networks in the places of the MPOs
tnlayers reproduce --budget 0                     # runs made elsewhere, in runs/, are taken in; this page is written
```
"""

_STRUCTURE = """## Structure

Counted from the models as they are built, and compared with the paper's and its code's numbers by
`tests/models/test_models_cifar.py` and `tests/models/test_models.py`. Weights have no biases and no normalisation in
them, "trained" has. rho is that of the paper: over the replaced layers alone. It equals the paper's, as far as digits
are printed or can be read off the drawing, but for DenseNet's convolution. Where a name is given beside it the paper or
its code disagrees with itself: the last section says how. Mflop are of one image forward, in a batch of 100, as
torch counts.
"""


def page(runs: Sequence[Run], structure: Structure, steps: Structure) -> str:
    """The text of the page.

    Args:
        runs: Of the store.
        structure: Of the store: by model and network.
        steps: Of the store, alike: the times of a step.
    """
    parts = [_BEGIN, in_short(runs), _STRUCTURE, _structure(structure)]
    for part in PARTS:
        parts += [f"## {TITLES[part]}\n", *_picture(part), _accuracies(rows(part), runs, structure)]
    parts += [twins(runs), "## Accuracy against bond, parameters and work\n", *_picture("cost"), *_picture("cifar")]
    parts += [others(runs, structure, steps), not_run(runs, structure, steps), _points()]
    return "\n".join(parts)


def _structure(structure: Structure) -> str:
    lines = [
        "| model | replaced by | replaced weights: MPO / dense | rho | paper's rho | whole model: MPO / dense | ratio "
        "| trained: MPO / dense | Mflop: MPO / dense |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in (row for row in ROWS if row.network != "dense"):
        mpo, dense = structure[row.model][row.network], structure[row.model]["dense"]
        ratio = mpo["weights"] / dense["weights"]
        lines.append(
            f"| {row.model} | `{row.network}` | {mpo['replaced']:,} / {mpo['dense']:,} | {rho(mpo['rho'])} "
            f"| {_printed(row)} | {mpo['weights']:,} / {dense['weights']:,} | {ratio:.4f} | "
            f"{mpo['trainable']:,} / {dense['trainable']:,} | {mpo['flops'] / 1e6:,.2f} / {dense['flops'] / 1e6:,.2f} |"
        )
    return "\n".join([*lines, ""])


def _printed(row: Row) -> str:
    """The paper's ratio, and the point of disagreement that it is a matter of."""
    return f"{row.rho}, see `{row.point}`" if row.point else row.rho


def _picture(part: str) -> list[str]:
    words = {
        "fig2": "Accuracy of FC2 against the bond of its first layer, the paper's curve and the measured points",
        "fig3": "Accuracy of ResNet against depth, dense and with an MPO classifier, the paper's and measured",
        "cost": "Accuracy of the MNIST networks against bond, weights and flops, dense hollow and MPO filled",
        "cifar": "Accuracy of the CIFAR-10 networks against weights and flops, dense hollow and MPO filled",
    }
    return [f"![{words[part]}](img/paper-{part}.svg)\n"] if part in words else []


def _accuracies(wanted: Sequence[Row], runs: Sequence[Run], structure: Structure) -> str:
    """One line per row and recipe; a row without runs has one with empty cells."""
    lines = [
        f"| model | network | weights in place | paper, best % | best - paper | {MEASURED} |",
        f"|{' --- |' * 13}",
    ]
    for row in wanted:
        paper = "" if row.accuracy is None else f"{row.accuracy[0]:.2f} ± {row.accuracy[1]:.2f}"
        weights = structure[row.model][row.network]["replaced"]
        begin = f"| {row.model} | `{row.network}` | {weights:,} | {paper} |"
        groups = of(runs, row.model, row.network, row.data)
        lines += [f"{begin} {difference(group, row)} | {measured(group)} |" for group in groups] or [
            f"{begin}{'  |' * 9}"
        ]
    return "\n".join([*lines, ""])


def _points() -> str:
    lines = [
        "## Where the paper and its code disagree\n",
        "`tnlayers describe MODEL` tells those that touch the model. The code is github.com/zfgao66/deeplearning-mpo, "
        "commit c345b9f.\n",
        "| point | touches | what | here |",
        "| --- | --- | --- | --- |",
        *(f"| {point.key} | {', '.join(point.models)} | {point.what} | {point.here} |" for point in DIFFERENCES),
        "",
        "Two more, of torch and TensorFlow: at stride 2 TensorFlow pads a map of even size after its last row and "
        "column only, torch on both sides (ResNet); and torch's batch normalisation starts its running statistics at "
        "mean 0 and variance 1, where the code starts at 0 and corrects for it.",
        "",
    ]
    return "\n".join(lines)
