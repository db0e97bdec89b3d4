"""YAML and JSON from others: bounded before they become objects, refused in one short paragraph, and in no time."""

import json
import pickle
import tracemalloc
import warnings

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from promptly import assert_prompt

import tnlayers as tnl
from tnlayers.cli.compress import _rules
from tnlayers.errors import LONGEST, TNLayersError, shortened
from tnlayers.files.documents import JSON_LIMIT, YAML_LIMIT, UnreadableText, load_json, load_yaml, read_file, read_json
from tnlayers.networks.yaml_file import load_network
from tnlayers.train.config import TrainConfig

LEVELS = [f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, 9)]
MERGES = [f"m{k}: &m{k}\n  <<: [{', '.join([f'*m{k - 1}'] * 9)}]\n  k{k}: 1" for k in range(1, 9)]
BOMBS = {
    "aliases of aliases": "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x]", *LEVELS]),
    "a long text by aliases": f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 40)}]",
    "merge keys": "\n".join(["m0: &m0 {a: 1}", *MERGES]),
    "an alias to itself": "a: &a [*a]",
    "a merge of itself": "a: &a {<<: *a}",
    "flow nesting": "[" * 20_000,
    "closed nesting": "[" * 500 + "]" * 500,
    "mappings in mappings": "{a: " * 500 + "1" + "}" * 500,
    "block nesting": "\n".join(" " * k + f"k{k}:" for k in range(500)),
    "dashes": "- " * 5000 + "x",
    "question marks": "? " * 5000,
    "many values": "[" + "1," * 21_000 + "]",
    "many keys": "\n".join(f"k{k}: 1" for k in range(11_000)),
    "a number of 5,000 digits": "model: " + "9" * 5000,
    "a hexadecimal number": "model: 0x" + "f" * 5000,
    "a binary number": "model: 0b" + "1" * 5000,
    "a number by sixties": "model: " + ":".join(["59"] * 3000),
    "a float of many digits": "model: 1." + "0" * 5000,
    "a number in a key": "9" * 5000 + ": 1",
    "a tag without its value": "model: !!int ''",
    "a truth that is none": "model: !!bool perhaps",
    "a float that is none": "model: !!float x",
    "bytes that are none": "model: !!binary é",
    "python": "model: !!python/object/apply:os.system [touch here]",
    "python by name": "!!python/name:os.system x",
    "an unknown tag": "model: !whatever x",
    "a list as a key": "? [a]\n: b",
    "a mapping as a key": "? {a: 1}\n: b",
    "two documents": "a: 1\n---\nb: 2",
    "a directive": "%YAML 9.9\n---\na: 1",
    "an unknown anchor": "a: *nowhere",
    "a key twice": "model: fc2\nmodel: lenet5",
    "a null byte": "model: \0",
    "a lone surrogate": "model: \ud800",
    "too long": "#" * (YAML_LIMIT + 1),
    "anchors": " ".join(f"&a{k}" for k in range(5000)),
    "tabs": "\t" * 5000 + "a: 1",
    "quotes": '"' + "\\" * 5001,
    "an omap that is none": "!!omap {a: 1}",
    "a set that is none": "!!set [a]",
    "pairs that are none": "!!pairs {a: 1}",
}


def bounded(action, seconds=1.0, megabytes=64, traced=True):
    """The refusal of something that must be refused, shortly, in little time and, where it is traced, memory."""
    messages = []

    def refused():
        with pytest.raises(tnl.TNLayersError) as refusal:
            action()
        messages.append(str(refusal.value))

    assert_prompt(refused, 2 * seconds)
    if traced:
        tracemalloc.start()
        try:
            refused()
            assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
        finally:
            tracemalloc.stop()
    assert max(map(len, messages)) <= LONGEST
    return messages[0]


def file_with(folder, text):
    (folder / "file.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder / "file.yaml"


READERS = {
    "spec": lambda folder, text: tnl.Spec.from_yaml(text),
    "network": lambda folder, text: load_network(file_with(folder, text)),
    "configuration": lambda folder, text: TrainConfig.resolve(file_with(folder, text)),
    "rules": lambda folder, text: _rules(file_with(folder, text)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_by_every_reader(tmp_path, monkeypatch, reader, bomb):
    monkeypatch.chdir(tmp_path)
    # All of them refuse in `load_yaml`, so that one shows the memory.
    bounded(lambda: READERS[reader](tmp_path, BOMBS[bomb]), traced=reader == "spec")
    assert [path.name for path in tmp_path.iterdir()] in ([], ["file.yaml"])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        '{"network": ' + "9" * 5000 + "}",
        " " * (JSON_LIMIT + 1),
        "",
        "NaN",
    ],
    ids=["lists", "tables", "number", "number inside", "too long", "empty", "NaN"],
)
@pytest.mark.parametrize("read", [tnl.Spec.from_json, tnl.Plan.from_json])
def test_json_alike(read, text):
    bounded(lambda: read(text), megabytes=128)


def test_a_long_text_of_digits_in_quotes_is_no_number():
    assert load_json(json.dumps({"title": "9" * 100})) == {"title": "9" * 100}


@pytest.mark.parametrize("text", [3, None, b"a: 1", ["a"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(UnreadableText, match="a text is needed"):
        load_yaml(text)
    with pytest.raises(UnreadableText, match="a text is needed"):
        load_json(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_yaml_writes_is_read_as_it_was(value):
    assert load_yaml(yaml.safe_dump(value)) == value
    assert load_json(json.dumps(value)) == value


def test_anchors_and_merges_within_the_bounds_mean_what_they_do_elsewhere():
    text = "base: &b {lr: 0.1, epochs: 3}\nown:\n  <<: *b\n  lr: 0.2\nagain: [*b, *b]"
    assert load_yaml(text) == yaml.safe_load(text)


def test_a_date_is_the_text_that_it_is():
    assert load_yaml("name: 2026-11-30\nother: !!timestamp 2001-99-99") == {"name": "2026-11-30", "other": "2001-99-99"}


def test_the_message_of_an_error_and_of_a_warning_is_bounded():
    long = "bond=" + "9" * 10**6 + " is too large: take bond=4."
    error = tnl.TNLayersError(long)
    assert len(str(error)) == LONGEST
    assert str(error).startswith("bond=999")
    assert str(error).endswith("take bond=4.")
    assert f"{len(long) - LONGEST} characters" in str(error)
    with pytest.warns(tnl.TNLayersWarning) as reply:
        warnings.warn(long, tnl.TNLayersWarning, stacklevel=1)
    assert len(str(reply[0].message)) == LONGEST
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(tnl.TNLayersError("as it is")) == "as it is"


@given(st.text(max_size=300), st.integers(100, 250))
def test_shortened_texts_keep_their_ends(text, most):
    short = shortened(text, most)
    assert len(short) <= most
    assert short == text or (text[0] == short[0] and text[-1] == short[-1])


@pytest.mark.parametrize(
    "network",
    ["+" * 100_000, "mpo(bond=" + "9" * 5000 + ")", "mpo(in=" + "x".join(["2"] * 20_000) + ")", "(" * 100_000],
    ids=["plus", "digits", "modes", "parentheses"],
)
def test_long_spec_strings(network):
    bounded(lambda: tnl.spec(network))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting"),
        (b"[" * 100_000, "nested"),
        (b"9" * 5000, "digits"),
        (b"\xff", "utf-8"),
        (b" " * (JSON_LIMIT + 1), "longer"),
    ],
    ids=lambda value: str(value[:4]),
)
def test_a_damaged_json_file_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(TNLayersError, match=rf"(?s)Cannot read the results in .*results.json.*{reason}.*Restore"):
        read_json(path, "the results in")
    with pytest.raises(TNLayersError, match="No such file"):
        read_json(tmp_path / "none.json", "the results in")


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("ä" * YAML_LIMIT)
    assert read_file(path, "the file") == "ä" * YAML_LIMIT
    path.write_text("ä" * (YAML_LIMIT + 1))
    with pytest.raises(TNLayersError, match=rf"Cannot read the file .*: it is longer than {YAML_LIMIT} characters"):
        read_file(path, "the file")


@pytest.mark.parametrize("text", ['a: !!int ""', '!!float "x"', '!!int "1.5"'])
def test_a_tag_that_does_not_fit_is_refused(text):
    with pytest.raises(UnreadableText, match=r"^(ValueError|IndexError): "):
        load_yaml(text)
