"""Specs: one layer's declaration as a value, and the string, JSON and YAML forms that it travels in.

    mpo(in=4x7x7x4, out=4x4x4x4, bond=16)          sized: ready to plan and build
    mpo(cores=4, bond=16)                          a template: the sizes come later, `tnl.spec(template, 784, 256)`

A spec is frozen and hashable; `str(spec)` parses back to an equal spec. What had to be adjusted on the way (bonds
clipped, sizes padded, cores dropped) is told in `spec.notes` and once as a `TNLayersWarning`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import yaml

from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.grammar import Value, print_value
from tnlayers.keywords import EXAMPLE, FIELDS, check, checked, long_names, read
from tnlayers.lower import Graph, clip
from tnlayers.modes import Modes, factorise
from tnlayers.networks.registry import SHORT_NAMES, declare, network_type

_SIZES = ("bond_dim", "rank")  # keywords that size bonds, and may therefore be clipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
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
        notes: What was adjusted; not part of equality.
    """

    network: str
    in_modes: tuple[int, ...] | None = None
    out_modes: tuple[int, ...] | None = None
    options: tuple[tuple[str, Value], ...] = ()
    pad_in: int = 0
    pad_out: int = 0
    cores: int | None = None
    bias: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sized(self) -> bool:
        """Whether the modes are known: only then can it be planned and built."""
        return self.in_modes is not None and self.out_modes is not None

    @property
    def graph(self) -> Graph:
        """The network as a frozen graph, every bond at most its exact maximum.

        Raises:
            TNLayersError: If this is a template without sizes.
        """
        return clip(_declared(self))[0]

    @property
    def in_features(self) -> int:
        """Length of an input vector."""
        return prod(self._modes()[0]) - self.pad_in

    @property
    def out_features(self) -> int:
        """Length of an output vector."""
        return prod(self._modes()[1]) - self.pad_out

    @property
    def parameters(self) -> int:
        """Entries of all cores; the bias is not counted."""
        return self.graph.parameters

    @property
    def dense_parameters(self) -> int:
        """Entries of the weight matrix that the network stands for: `in_features * out_features`."""
        return self.in_features * self.out_features

    @property
    def rho(self) -> float:
        """Compression ratio: parameters after over parameters before, biases excluded (arXiv 1904.06194, Eq. 7)."""
        return self.parameters / self.dense_parameters

    @property
    def bond_dim(self) -> int | tuple[int, ...]:
        """The bond dimension: one number, or one per bond where they differ.

        Raises:
            TNLayersError: If the network type has no such keyword.
        """
        value = dict(self.options).get("bond_dim", network_type(self.network).keywords.get("bond_dim"))
        if not isinstance(value, (int, tuple)):
            raise TNLayersError(f"The network type {self.network!r} has no bond_dim; this spec is {self}.")
        return value

    def _modes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if self.in_modes is None or self.out_modes is None:
            raise TNLayersError(
                f"{self} is a template: it has no sizes yet. Give them with tnl.spec({str(self)!r}, in_features, "
                "out_features), or write in= and out= modes."
            )
        return self.in_modes, self.out_modes

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain data; `tnl.spec(data)` reads it back."""
        data: dict[str, Any] = {"network": self.network}
        for key in FIELDS:
            value = getattr(self, key)
            if value not in (None, 0, False):
                data[key] = list(value) if isinstance(value, tuple) else value
        return data | {k: list(v) if isinstance(v, tuple) else v for k, v in self.options}

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
        try:
            return spec(json.loads(text))
        except (json.JSONDecodeError, TypeError) as error:
            raise TNLayersError(f"This is not JSON: {error}. A spec is an object such as {EXAMPLE}.") from error

    @classmethod
    def from_yaml(cls, text: str) -> Spec:
        """Read a spec from YAML.

        Raises:
            TNLayersError: If the text is not a YAML mapping with the keys of a spec.
        """
        try:
            return spec(yaml.safe_load(text))
        except (yaml.YAMLError, AttributeError) as error:
            raise TNLayersError(f"This is not YAML: {error}. A spec is a mapping such as {EXAMPLE}.") from error

    def __str__(self) -> str:
        parts = []
        for key in FIELDS:
            value = getattr(self, key)
            if value not in (None, 0, False):
                parts.append(f"{key.removesuffix('_modes')}={print_value(value, modes=key.endswith('_modes'))}")
        parts += [f"{SHORT_NAMES.get(key, key)}={print_value(value)}" for key, value in self.options]
        return f"{self.network}({', '.join(parts)})" if parts else self.network

    def __repr__(self) -> str:
        return f"Spec({str(self)!r})"


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
            `bond_dim`); they win over what the string says.

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
    given = network.to_dict() if isinstance(network, Spec) else read(network)
    given |= long_names(keywords.items(), keywords)
    fields, options = check(given)
    draft = Spec(network=given["network"], options=options, **fields)
    if draft.in_modes is None and draft.out_modes is None and in_features is None and out_features is None:
        return draft
    sized = _size(draft, in_features, out_features)
    _check_pads(sized)
    if isinstance(network, Spec) and sized == network:
        return network  # nothing to adjust, and its notes stay
    return _clip(sized)


def _size(draft: Spec, in_features: int | None, out_features: int | None) -> Spec:
    """Fill in the modes, or check those that were written against the sizes."""
    if draft.in_modes is not None or draft.out_modes is not None:
        for side, size in (("in", in_features), ("out", out_features)):
            modes = getattr(draft, f"{side}_modes")
            if modes is None and size is None:
                raise TNLayersError(f"{draft} has only one of in= and out=; write both, or give the sizes instead.")
            if modes is not None and size is not None:
                _check_product(side, modes, size, getattr(draft, f"pad_{side}"))
        if draft.cores is not None:
            raise TNLayersError(f"cores={draft.cores} together with written modes: the modes say how many cores.")
    order = draft.cores or network_type(draft.network).cores
    written = draft.in_modes or draft.out_modes
    split: dict[str, Modes] = {}
    for side, size in (("in", in_features), ("out", out_features)):
        if getattr(draft, f"{side}_modes") is None:
            if size is None:
                raise TNLayersError(f"{draft} needs {side}_features as well: tnl.spec(..., in_features, out_features).")
            split[side] = factorise(size, len(written) if written else order)
    if not split:
        return draft
    notes = [f"{side}_features: {modes.note}" for side, modes in split.items() if modes.note]
    fields: dict[str, Any] = {f"pad_{side}": modes.padding for side, modes in split.items()}
    fields |= {f"{side}_modes": tuple(modes) for side, modes in split.items()}
    if len(split) == 2:
        keep = [k for k in range(order) if split["in"][k] * split["out"][k] > 1] or [0]
        if len(keep) < order:
            notes.append(f"{order - len(keep)} of {order} cores would have had only modes of 1 and were dropped")
            fields |= {f"{side}_modes": tuple(modes[k] for k in keep) for side, modes in split.items()}
    return replace(draft, **fields, cores=None, notes=tuple(notes))


def _check_product(side: str, modes: tuple[int, ...], size: int, padding: int) -> None:
    if prod(modes) - padding != size:
        better = factorise(size, len(modes))
        pad = f" with pad_{side}={better.padding}" if better.padding else ""
        raise TNLayersError(
            f"{side}_modes {modes} multiply to {prod(modes)}{f' less {padding} of padding' if padding else ''} but "
            f"{side}_features is {size}. Modes must multiply to {side}_features: try {tuple(better)}{pad}, which is "
            f"factorise({size}, order={len(modes)})."
        )


def _check_pads(draft: Spec) -> None:
    for side in ("in", "out"):
        modes, padding = getattr(draft, f"{side}_modes"), getattr(draft, f"pad_{side}")
        if padding >= prod(modes):
            raise TNLayersError(f"pad_{side}={padding} leaves nothing of the {prod(modes)} features of modes {modes}.")


def _declared(spec: Spec) -> Graph:
    in_modes, out_modes = spec._modes()
    return declare(spec.network, in_modes, out_modes, spec.options)


def _clip(asked: Spec) -> Spec:
    """Tell what was clipped or padded, and let the spec's own numbers show what is built."""
    graph, notes = clip(_declared(asked))
    told = _even(_show_clipped(asked, graph) if notes else asked)
    larger: tuple[str, ...] = ()
    if told.rho > 1:
        larger = (f"{told.parameters} parameters, more than the {told.dense_parameters} of the dense weight",)
    told = replace(told, notes=(*asked.notes, *notes, *larger))
    padded = asked.notes and (asked.pad_in or asked.pad_out)  # here, and not by the caller
    if (notes and asked.options) or padded:  # a clipped default is noted, not warned about
        warnings.warn(f"{told}: {'; '.join(told.notes)}.", TNLayersWarning, stacklevel=3)
    return told


def _even(spec: Spec) -> Spec:
    """The spec with one number where every bond has that size: specs that say the same are equal."""
    pairs = ((k, v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v) for k, v in spec.options)
    return replace(spec, options=tuple(pairs))


def _show_clipped(asked: Spec, graph: Graph) -> Spec:
    """The spec with its bond keyword as built: one size per bond where the type takes that, else the largest."""
    kind = network_type(asked.network)
    sizes = tuple(graph.sizes[i] for i in graph.summed)
    options = {key: value for key, value in kind.keywords.items() if key in _SIZES} | dict(asked.options)
    for key in _SIZES:
        if isinstance(value := options.get(key), (int, tuple)):
            least = value if isinstance(value, tuple) else (value,)
            options[key] = checked(key, sizes if key in kind.per_edge else min(*least, max(sizes)))
    shown = replace(asked, options=tuple(sorted(options.items())))
    try:
        return shown if shown.graph == graph else asked
    except TNLayersError:  # a type whose bonds are not its only summed indices: it keeps the number asked for
        return asked
