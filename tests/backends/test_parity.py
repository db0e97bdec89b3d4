"""Every kind of layer, wherever it lives, does what it does on torch; docs/backends.md has the table."""

import numpy as np
import parity
import pytest
from jax_cases import x64
from places import DOCS

pytest.importorskip("flax")
pytest.importorskip("equinox")

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


@pytest.mark.parametrize(("kind", "place", "ability"), parity.TESTED)
def test_parity(kind, place, ability, tmp_path):
    with x64(True):
        parity.check(kind, place, ability, tmp_path)


def test_the_comparisons_see_a_difference(tmp_path, monkeypatch):
    true, trained = parity.reference, parity.trained

    def spoilt(kind, place="torch"):
        layer, given, outputs, gradients = true(kind, place)
        return layer, given, [one * (1 + 1e-9) for one in outputs], {n: g * (1 + 1e-4) for n, g in gradients.items()}

    monkeypatch.setattr(parity, "reference", spoilt)
    monkeypatch.setattr(parity, "trained", lambda *cell: [one * (1 + 1e-8) for one in trained(*cell)])
    with x64(True):
        for place in parity.PLACES:
            for ability in parity.ABILITIES:
                if not parity.reason(place, ability):
                    with pytest.raises(AssertionError, match="Mismatched"):
                        parity.check("TNLinear", place, ability, tmp_path)


def test_every_cell_is_tested_or_has_a_reason():
    untested = set(parity.CELLS) - set(parity.TESTED)
    assert len(parity.CELLS) == len(parity.KINDS) * len(parity.PLACES) * len(parity.ABILITIES)
    assert all(len(parity.reason(place, ability).split()) > 3 for _, place, ability in untested)
    assert np.mean([cell in untested for cell in parity.CELLS]) == 5 / 25


def test_the_page_has_the_table():
    assert parity.table() in (DOCS / "backends.md").read_text(encoding="utf-8")
