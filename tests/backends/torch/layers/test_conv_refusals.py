"""What a convolution refuses, in words and with the numbers."""

import pytest
import torch
from conv_cases import small

import tnlayers as tnl

REFUSED = {
    "groups": (lambda: small(groups=4), r"groups=4 must divide in_channels \(4\) and out_channels \(6\)"),
    "channels": (lambda: tnl.nn.TNConv2d(0, 6, 3), "in_channels must be a positive integer, got 0"),
    "kernel": (lambda: tnl.nn.TNConv2d(4, 6, (3, 3, 3)), r"kernel_size=\(3, 3, 3\): a 2-d convolution"),
    "stride": (lambda: small(stride=0), "stride=0: a 2-d convolution takes one integer of at least 1, or 2"),
    "padding": (lambda: small(padding=-1), "padding=-1"),
    "padding-word": (lambda: small(padding="full"), "'full' is unknown"),
    "same": (lambda: small(padding="same", stride=2), r"padding='same' needs stride 1, got \(2, 2\)"),
    "mode": (lambda: small(padding_mode="wrap"), "padding_mode='wrap' is unknown; there are zeros, reflect"),
    "view": (lambda: small(view="circle"), "view='circle'"),
    "in_size": (lambda: small(in_size=(5, 5)), r"in_size=\(5, 5\)"),
    "flat": (lambda: small(view="flat"), r"in_size=\(28, 28\); got None"),
    "flat-groups": (lambda: small(view="flat", in_size=5, groups=2), "groups=2"),
    "flat-to-conv": (lambda: small(view="flat", in_size=5).to_conv(), "no convolution equals it"),
    "modes": (
        lambda: small(network="mpo(in=9x4, out=2x4)"),
        "out=2x4 multiplies to 8, but the layer has 6 output features",
    ),
    "cut": (
        lambda: small(network="mpo(in=2x18, out=2x3)"),
        r"in_modes \(2, 18\) do not fit 3 x 3 x 4.*the mode of 18 cannot be split.*in_modes=\(3, 3, 4\)",
    ),
    "cut-groups": (lambda: small(groups=2, network="mpo(in=9x2, out=3x2)"), r"out_modes \(3, 2\) do not fit 2 x 3"),
    "pads": (
        lambda: small(network="mpo(in=9x5, out=2x3, pad_in=9)"),
        r"multiply to 36 \(kernel \(3, 3\) times 4 channels\) and to 6 without pad_in",
    ),
    "form": (
        lambda: small(network="monarch_by_hand(cores=2)"),
        r"These are the modes of a kernel 3 x 3 from 4 to 6 channels in each of 1 groups",
    ),
    "tied": (
        lambda: tnl.nn.TNConv2d(4, 6, 3, network="blocks(in=3x12, out=3x2)"),
        r"an index of size 3 is input and output at once.*groups=\.\.\.",
    ),
    "too-large": (lambda: small(padding=0)(torch.zeros(1, 4, 2, 9)), r"2 positions along dimension 0 .*spans 3"),
    "shape": (lambda: small()(torch.zeros(1, 5, 9, 9)), r"shape \(1, 5, 9, 9\).*takes \(batch, 4, \*positions\)"),
    "dimensions": (lambda: small()(torch.zeros(2, 1, 4, 9, 9)), "2 dimensions of positions"),
    "flat-shape": (
        lambda: small(view="flat", in_size=(5, 6))(torch.zeros(1, 4, 6, 5)),
        r"shape \(1, 4, 6, 5\).*of size 5x6",
    ),
    "transposed": (lambda: tnl.nn.TNConvTranspose2d(4, 6, 3), r"no TNConvTranspose2d: transposed .*nn.ConvTranspose2d"),
    "unknown": (lambda: tnl.nn.TNConv4d, "no layer 'TNConv4d'; it has .*MPOLinear"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    ask, message = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=message):
        ask()
