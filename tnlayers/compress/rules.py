"""Rules: what a user asks of single layers of a model, by patterns on their names.

The last rule that matches a name counts, so general patterns come first and exceptions after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.asked import SIZES, check_size
from tnlayers.errors import TNLayersError

Given: TypeAlias = "str | Spec | Mapping[str, Any] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is asked of one layer.

    Attributes:
        networks: The templates to choose from; none leaves the layer dense.
        size: At most one of bond_dim, max_params, ratio and error, of this layer alone; it is then no part of the
            allocation. A template that says its own size is fixed likewise.
        pattern: The pattern that said so; "" where no rule matched.
    """

    networks: tuple[Spec, ...]
    size: Mapping[str, Any] = field(default_factory=dict)
    pattern: str = ""

    @property
    def fixed(self) -> bool:
        """Whether the layer's size is said, not chosen."""
        return bool(self.size) or any(template.options or template.terms for template in self.networks)

    def __str__(self) -> str:
        words = " or ".join(map(str, self.networks)) or "dense"
        sizes = ", ".join(f"{key}={value}" for key, value in self.size.items())
        return f"{words}{f', {sizes}' if sizes else ''}{f' (rule {self.pattern!r})' if self.pattern else ''}"


def rules_for(
    names: Sequence[Sequence[str]], networks: Sequence[str | Spec], rules: Mapping[str, Given] | None
) -> list[Rule]:
    """The rule of each layer.

    Args:
        names: Of each layer all names.
        networks: The templates of layers without a rule.
        rules: By pattern ("encoder.*", "fc[12]"): a template, a mapping with `network` and one of the sizes, or None.

    Raises:
        TNLayersError: If a pattern matches no layer, or a rule is none.

    Example:
        >>> [str(rule) for rule in rules_for([["conv"], ["fc"]], ["mpo"], {"fc": None})]
        ['mpo', "dense (rule 'fc')"]
    """
    if rules is not None and not isinstance(rules, Mapping):
        raise TNLayersError(
            f"rules={rules!r} must be a mapping of patterns on layer names, such as "
            "{'encoder.*': 'mpo', 'head': None}."
        )
    found = [Rule(networks=tuple(make_spec(network) for network in networks))] * len(names)
    for pattern, given in (rules or {}).items():
        rule = _rule(pattern, given, networks)
        places = [k for k, own in enumerate(names) if any(fnmatchcase(name, pattern) for name in own)]
        if not places:
            every = [name for own in names for name in own]
            near = get_close_matches(pattern, every, n=3, cutoff=0.3) or every[:3]
            raise TNLayersError(
                f"The rule {pattern!r} matches none of the {len(names)} layers that can be replaced; near are "
                f"{', '.join(near)}. Patterns match whole names, with * for any text."
            )
        for k in places:
            found[k] = rule
    return found


def _rule(pattern: str, given: Given, networks: Sequence[str | Spec]) -> Rule:
    if given is None:
        return Rule(networks=(), pattern=pattern)
    if isinstance(given, (str, Spec)):
        return Rule(networks=(make_spec(given),), pattern=pattern)
    if not isinstance(given, Mapping):
        raise TNLayersError(
            f"The rule {pattern!r} is {given!r}; give a template such as 'mpo(cores=4)', a mapping such as "
            "{'network': 'mpo', 'ratio': 0.1}, or None to leave the layer dense."
        )
    size = {key: value for key, value in given.items() if key in SIZES}
    own = [given["network"]] if "network" in given else list(networks)
    if set(given) - {*SIZES, "network"} or len(size) > 1:
        raise TNLayersError(
            f"The rule {pattern!r} has {', '.join(map(str, given))}; it takes network and at most one of "
            f"{', '.join(SIZES)}."
        )
    for key, value in size.items():
        if value is not None:
            check_size(key, value)
    return Rule(networks=tuple(make_spec(network) for network in own), size=size, pattern=pattern)
