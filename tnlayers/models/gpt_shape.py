"""The sizes of a GPT, the name that says them, and the places that a network can take.

`gpt-pico` is the model of PicoGPT-MPO (arXiv 2603.28534) as its code builds it; `gpt-pico-v512` is the same for 512
tokens. Every other size has a name of its numbers, such as `gpt-w64-d2-h4-c128-v65`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tnlayers.declare.modes import factorise
from tnlayers.errors import TNLayersError
from tnlayers.models.sites import Site

BOND = 16  # of "mpo" without a number: the largest of the published table that stays below a quarter of the parameters
_NAME = re.compile(
    r"gpt-(?:pico(?:-v(?P<pico>\d{1,7}))?"
    r"|w(?P<width>\d{1,5})-d(?P<depth>\d{1,3})-h(?P<heads>\d{1,4})-c(?P<context>\d{1,7})-v(?P<vocabulary>\d{1,7})"
    r"(?:-f(?P<hidden>\d{1,6}))?(?P<tied>-tied)?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a GPT; the defaults are those of `gpt-pico`.

    Attributes:
        width: Features of every token.
        depth: Blocks, each of attention and a feed-forward part.
        heads: Of the attention; they divide the width.
        context: Tokens that it reads at most.
        vocabulary: Different tokens.
        hidden: Features inside the feed-forward part; None is four times the width.
        tied: Whether the head's weight is the table of embeddings.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4
    context: int = 256
    vocabulary: int = 65
    hidden: int | None = None
    tied: bool = False

    def __post_init__(self) -> None:
        limits = {"width": 65536, "depth": 999, "heads": 4096, "context": 2**20, "vocabulary": 2**22, "hidden": 2**19}
        for key, most in limits.items():
            value = getattr(self, key)
            least = 2 if key in ("width", "vocabulary") else 1
            if key == "hidden" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise TNLayersError(f"A GPT of {key}={value!r}: {key} is an integer from {least} to {most:,}.")
        if self.width % self.heads or self.width % 2:
            raise TNLayersError(
                f"A GPT of width {self.width} with {self.heads} heads: the heads share the width in equal parts, and "
                "sines and cosines the width in halves. Take an even width that the heads divide."
            )

    @property
    def inner(self) -> int:
        """Features inside the feed-forward part."""
        return 4 * self.width if self.hidden is None else self.hidden

    @property
    def name(self) -> str:
        """The name in `tnl.models`; `shape_of` reads it.

        Example:
            >>> Shape().name, Shape(vocabulary=512).name, Shape(width=64, heads=2, tied=True).name
            ('gpt-pico', 'gpt-pico-v512', 'gpt-w64-d4-h2-c256-v65-tied')
        """
        if self == Shape(vocabulary=self.vocabulary):
            return "gpt-pico" if self.vocabulary == Shape().vocabulary else f"gpt-pico-v{self.vocabulary}"
        sizes = f"gpt-w{self.width}-d{self.depth}-h{self.heads}-c{self.context}-v{self.vocabulary}"
        return sizes + (f"-f{self.hidden}" if self.inner != 4 * self.width else "") + ("-tied" if self.tied else "")

    @property
    def sites(self) -> tuple[Site, ...]:
        """The places that a network can take: all linear layers, but for a head that is tied to the embeddings.

        Their factors are those of the published model: two for projections and head, three for the feed-forward part,
        as equal as possible, the smallest first.
        """
        places = []
        for k in range(self.depth):
            for name in ("query", "key", "value", "out"):
                places.append(_site(f"blocks.{k}.attention.{name}", self.width, self.width, 2, bias=name == "out"))
            places.append(_site(f"blocks.{k}.expand", self.width, self.inner, 3, bias=True))
            places.append(_site(f"blocks.{k}.contract", self.inner, self.width, 3, bias=True))
        if not self.tied:
            places.append(_site("head", self.width, self.vocabulary, 2, bias=False))
        return tuple(places)


def shape_of(name: str) -> Shape | None:
    """The sizes that a name says, None for a name of another kind.

    Raises:
        TNLayersError: There is no such GPT.

    Example:
        >>> shape_of("gpt-pico-v71").vocabulary, shape_of("gpt-w64-d2-h4-c32-v65-f100").hidden, shape_of("fc2")
        (71, 100, None)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    given = {key: value for key, value in found.groupdict().items() if value is not None}
    if "pico" in given:
        return Shape(vocabulary=int(given["pico"]))
    tied = given.pop("tied", None) is not None
    return Shape(tied=tied, **{key: int(value) for key, value in given.items()})


def _site(name: str, features: int, out: int, cores: int, *, bias: bool) -> Site:
    return Site(
        name=name,
        replaces=f"linear {features} -> {out}",
        dense_weights=features * out,
        in_modes=tuple(sorted(factorise(features, cores, pad=False))),
        out_modes=tuple(sorted(factorise(out, cores, pad=False))),
        bond_dim=BOND,
        bias=bias,
        dense_bias=bias,
    )
