"""Write docs/json.md from the table of forms: `python docs/results/json_page.py`, a second.

What is written is a table for each command and each part; `tests/cli/test_json_forms.py` runs the commands and compares
every key and its type with it.
"""

from __future__ import annotations

from pathlib import Path

from json_forms import FORMS, PARTS, Rows

PAGE = Path(__file__).resolve().parents[1] / "json.md"
HEAD = """# JSON of the command line

Every command has `--json`: the standard output is then one JSON document and nothing else, also where the command
refuses. Its `format` says which form it has. Keys may be added to a form; where one changes its meaning or goes, the
number behind the slash goes up. `[]` means the entries of a list, `*` for keys that are names of your data; a key
marked with ? is not always there. All but `bench` is tested: the commands are run, and each key and type is compared
with these tables.

```sh
tnlayers plan "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)" --batch 128 --json > plan.json
python -c "import json; print(json.load(open('plan.json'))['flops'])"
```
"""


def table(rows: Rows) -> str:
    """A form's keys as a table."""
    lines = ["| key | type | meaning |", "| --- | --- | --- |"]
    for path, (kind, meaning) in rows.items():
        mark = "?" if kind.endswith("?") else ""
        lines.append(f"| `{path}`{mark} | {kind.removesuffix('?')} | {meaning} |")
    return "\n".join(lines)


def text() -> str:
    """The whole page."""
    blocks = [HEAD]
    for form in FORMS:
        shown = form.format if isinstance(form.format, int) else f'"{form.format}"'
        blocks.append(f"## {form.command}\n\n`format` is `{shown}`.\n\n{table(form.rows)}\n")
    blocks.append("## Parts of several forms\n")
    blocks += [f"### {name}\n\n{table(rows)}\n" for name, rows in PARTS.items()]
    return "\n".join(blocks)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
