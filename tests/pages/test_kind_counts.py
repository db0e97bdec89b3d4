"""How many files a layer kind is named in: what CONTRIBUTING.md says of the two that came last."""

import re
from pathlib import Path

import pytest

import tnlayers as tnl

ROOT = Path(tnl.__file__).parent

# What names a kind; its own files on torch; the files of `tnlayers` beside the arithmetic in `cores/` and tnl.jax.
KINDS = {
    "embedding_bag": (
        r'EMBEDDING_BAG|EmbeddingBag|"embedding_bag"',
        {"embedding_bag.py"},
        {"nn.py", "forms/kinds.py", "forms/tables.py", "verify/kinds.py"},
    ),
    "bilinear": (
        r'BILINEAR|Bilinear\b|"bilinear"|in1_features',
        {"bilinear.py", "bilinear_kind.py"},
        {"nn.py", "forms/kinds.py", "forms/networked.py", "verify/kinds.py"}
        | {"declare/arguments.py", "decompose/spectra.py"},
    ),
}


def naming(folder, words):
    """The files below a folder that have one of some words."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    return {name for name, file in files.items() if re.search(words, file.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_kind_is_named_by_its_own_files_and_by_tables(kind):
    words, own, entries = KINDS[kind]
    layers = ROOT.parent / "backends" / "tnlayers_backends" / "torch"
    assert naming(layers, words) == {f"layers/{name}" for name in (*own, "kinds.py")}
    found = {name for name in naming(ROOT, words) if not name.startswith(("cores/", "jax/"))}
    assert found == entries
