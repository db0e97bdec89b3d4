"""Model cards: what a compressed model is, in the README.md of the folder that `push_to_hub` uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tnlayers_backends.torch.modules.marked import mark
from torch import nn

from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import replacing
from tnlayers.files.version import __version__

_LOADING = """\
```python
import tnlayers.hf  # registers with transformers
from transformers import {kind}

model = {kind}.from_pretrained("{name}")
```
"""


class Report(Protocol):
    """A report of `tnl.compress`, or its result; whatever prints as one and gives it as JSON."""

    def __str__(self) -> str: ...


def model_card(model: nn.Module, report: Report | None = None, *, name: str = "<this folder>", base: str = "") -> str:
    """The text of a model card: how to load the model, what it was made of, and the report.

    Args:
        model: A model of transformers.
        report: `tnl.compress(...)`, or its `report`; None leaves it out.
        name: Where the model will be found, "you/your-model".
        base: The model that was compressed, by the same kind of name; "" leaves it out.

    Example:
        >>> from transformers import GPT2Config, GPT2Model
        >>> model = GPT2Model(GPT2Config(vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2))
        >>> print(model_card(model, name="me/small", base="me/large").splitlines()[3])
        base_model: me/large
    """
    for said, text in (("name", name), ("base", base)):
        if not isinstance(text, str) or any(sign in text for sign in '\n\r:"`'):
            raise TNLayersError(f"{said}={str(text)[:100]!r} must be the name of a model, such as 'you/your-model'.")
    head = ["---", "library_name: transformers", "tags: [tnlayers, tensor-network]"]
    head += [f"base_model: {base}"] if base else []
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary = f"{parameters:,} parameters; written by tnlayers {__version__}."
    lines = [
        *head,
        "---",
        "",
        f"# {name}",
        "",
        f"A {type(model).__name__} some of whose weights are tensor networks: {summary}",
    ]
    lines += ["", _LOADING.format(kind=type(model).__name__, name=name)]
    if report is not None:
        lines += ["## What compression did", "", "```text", str(report), "```", ""]
    return "\n".join(lines)


def save_pretrained(
    model: Any,
    folder: str | Path,
    report: Report | None = None,
    *,
    name: str = "<this folder>",
    base: str = "",
    **keywords: Any,
) -> None:
    """`model.save_pretrained(folder)`, and a model card `README.md` beside it: the folder that goes to a hub.

    `huggingface_hub.upload_folder(folder_path=folder, repo_id=name)` uploads it as it is.

    Args:
        model: A model of transformers.
        folder: Where to.
        report: `tnl.compress(...)`, or its `report`; None leaves it out.
        name: Where the model will be found.
        base: The model that was compressed.
        **keywords: As the model's own `save_pretrained` takes them, but for `push_to_hub`.

    Raises:
        TNLayersError: If this is no model of transformers, or `push_to_hub` is asked for: it writes a card of its own.
    """
    if not hasattr(model, "save_pretrained"):
        raise TNLayersError(f"This {type(model).__name__} has no save_pretrained: give a model of transformers.")
    if keywords.get("push_to_hub"):
        raise TNLayersError(
            "push_to_hub=True would write a model card of its own over this one. Leave it out, and upload the folder: "
            "huggingface_hub.upload_folder(folder_path=folder, repo_id=name)."
        )
    card = model_card(model, report, name=name, base=base)
    mark(model)  # layers that were put in by hand are in no table yet
    model.save_pretrained(folder, **keywords)
    with replacing(Path(folder) / "README.md") as file:
        file.write(card.encode())
