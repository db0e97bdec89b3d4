"""What `--json` prints has the keys and types that docs/json.md says, and no others."""

import json
import re
import sys

import pytest
from places import ROOT
from scripts import script

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from tnlayers.__main__ import app  # noqa: E402
from tnlayers.machine import saved_rates  # noqa: E402

page = script("json_page")
forms = sys.modules["json_forms"]  # which the page has loaded
RUN = {form.command: form for form in forms.FORMS if form.words}
TYPES = {
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "text": lambda value: isinstance(value, str),
    "true or false": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def leaves(data, path=""):
    """The path and value of every entry that is no object and no list, and of empty ones None."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for value in data:
            yield from leaves(value, f"{path}[]")
    else:
        yield path, data


def flat(rows, before="", optional=False):
    """Rows with those of parts in their places: (pattern, types, optional)."""
    for path, (kind, _) in rows.items():
        whole, may_miss = f"{before}.{path}" if before else path, optional or kind.endswith("?")
        kinds = kind.removesuffix("?").replace("true or false", "boolean").split(" or ")
        parts = [name for name in kinds if name in forms.PARTS]
        for part in parts:
            yield from flat(forms.PARTS[part], whole, may_miss or len(kinds) > 1)
        kinds = ["true or false" if name == "boolean" else name for name in kinds if name not in parts]
        if kinds:
            pattern = re.escape(whole).replace(r"\*", r"[^.\[\]]+")
            pattern = "".join(pattern)
            yield (
                re.compile(f"{pattern}(\\[\\])*" if whole.endswith("[][]") else pattern),
                kinds,
                may_miss or bool(parts),
            )


def wrong(rows, data):
    """What data has that rows do not allow, and rows that it lacks."""
    rows, seen, found = list(flat(rows)), set(), []
    for path, value in leaves(data):
        # A name of the user's data may have dots and brackets of its own: the first row that fits counts.
        for number, (pattern, kinds, _) in enumerate(rows):
            if pattern.fullmatch(path) and any(TYPES[kind](value) for kind in kinds):
                seen.add(number)
                break
        else:
            found.append(f"{path}: {value!r}")
    present = {path for path, _ in leaves(data)}
    for number, (pattern, _, optional) in enumerate(rows):
        if number not in seen and not optional and not any(pattern.fullmatch(path) for path in present):
            found.append(f"{pattern.pattern} is not there")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("json")
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16)
    save_file(torch.nn.Sequential(*layers).state_dict(), place / "model.safetensors")
    return place


@pytest.fixture(autouse=True)
def no_rates_are_left_behind():
    """What `calibrate` measures here is not what later tests plan by."""
    yield
    saved_rates.machine.cache_clear()


def printed(call, form, folder, monkeypatch):
    monkeypatch.setenv("TNLAYERS_CACHE", str(folder / "cache"))
    if "language" in " ".join(form.words):
        words = ("--data", "sonnets", "--network", "mpo(bond=2)", "--steps", "1", "--batch", "2", "--epochs", "1")
        assert call("train", "gpt-pico", *words, "--out", str(folder), "--name", "language", "--json")[0] == 0
    status, out, _ = call(*(word.format(folder=folder) for word in form.words))
    assert status == (2 if form.format == "tnlayers-error/1" else 0)
    return json.loads(out)


@pytest.mark.parametrize("command", RUN)
def test_every_key_is_in_the_table_and_every_row_in_the_output(call, folder, monkeypatch, command):
    form = RUN[command]
    data = printed(call, form, folder, monkeypatch)
    assert {one["format"] for one in (data if isinstance(data, list) else [data])} == {form.format}
    assert wrong(form.rows, data) == []


def test_every_command_that_has_json_is_in_the_table(call):
    listed = {form.command.split()[1] for form in forms.FORMS if form.command.startswith("tnlayers")}
    commands = [made.callback.__name__ for made in app.registered_commands]
    with_json = {name for name in commands if "--json" in call(name, "--help")[1]}
    assert with_json == listed
    assert len(with_json) > 10


def test_the_page_is_that_of_the_table():
    assert (ROOT / "docs" / "json.md").read_text(encoding="utf-8") == page.text(), "run docs/results/json_page.py"


@pytest.mark.parametrize(
    "change",
    [lambda d: d.pop("rho"), lambda d: d.update(rho="0.2"), lambda d: d.update(more=1)],
    ids=["less", "type", "more"],
)
def test_the_comparison_has_teeth(call, folder, monkeypatch, change):
    form = RUN["tnlayers describe SPEC"]
    data = printed(call, form, folder, monkeypatch)
    change(data)
    assert len(wrong(form.rows, data)) == 1
