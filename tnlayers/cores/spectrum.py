"""Spectra as values: the singular values of a weight at each bond, their entropies, and bonds that would be enough.

A bond that cuts a network in two sees the weight as a matrix between its two sides. Its singular values s are what the
bond has to represent; with p = s^2 / sum s^2 the entanglement entropy of the cut is

    S  =  - sum p ln p  <=  ln(bond dimension)

(Gao et al., arXiv 1904.06194, supplement, of the inner cuts of FC2's first layer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from tnlayers.declare.pictures import Picture, draw
from tnlayers.errors import TNLayersError


@dataclass(frozen=True, slots=True, kw_only=True)
class BondSpectrum:
    """The singular values of a weight at one bond.

    Attributes:
        cores: The names of the two cores that the bond joins.
        values: The singular values, descending.
        shape: Rows and columns of the weight as a matrix between the two sides of the bond, the lesser first; None
            where it is not known.
    """

    cores: tuple[str, str]
    values: tuple[float, ...]
    shape: tuple[int, int] | None = None

    @property
    def entropy(self) -> float:
        """The entanglement entropy in nats; 0 for a weight of zero.

        Example:
            >>> round(BondSpectrum(cores=("a", "b"), values=(1.0, 1.0)).entropy, 4)  # ln 2
            0.6931
        """
        largest = max(self.values, default=0.0)
        squares = [(value / largest) ** 2 for value in self.values] if largest > 0 else []
        shares = [square / sum(squares) for square in squares]
        return max(-sum(p * log(p) for p in shares if p > 0), 0.0)

    @property
    def bound(self) -> float:
        """The largest entropy that so many singular values can have, ln(number)."""
        return log(max(len(self.values), 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """The spectra of all bonds of a weight; printing it shows a line per bond, and a notebook its picture.

    Attributes:
        name: What they are of.
        bonds: One entry per bond, in order of declaration.
    """

    name: str
    bonds: tuple[BondSpectrum, ...]

    @property
    def entropies(self) -> tuple[float, ...]:
        """The entanglement entropy of every bond, in nats."""
        return tuple(bond.entropy for bond in self.bonds)

    def advice(self, error: float) -> tuple[int, ...]:
        """The bond dimensions that are enough for a relative error: at one threshold on the singular values of all.

        The singular values cut at a bond cost the root of their squared sum, and the bonds together no more than the
        root over all (Oseledets 2011, doi 10.1137/090752286, Theorem 2.2).

        Args:
            error: The largest ||W - W'|| / ||W||, from 0 to below 1.

        Raises:
            TNLayersError: If the error is not in [0, 1).

        Example:
            >>> bond = BondSpectrum(cores=("a", "b"), values=(10.0, 1.0, 0.01))
            >>> Spectra(name="W", bonds=(bond,)).advice(error=0.01)
            (2,)
        """
        if isinstance(error, bool) or not isinstance(error, int | float) or not 0 <= error < 1:
            raise TNLayersError(
                f"error={error!r}: the part of ||W|| that may be lost, from 0 to below 1, such as 0.05."
            )
        norm2 = max((sum(value**2 for value in bond.values) for bond in self.bonds), default=0.0)
        return enough((self.bonds,), error * norm2**0.5)

    def standing_out(self) -> tuple[int, ...]:
        """The bond dimensions that keep what is above the noise, by analytic VBMF (`tnlayers.cores.vbmf`).

        Raises:
            TNLayersError: If the shape of a cut is not known.

        Example:
            >>> bond = BondSpectrum(cores=("a", "b"), values=(9.0, 0.11, 0.1, 0.1), shape=(4, 4))
            >>> Spectra(name="W", bonds=(bond,)).standing_out()
            (1,)
        """
        from tnlayers.cores.vbmf import kept_values  # numpy, which looking at values does not need

        ranks = []
        for bond in self.bonds:
            if bond.shape is None:
                raise TNLayersError(f"The shape of the cut {' - '.join(bond.cores)} is not known: take tnl.spectra.")
            ranks.append(kept_values([value**2 for value in bond.values], *bond.shape))
        return tuple(ranks)

    def __str__(self) -> str:
        lines = [f"Spectra of {self.name}"]
        for bond in self.bonds:
            first, last = (bond.values[0], bond.values[-1]) if bond.values else (0.0, 0.0)
            lines.append(
                f"  {' - '.join(bond.cores)}: {len(bond.values)} values from {first:.4g} to {last:.4g}, "
                f"entropy {bond.entropy:.4f} of at most {bond.bound:.4f}"
            )
        return "\n".join(lines)

    def draw(self, **options: Any) -> Picture:
        """Their picture; options as for `tnl.draw`."""
        return draw(self, **options)

    def _repr_html_(self) -> str:
        return self.draw()._repr_html_()


def enough(terms: Sequence[Sequence[BondSpectrum]], allowed: float) -> tuple[int, ...]:
    """The bond dimensions, at one threshold on all singular values, that change a sum of networks by so much at most.

    Args:
        terms: The spectra of each network's bonds.
        allowed: The largest ||W - W'||. The changes of the networks add up at worst.

    Returns:
        A number for each bond, in order.

    Example:
        >>> bond = BondSpectrum(cores=("a", "b"), values=(10.0, 1.0))
        >>> enough([[bond], [bond]], allowed=2.0), enough([[bond], [bond]], allowed=1.9)
        ((1, 1), (2, 2))
    """
    bonds = [bond for term in terms for bond in term]
    values = sorted({value for bond in bonds for value in bond.values})
    low, high = 0, len(values)  # below how many of these levels all may be cut
    while high > low:
        middle = (low + high + 1) // 2
        level = values[middle - 1]
        cut = sum(sum(v**2 for bond in term for v in bond.values if v <= level) ** 0.5 for term in terms)
        low, high = (middle, high) if cut <= allowed else (low, middle - 1)
    level = values[low - 1] if low else -1.0
    return tuple(max(1, sum(value > level for value in bond.values)) for bond in bonds)
