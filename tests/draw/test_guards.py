"""Refusals of pictures that no other file of tests raises."""

import numpy as np
import pytest

import tnlayers as tnl

SPEC = "mpo(in=4x4, out=4x4, bond=2)"


@pytest.mark.parametrize(("left", "right"), [((3, 4), (4, 3)), ((3,), (3,)), ((0, 4), (0, 4)), ((2, 3, 4), (2, 3, 4))])
def test_weights_of_other_shapes_are_not_compared(left, right):
    with pytest.raises(tnl.TNLayersError, match=r"Two weights of one shape .* are compared; here \("):
        tnl.draw_weights(np.ones(left), np.ones(right))


def test_spectra_are_drawn_beside_spectra():
    spectra = tnl.spectra(np.ones((4, 4)), "mpo(cores=2)")
    assert "<svg" in tnl.draw(spectra, spectra).svg
    with pytest.raises(tnl.TNLayersError, match="Spectra are drawn beside spectra only"):
        tnl.draw(spectra, tnl.plan(SPEC, 8))
