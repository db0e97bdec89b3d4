"""The documentation site: `make docs` builds it with Sphinx, and every warning is an error.

The pages are the Markdown files of this folder, which also read well where they lie; the notebooks are copied in from
`notebooks/` and shown as they were last executed; the reference comes from docstrings and must hold every public name.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import tnlayers as tnl

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"

project = "tnlayers"
author = "the tnlayers authors"
release = tnl.__version__
html_title = f"tnlayers {release}"
html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["README.md"]

nb_execution_mode = "off"  # `make notebooks` executes them; the outputs are committed
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "code"  # docstrings write `name` for code

_CODE = re.compile(r"(?<![`:])`([^`\n]+)`(?!`)(?=(\w?))")
_PLAIN = re.compile(r"(``.*?``(?:\\ )?)")


def copy_notebooks(app: Sphinx) -> None:
    """Put the notebooks where Sphinx looks for pages; the copies are not committed."""
    shutil.rmtree(HERE / "notebooks", ignore_errors=True)
    if NOTEBOOKS.is_dir():
        (HERE / "notebooks").mkdir()
        for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
            shutil.copy2(notebook, HERE / "notebooks")


def write_explorer(app: Sphinx) -> None:
    """The explorer that the landing page shows; not committed."""
    tnl.explore("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)", batch=128, path=HERE / "_static" / "explorer.html")


def prepare_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Links between pages and notebooks lead to the copies; a pattern of the contents that fits no page is left out."""
    if name.startswith("notebooks/"):
        source[0] = source[0].replace("](../docs/", "](../")
    else:
        source[0] = re.sub(r"\]\(\.\./((?:\.\./)?notebooks/)", r"](\1", source[0])
    if name == "index":
        kept = (line for line in source[0].splitlines() if not line.endswith("*") or any(HERE.glob(f"{line}.*")))
        source[0] = "\n".join(kept)


def as_rest(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings write `code`, and |W| and names_ that are no markup; examples stay as they are."""
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if example:
            continue
        parts = _PLAIN.split(_CODE.sub(lambda m: f"``{m[1]}``" + ("\\ " if m[2] else ""), line))
        parts[::2] = [re.sub(r"([|*]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def check_reference(app: Sphinx, error: Exception | None) -> None:
    """Refuse a reference that misses a public name."""
    if error is not None or app.builder.name != "html":
        return
    from tnlayers import models, nn

    names = {f"{module.__name__}.{name}" for module in (tnl, nn, models) for name in module.__all__}
    known = app.env.domains.python_domain.objects
    missing = sorted(names - known.keys() - {"tnlayers.__version__"})
    if missing:
        raise RuntimeError(f"docs/reference misses {', '.join(missing)}")


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("builder-inited", copy_notebooks)
    app.connect("builder-inited", write_explorer)
    app.connect("source-read", prepare_page)
    app.connect("autodoc-process-docstring", as_rest, priority=100)  # before napoleon
    app.connect("build-finished", check_reference)
