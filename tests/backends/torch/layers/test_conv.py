"""Every kind of network as a kernel, over strides, paddings, dilations and groups, against torch's own convolution."""

from math import prod

import pytest
import specs  # noqa: F401  declares the hand-made network types
import torch
from conv_cases import assert_layer, forced, inputs

import tnlayers as tnl

# torch's own remark on its own "same" of even kernels, which the oracle runs.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

# Every network type that a kernel can be, as `TNConv2d` takes it.
NETWORKS = {
    "mpo": "mpo(cores=2, bond=3)",
    "ring": "ring(cores=2, bond=2)",
    "tucker": "tucker(cores=1, bond=3)",
    "cp": "cp(cores=2, rank=4)",
    "lowrank": "lowrank(rank=3)",
    "kronecker": "kronecker(terms=2)",
    "btt": "btt(rank=2)",
    "block_term": "block_term(cores=2, bond=2, terms=2)",
    "tree": "tree(cores=2, bond=2)",
    "mera": "mera(cores=2, bond=2)",
    "peps": "peps(cores=2, bond=2)",
    "sum": "mpo(cores=2, bond=2) + tucker(cores=1, bond=2)",
    "star": "star(cores=2, bond=3)",
    # Types without one core per site: their modes are written.
    "monarch": "monarch(in={two}, out=2x4)",
    "cp-hand": "cp_by_hand(in={ins}, out=2x4, rank=4)",
    "ladder": "ladder(in={two}, out=2x4, bond=2)",
    "merged": "low_rank(in={one}, out=8, rank=3)",
    "blockdiag": "blockdiag(in=2x{half}, out=2x4)",  # only where the kernel has one position
}


def network_for(name, kernel_size, groups):
    """The network with modes where it has any: of the kernel and the channels, in one, two or as many as there are."""
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size,) * 2
    sizes = [n for n in (*kernel, 4 // groups) if n > 1]
    two = [prod(sizes[:-1]), sizes[-1]] if len(sizes) > 1 else [2, 2]
    modes = {"ins": sizes, "two": two, "one": [prod(sizes)], "half": [prod(sizes) // 2]}
    return NETWORKS[name].format(**{key: "x".join(map(str, value)) for key, value in modes.items()})


# The grid: what torch's convolutions take, each option at least twice and beside others.
GRID = {
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "uneven": {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)},
    "same": {"kernel_size": (4, 3), "padding": "same", "dilation": (1, 2)},
    "valid": {"kernel_size": (1, 3), "padding": "valid", "bias": False},
    "point": {"kernel_size": 1},
    "point-strided": {"kernel_size": 1, "stride": 2, "padding": 1},
    "groups": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise": {"kernel_size": 3, "groups": 4, "stride": (2, 1)},
    "reflect": {"kernel_size": 3, "padding": 2, "padding_mode": "reflect", "groups": 2},
    "replicate": {"kernel_size": (3, 2), "padding": (1, 0), "padding_mode": "replicate", "stride": 2},
    "circular": {"kernel_size": (3, 1), "padding": "same", "padding_mode": "circular"},
}


def cases():
    """Every network in float64, and on some of the grid in float32."""
    for network in NETWORKS:
        for case in GRID:
            if network == "blockdiag" and GRID[case]["kernel_size"] != 1:
                continue
            yield network, case, "float64"
            if case in ("strided", "groups", "same", "point"):
                yield network, case, "float32"


@pytest.mark.parametrize(("network", "case", "dtype"), list(cases()))
def test_equals_the_dense_convolution(network, case, dtype):
    text = network_for(network, GRID[case]["kernel_size"], GRID[case].get("groups", 1))
    layer = tnl.nn.TNConv2d(4, 8, **GRID[case], network=text, seed=3, dtype=getattr(torch, dtype))
    x = inputs(layer, dtype=dtype)
    layer.use_plan(layer._conv.rebuilt)
    assert_layer(layer, x, dtype)
    plan = forced(layer, x)
    assert plan.routes
    layer.use_plan(plan)
    assert_layer(layer, x, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("network", [name for name, text in NETWORKS.items() if "{" not in text])
def test_equals_the_dense_convolution_in_one_and_three_dimensions(network, dims, dtype):
    kind = {1: tnl.nn.TNConv1d, 3: tnl.nn.TNConv3d}[dims]
    options = {"stride": 2, "padding": 1, "dilation": 2 if dims == 1 else 1, "groups": 2}
    layer = kind(4, 8, 3 if dims == 1 else 2, **options, network=NETWORKS[network], seed=3, dtype=getattr(torch, dtype))
    x = inputs(layer, size=(7, 4, 5), dtype=dtype)
    layer.use_plan(layer._conv.rebuilt)
    assert_layer(layer, x, dtype)
    layer.use_plan(forced(layer, x))
    assert_layer(layer, x, dtype)
