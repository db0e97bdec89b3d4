"""Bonds of live layers grown in place: W is unchanged, and what is new is trained like a layer drawn at that size."""

import functools

import pytest
import torch

import tnlayers as tnl

# A layer, and the size that it grows to: every built-in type that has bonds, and those whose cores become fewer.
GROWN = {
    "mpo(in=4x4x4, out=4x4x4, bond=2)": 6,
    "ring(in=4x4x4, out=4x4x4, bond=2)": 4,
    "cp(in=4x4x4, out=4x4x4, rank=2)": 8,
    "cp(in=2x2x2x2x2x2, out=2x2x2x2x2x2, rank=2)": 8,
    "kronecker(in=8x8, out=8x8, terms=2)": 8,
    "kronecker(in=4x4x4, out=4x4x4, terms=2)": 8,
    "tucker(in=8x8, out=8x8, bond=3)": 6,
    "tucker(in=8x8, out=8x8, bond=5)": 8,
    "tucker(in=4x16x1, out=16x4x1, bond=3)": 6,
    "lowrank(in=64, out=64, rank=4)": 16,
    "block_term(in=4x4x4, out=4x4x4, bond=2)": 4,
    "tree(in=4x4x4, out=4x4x4, bond=2)": 6,
    "btt(in=8x8, out=8x8, rank=1)": 3,
    "mera(in=4x4x2x2, out=4x4x2x2, bond=2)": 4,
    "peps(in=4x4x2x2, out=4x4x2x2, bond=2)": 4,
    "mpo(in=4x4x4, out=4x4x4, bond=2) + kronecker(in=8x8, out=8x8, terms=2)": 6,
}
STEPS = 200
UNEVEN = ("cp", "kronecker(in=4", "block_term", "mera")  # where a fit ends differs from start to start


def data(spec):
    """Vectors and what a network of the larger size makes of them, with noise that no layer can learn.

    Of networks with loops it is any matrix: fits of another such network end in minima of 0.09 to 0.25, grown or drawn.
    """
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(256, 64, generator=generator)
    with torch.no_grad():
        loops = spec.network in ("ring", "peps")
        y = x @ torch.randn(64, 64, generator=generator) if loops else tnl.build(spec, seed=7)(x)
    y = y / y.std()
    return x, y + 0.3 * torch.randn(y.shape, generator=generator)


def trained(layer, x, y, optimizer=None):
    optimizer = optimizer or torch.optim.Adam(layer.parameters(), lr=1e-2, fused=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    return float((layer(x) - y).detach().square().mean())


@functools.cache
def drawn_at(spec, seed):
    """The loss of a layer that is drawn at its size, which both ways to grow to it are compared with."""
    return trained(tnl.build(spec, seed=20 + seed), *data(spec))


@pytest.mark.parametrize("text", GROWN)
@pytest.mark.parametrize("before", ["drawn", "trained"])
def test_a_grown_layer_is_trained_like_one_drawn_at_that_size(text, before):
    layer, size = tnl.build(text, seed=0), GROWN[text]
    larger = tnl.build(text, seed=0)
    larger.grow_(size)
    x, y = data(larger.spec)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2, fused=True)
    if before == "trained":
        trained(layer, x, y, optimizer)
    weight = layer.to_dense().detach()
    parameters = layer.spec.parameters
    layer.grow_(size, optimizer=optimizer)
    assert layer.spec.parameters > parameters
    torch.testing.assert_close(layer.to_dense().detach(), weight, rtol=1e-4, atol=1e-5)
    assert {*optimizer.param_groups[0]["params"]} == {*layer.parameters()}
    assert {*optimizer.state} <= {*layer.parameters()}
    assert [(name, tuple(core.shape)) for name, core in layer.cores.items()] == [*layer.spec.shapes.items()]
    losses = [trained(layer, x, y, optimizer)]
    repeats = 3 if text.startswith(UNEVEN) else 1
    for seed in range(1, repeats):
        layer = tnl.build(text, seed=seed)
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2, fused=True)
        if before == "trained":
            trained(layer, x, y, optimizer)
        layer.grow_(size, optimizer=optimizer, seed=seed)
        losses.append(trained(layer, x, y, optimizer))
    assert sum(losses) <= 1.3 * sum(drawn_at(layer.spec, seed) for seed in range(repeats))


@pytest.mark.parametrize("text", [text for text in GROWN if text.startswith(("cp", "kronecker"))])
def test_new_values_have_gradients_like_the_old_ones(text):
    layer = tnl.build(text, seed=0, dtype="float64")
    old = {name: core.shape for name, core in layer.cores.items()}
    layer.grow_(GROWN[text])
    (layer.to_dense() * torch.randn(64, 64, dtype=torch.float64)).sum().backward()
    name, last = [*layer.cores.items()][-1]
    axis = next(k for k, (a, b) in enumerate(zip(last.shape, old[name], strict=True)) if a > b)
    size = old[name][axis]
    new = last.grad.narrow(axis, size, last.shape[axis] - size)
    assert new.square().mean() > 0.1 * last.grad.narrow(axis, 0, size).square().mean()


def test_a_layer_of_zeros_grows_into_one_that_trains():
    layer = tnl.build("mpo(in=8x8, out=8x8, bond=2)", seed=0)
    with torch.no_grad():
        for core in layer.cores.values():
            core.zero_()
    layer.grow_(4)
    assert not layer.to_dense().any()
    layer.to_dense().sum().backward()
    assert any(bool(core.grad.any()) for core in layer.cores.values())


def test_absorbed_cores_are_gone_everywhere(tmp_path):
    layer = tnl.build("tucker(in=8x8, out=8x8, bond=5)", seed=0)
    x = torch.randn(3, 64)
    with torch.no_grad():
        y = layer(x)
    layer.grow_(8)
    assert [*layer.cores] == ["core"] == [name for name, _ in layer.named_parameters() if name != "bias"]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)
    tnl.save(layer, tmp_path / "layer.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(tnl.load(tmp_path / "layer.safetensors")(x), layer(x))


@pytest.mark.parametrize("text", ["blockdiag(in=4x16, out=4x16, blocks=4)", "monarch(in=8x8, out=8x8, blocks=8)"])
def test_types_without_bonds_say_so(text):
    with pytest.raises(tnl.TNLayersError, match="no bonds that could grow"):
        tnl.build(text, seed=0).grow_(2)
