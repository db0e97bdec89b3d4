"""Specs: one layer's declaration as a value, and the string, JSON and YAML forms that it travels in.

    mpo(in=4x7x7x4, out=4x4x4x4, bond=16)          sized: ready to plan and build
    mpo(cores=4, bond=16)                          a template: the sizes come later, `tnl.spec(template, 784, 256)`
    mpo(bond=8) + lowrank(rank=4)                  a sum: one layer whose weight is the sum of its terms' weights

A spec is frozen and hashable; `str(spec)` parses back to an equal spec. What had to be adjusted on the way (bonds
clipped, sizes padded, cores dropped) is reported in `spec.notes` and once as a `TNLayersWarning`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tnlayers.declare.clipping import clipped
from tnlayers.declare.declared import Declared
from tnlayers.declare.keywords import FIELDS, check, checked, long_names, parsed, read, split_terms
from tnlayers.declare.pictures import Picture, draw, html
from tnlayers.declare.sums import sum_of
from tnlayers.declare.templates import check_pads, fill
from tnlayers.errors import TNLayersError
from tnlayers.files.documents import load_json, load_yaml


class Spec(Declared):
    """The declaration of one layer. Make it with `tnl.spec`, which checks it.

    Attributes:
        network: Name of the network type.
        in_modes: Size of each input mode, slowest first, or None in a template.
        out_modes: Size of each output mode, slowest first, or None in a template.
        options: The network type's keywords and their values, sorted by name (`("bond_dim", 16)`).
        pad_in: Trailing input features of the modes that do not exist: they read as zero.
        pad_out: Trailing output features of the modes that are cut off.
        cores: In a template, how many cores the sizes will be split into; None for the network type's default.
        bias: Whether the layer adds a vector to its output; never counted in `parameters` or rho.
        terms: The networks of a sum, none of them a sum or with a bias; then `network` is "sum" and there are no modes
            and options here. Empty for a single network.
        lowered: The graphs of a layer that was loaded from a file, which stand in for what its network function would
            declare; not part of equality. Empty for a spec that was written.
        notes: What was adjusted; not part of equality.

    Example:
        >>> made = spec("mpo(bond=8)", 784, 256)
        >>> made.in_modes, made.parameters, spec(str(made)) == made
        ((4, 7, 7, 4), 3840, True)
    """

    __slots__ = ()

    def to_json(self) -> str:
        """The spec as a JSON object; `Spec.from_json` reads it back."""
        return json.dumps(self.to_dict())

    def to_yaml(self) -> str:
        """The spec as a YAML mapping; `Spec.from_yaml` reads it back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read a spec from JSON.

        Raises:
            TNLayersError: If the text is not a JSON object with the keys of a spec.
        """
        return spec(parsed(text, load_json, "JSON"))

    @classmethod
    def from_yaml(cls, text: str) -> Spec:
        """Read a spec from YAML.

        Raises:
            TNLayersError: If the text is not a YAML mapping with the keys of a spec.
        """
        return spec(parsed(text, load_yaml, "YAML"))

    def __add__(self, other: Spec) -> Spec:
        """The sum of two networks: one layer with the parameters of both.

        Example:
            >>> tnl_sum = spec("mpo(bond=8)", 784, 256) + spec("mpo(cores=2, bond=1)", 784, 256)
            >>> [term.parameters for term in tnl_sum.terms], tnl_sum.parameters
            ([3840, 896], 4736)
        """
        if not isinstance(other, Spec):
            return NotImplemented
        return sum_of((*self.parts, *other.parts), self.bias or other.bias)

    def draw(self, **options: Any) -> Picture:
        """The network's picture; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str | None:
        return html(self) if self.sized else None


def spec(
    network: str | Spec | Mapping[str, Any],
    in_features: int | None = None,
    out_features: int | None = None,
    **keywords: Any,
) -> Spec:
    """Make a spec from a string, a mapping (parsed JSON or YAML), another spec, or a network's name and keywords.

    Args:
        network: "mpo", "mpo(cores=4, bond=16)", a mapping with the key "network", or a spec to change.
        in_features: Input size. Without modes it is split into `cores` balanced factors; with modes it is checked.
        out_features: Output size, likewise.
        **keywords: `in_modes`, `out_modes`, `cores`, `bias`, `pad_in`, `pad_out` and the network type's own (such as
            `bond_dim`); they win over what the string says. None is as if it was not given.

    Returns:
        A checked spec, with bonds above their exact maximum clipped. Without any sizes it is a template.

    Raises:
        TNLayersError: If anything is unknown, missing or does not fit; the message says what would mend it.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.spec("mpo(cores=4, bond=8)", 784, 256)
        Spec('mpo(in=4x7x7x4, out=4x4x4x4, bond=8)')
        >>> tnl.spec("mpo", in_modes=(2, 3), out_modes=(3, 2), bond_dim=4).parameters
        48
    """
    keywords = {key: value for key, value in keywords.items() if value is not None}
    if isinstance(network, Spec) and network.lowered and _unchanged(network, in_features, out_features, keywords):
        return network
    if terms := split_terms(network):
        return _sum_of_texts(network, terms, (in_features, out_features), keywords)
    given = network.to_dict() if isinstance(network, Spec) else read(network)
    given |= long_names(keywords.items(), keywords)
    fields, options = check(given)
    draft = Spec(network=given["network"], options=options, **fields)
    if draft.in_modes is None and draft.out_modes is None and in_features is None and out_features is None:
        return draft
    sized = fill(draft, in_features, out_features)
    check_pads(sized)
    if isinstance(network, Spec) and sized == network:
        return network  # nothing to adjust, and its notes stay
    return clipped(sized)


def _unchanged(made: Spec, in_features: int | None, out_features: int | None, keywords: Mapping[str, Any]) -> bool:
    """Whether nothing is asked of a spec but what it says: then its type need not be declared here."""
    has: dict[str, Any] = {key: getattr(made, key) for key in ("in_features", "out_features", *FIELDS)}
    has |= dict(made.options)
    asked = {"in_features": in_features, "out_features": out_features} | long_names(keywords.items(), keywords)
    return all(value is None or (key in has and has[key] == value) for key, value in asked.items())


def _sum_of_texts(
    network: object, terms: Sequence[Any], sizes: tuple[int | None, int | None], keywords: Mapping[str, Any]
) -> Spec:
    """Read the terms one by one; only the bias is the sum's own."""
    if wrong := sorted(key for key in keywords if key != "bias"):
        raise TNLayersError(f"{', '.join(wrong)} cannot be given for the sum {str(network)!r}: write it into its term.")
    read_terms = [spec(term, *sizes) for term in terms]
    if (written := keywords.get("bias")) is None:
        own = network.get("bias", False) if isinstance(network, Mapping) else getattr(network, "bias", False)
        written = own or any(term.bias for term in read_terms)
    return sum_of(read_terms, bool(checked("bias", written)))
