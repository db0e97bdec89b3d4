"""Cores that blocks share: planted ones are found, they are counted and stored once, and learn together."""

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
from tnlayers.compress.shared_cores import share_cores_  # noqa: E402

nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


def planted(bond=3, blocks=3, **more):
    """Linear layers whose weights have the outer cores of an MPO in common."""
    model = nn.Sequential(*(nn.Linear(32, 64, **more) for _ in range(blocks))).double()
    layers = [tnl.nn.TNLinear(32, 64, network=f"mpo(in=2x4x4, out=4x4x4, bond={bond})", seed=k) for k in range(blocks)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.core_0.copy_(layers[0].core_0)
            layer.core_2.copy_(layers[0].core_2)
            model[k].weight.copy_(layer.to_dense())
    return model


def weights(model):
    return torch.stack([getattr(layer, "to_dense", lambda layer=layer: layer.weight)().detach() for layer in model])


def entries(model):
    return sum(one.numel() for one in model.parameters())


def test_planted_cores_are_found_and_counted_once():
    model, before = planted(bias=False), weights(planted(bias=False))
    limit = 3 * (8 + 16) + 3 * 9 * 16
    found = share_cores_(model, ["0", "1", "2"], max_params=limit)
    assert entries(model) == found.parameters <= limit
    assert float((weights(model) - before).norm() / before.norm()) < 1e-6
    for layer in planted(bias=False):  # each with a third of the parameters
        assert (
            tnl.nn.TNLinear.from_linear(layer, "mpo(in=2x4x4, out=4x4x4)", max_params=limit // 3).delivered.error > 0.1
        )


def test_biases_stay_and_shared_cores_learn_together():
    model = planted()
    x = torch.randn(5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = model[1](x).detach()
    share_cores_(model, ["0", "1", "2"], max_params=600)
    assert float((model[1](x).detach() - before).norm() / before.norm()) < 1e-6
    sum(layer(x).square().sum() for layer in model).backward()
    apart = [torch.autograd.grad(layer(x).square().sum(), layer.core_0)[0] for layer in model]
    torch.testing.assert_close(model[0].core_0.grad, sum(apart))


def test_outputs_count_where_moments_are_known():
    generator = torch.Generator().manual_seed(1)
    moments = {}
    dense = nn.Sequential(*(nn.Linear(32, 64, bias=False) for _ in range(2))).double()
    for name in ("0", "1"):
        x = torch.randn(200, 32, dtype=torch.float64, generator=generator) * torch.exp(-torch.arange(32) / 6)
        moments[name] = x.T @ x / 200
    errors = []
    for known in (moments, None):
        model = nn.Sequential(*(nn.Linear(32, 64, bias=False) for _ in range(2))).double()
        model.load_state_dict(dense.state_dict())
        share_cores_(model, ["0", "1"], max_params=900, moments=known)
        wrong = weights(model) - weights(dense)
        errors.append(sum(float((w @ moments[str(k)] * w).sum()) for k, w in enumerate(wrong)))
    assert errors[0] < 0.8 * errors[1]


def test_a_file_has_shared_cores_and_copies_share_them(tmp_path):
    from copy import deepcopy

    model = planted()
    share_cores_(model, ["0", "1", "2"], max_params=600)
    assert deepcopy(model)[0].core_0 is not model[0].core_0
    assert entries(deepcopy(model)) == entries(model)
    tnl.save(model, tmp_path / "model.safetensors")
    again = tnl.load(tmp_path / "model.safetensors", into=planted())
    assert torch.equal(weights(again), weights(model))


def test_other_layers_are_refused():
    model = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 32), nn.ReLU())
    for names in (["0", "1"], ["0"], ["0", "0"], ["0", "2"], []):
        with pytest.raises(tnl.TNLayersError, match=r"two or more different nn\.Linear of equal sizes"):
            share_cores_(model, names, max_params=600)
    with pytest.raises(tnl.TNLayersError, match="is the smallest mpo"):
        share_cores_(planted(), ["0", "1"], max_params=20)
