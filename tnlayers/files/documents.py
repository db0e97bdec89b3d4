"""Texts of others, YAML and JSON: bounded before they become objects, and read by one loader each.

Specs, network files, rules, configurations and recipes all come through here. What is bounded, whatever the text says:

    its length        2^18 characters of YAML, 2^24 of JSON
    its depth         64 levels
    its nodes         20,000, each alias counted as all that it refers to; a long text counts as several
    its numbers       40 characters each

A key that is twice in a YAML mapping is refused, since the first would be lost. A date stays the text that it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tnlayers.errors import TNLayersError

YAML_LIMIT = 2**18
JSON_LIMIT = 2**24
DEPTH_LIMIT = 64
NODE_LIMIT = 20_000
NUMBER_LIMIT = 40

_CHARACTERS = 20  # of a text that count as one node
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_DATE = "tag:yaml.org,2002:timestamp"
_LONG_NUMBER = re.compile(rf"[0-9]{{{NUMBER_LIMIT + 1}}}")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class UnreadableText(TNLayersError):
    """A text is not what it should be, or more than is read; the message says why, and the caller whose text it is."""


def read_file(path: Path, what: str) -> str:
    """The text of a file that a person wrote, such as a configuration.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        TNLayersError: It cannot be read, is longer than `YAML_LIMIT`, or is not text in UTF-8.
    """
    try:
        text = _content(path, 4 * YAML_LIMIT)
        if len(text) > YAML_LIMIT:
            raise UnreadableText(f"it is longer than {YAML_LIMIT} characters")
    except (OSError, ValueError) as error:  # the latter for paths with a null byte, and for what is not UTF-8
        reason = getattr(error, "strerror", None) or error
        raise TNLayersError(f"Cannot read {what} {path}: {reason}.") from error
    return text


def read_mapping(path: Path, what: str, such_as: str) -> dict[Any, Any]:
    """What a YAML file that a person wrote holds, which must be a mapping.

    Args:
        path: The file.
        what: What it is, for messages.
        such_as: A line of such a file, and what each is for.

    Raises:
        TNLayersError: It cannot be read, is not YAML, or holds anything else.
    """
    text = read_file(path, what)
    try:
        content = load_yaml(text)
    except UnreadableText as error:
        raise TNLayersError(f"{path} is not valid YAML: {error}.") from error
    if not isinstance(content, dict):
        raise TNLayersError(f"{path} must hold lines such as {such_as}; found {content!r:.80}.")
    return content


def _content(path: Path, limit: int) -> str:
    """The text of a file of so many bytes at most."""
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnreadableText(f"it is longer than {limit} bytes")
    return content.decode()


def load_yaml(text: str) -> Any:
    """What a YAML text holds: mappings, lists, texts, numbers and booleans.

    Raises:
        UnreadableText: It is not YAML, or more than the bounds above.

    Example:
        >>> load_yaml("fc1: {network: mpo, bond: 4}")
        {'fc1': {'network': 'mpo', 'bond': 4}}
        >>> load_yaml("when: 2001-99-99")
        {'when': '2001-99-99'}
    """
    _check_length(text, YAML_LIMIT)
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise UnreadableText(f"{' '.join(str(error).split())}") from error
    # What constructors of explicit tags such as `!!int ""` raise.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, UnreadableText):
            raise
        raise UnreadableText(f"{type(error).__name__}: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def load_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        UnreadableText: It is not JSON, or more than the bounds above.
    """
    _check_length(text, JSON_LIMIT)
    try:
        if _LONG_NUMBER.search(text) and _LONG_NUMBER.search(_TEXT.sub("", text)):
            raise UnreadableText(f"a number has more than {NUMBER_LIMIT} digits")
        return json.loads(text)
    except RecursionError as error:
        raise UnreadableText("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise UnreadableText(f"{error}") from error


def read_json(path: Path, what: str) -> Any:
    """What a JSON file holds, such as stored results.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        TNLayersError: It cannot be read, is longer than `JSON_LIMIT`, or is not JSON in UTF-8.
    """
    try:
        return load_json(_content(path, JSON_LIMIT))
    except (OSError, ValueError) as error:  # UnreadableText is the latter
        reason = getattr(error, "strerror", None) or error
        raise TNLayersError(f"Cannot read {what} {path}: {reason}. Restore the file, or remove it.") from error


def _check_length(text: object, limit: int) -> None:
    if not isinstance(text, str):
        raise UnreadableText(f"a text is needed, got {type(text).__name__}")
    if len(text) > limit:
        raise UnreadableText(f"it has {len(text)} characters; at most {limit} are read")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which counts what it composes and constructs nothing before the count is known."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._made = 0
        self._weights: dict[int, int] = {}  # of finished nodes, by id; the tree keeps them alive

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        if self.flow_level >= DEPTH_LIMIT:  # the scanner reads ahead, in a time that grows with the depth
            _refuse(self.get_mark(), f"it is nested deeper than {DEPTH_LIMIT} levels")
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        if len(self.indents) > DEPTH_LIMIT:
            _refuse(self.get_mark(), f"it is nested deeper than {DEPTH_LIMIT} levels")
        return bool(super().add_indent(column))

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # of types-PyYAML
        self._depth += 1
        self._made += 1
        if self._depth > DEPTH_LIMIT:
            _refuse(mark, f"it is nested deeper than {DEPTH_LIMIT} levels")
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return node
        if is_alias and id(node) not in self._weights:
            _refuse(mark, "an alias refers to something that it is part of itself")
        if not is_alias:
            self._weights[id(node)] = self._weight(node)
        if max(self._made, self._weights[id(node)]) > NODE_LIMIT:
            _refuse(mark, f"it has more than {NODE_LIMIT} values, aliases written out")
        return node

    def _weight(self, node: yaml.Node) -> int:
        """The number of values of a node, aliases written out, its children's counted before."""
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _NUMBERS and len(node.value) > NUMBER_LIMIT:
                _refuse(node.start_mark, f"a number has more than {NUMBER_LIMIT} characters")
            if node.tag == _DATE:
                node.tag = "tag:yaml.org,2002:str"
            return 1 + len(node.value) // _CHARACTERS
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                _refuse(node.start_mark, f"the key {twice[:80]!r} is twice in one mapping")
            return 1 + sum(self._weights[id(part)] for pair in node.value for part in pair)
        return 1 + sum(self._weights[id(part)] for part in node.value)


def _refuse(mark: Any, reason: str) -> NoReturn:
    raise UnreadableText(f"{reason} (line {mark.line + 1}, column {mark.column + 1})")
