"""Coordinates that are changed before compression: the logits stay; what would change them is refused."""

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
from tnlayers.compress.gauge import (  # noqa: E402
    Stream,
    covariance_order,
    fold_,
    principal_rotation,
    reorder_hidden_,
    rotate_,
    stream_of,
    turn_heads_,
)

nn = torch.nn
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


def model_of(dtype=torch.float64, **more):
    """A small GPT whose normalisations have gains and shifts, and whose biases are not zero."""
    sizes = {"width": 16, "depth": 2, "heads": 2, "context": 12, "vocabulary": 20}
    model = tnl.models.gpt("dense", **sizes, seed=0, **more).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype))
    return model


def tokens():
    return torch.arange(24).view(2, 12) % 20


def orthogonal(size, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))[0]


def off(model, before):
    with torch.no_grad():
        return float((model(tokens()) - before).norm() / before.norm())


@pytest.mark.parametrize("dtype", LIMITS)
def test_a_rotated_stream_gives_the_same_logits(dtype):
    model = model_of(dtype)
    before = model(tokens()).detach()
    stream = stream_of(model)
    fold_(model, stream)
    assert off(model, before) < LIMITS[dtype]
    rotate_(model, stream, orthogonal(16))
    assert off(model, before) < LIMITS[dtype]
    rotate_(model, stream, principal_rotation(model, stream, [tokens()]))
    assert off(model, before) < LIMITS[dtype]
    with torch.no_grad():
        model.blocks[1].contract.weight.mul_(1.01)  # the comparison can fail
    assert off(model, before) > 1e-4


def test_principal_directions_come_first():
    model = model_of()
    stream = stream_of(model)
    fold_(model, stream)
    rotate_(model, stream, principal_rotation(model, stream, [tokens()]))
    seen = []
    for name in stream.readers:
        model.get_submodule(name).register_forward_hook(lambda _, __, y: seen.append(y.detach().flatten(0, -2)))
    model(tokens())
    moment = torch.stack([x.T @ x / len(x) for x in seen]).mean(0)
    spread = moment.diagonal()
    assert bool((spread[:-1] >= spread[1:] - 1e-12).all())
    assert float((moment - spread.diag()).abs().max()) < 1e-10
    assert float(spread[-1]) < 1e-10  # the mean, which the normalisation took away


@pytest.mark.parametrize("dtype", LIMITS)
def test_turned_heads_give_the_same_logits(dtype):
    model = model_of(dtype)
    before = model(tokens()).detach()
    turns = [orthogonal(8, seed) for seed in (3, 4)]
    turn_heads_(model, "blocks.0.attention.value", "blocks.0.attention.out", turns)
    turn_heads_(model, "blocks.1.attention.query", "blocks.1.attention.key", turns)
    assert off(model, before) < LIMITS[dtype]
    turn_heads_(model, "blocks.0.attention.value", "blocks.0.attention.out", [orthogonal(16)])  # not head by head
    assert off(model, before) > 1e-4


def test_hidden_features_in_another_order_give_the_same_logits():
    model = model_of()
    before = model(tokens()).detach()
    weight = model.blocks[0].expand.weight.detach().clone()
    order = covariance_order(weight @ weight.T)
    assert sorted(order.tolist()) == list(range(64))
    assert order.tolist() != list(range(64))
    reorder_hidden_(model, "blocks.0.expand", "blocks.0.contract", order)
    assert torch.equal(model.blocks[0].expand.weight, weight[order])
    assert off(model, before) < 1e-14


def test_alike_features_become_neighbours():
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(2, (40,), generator=generator)
    x = torch.randn(200, 2, generator=generator)[:, group] + 0.3 * torch.randn(200, 40, generator=generator)
    found = group[covariance_order(x.T @ x)]
    assert int((found[1:] != found[:-1]).sum()) == 1


def test_a_rotated_model_becomes_networks_and_caches_keys():
    model = model_of()
    before = model(tokens()).detach()
    rotate_(model, stream_of(model), orthogonal(16))
    made = tnl.compress(model, ratio=0.5, network="lowrank", sample=tokens()).model
    assert off(made, before) > 1e-6
    seen = model.nothing_seen(2)
    first, rest = model(tokens()[:, :5], seen), model(tokens()[:, 5:], seen)
    assert off(lambda x: torch.cat((first, rest), 1), before) < 1e-10


def test_what_would_change_the_outputs_is_refused():
    model = model_of()
    stream = stream_of(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(tnl.TNLayersError, match=r"off by .* from an orthogonal one"):
        rotate_(model, stream, 1.01 * orthogonal(16))
    with pytest.raises(tnl.TNLayersError, match=r"shape \(15, 15\) for 16 features"):
        rotate_(model, stream, orthogonal(15))
    wrong = Stream(entry="entry", writers=stream.writers, readers={"embedding": ("head",)})
    with pytest.raises(tnl.TNLayersError, match="'embedding' is a Embedding; the stream is read through"):
        fold_(model, wrong)
    with pytest.raises(tnl.TNLayersError, match="must have each feature between them once"):
        reorder_hidden_(model, "blocks.0.expand", "blocks.0.contract", torch.zeros(64, dtype=torch.int64))
    with pytest.raises(tnl.TNLayersError, match="3 heads do not share them in equal parts"):
        turn_heads_(model, "blocks.0.attention.value", "blocks.0.attention.out", [orthogonal(5)] * 3)
    with pytest.raises(tnl.TNLayersError, match="fold_ the normalisations first"):
        principal_rotation(model, stream, [tokens()])
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    tied = model_of(tied=True)
    with pytest.raises(tnl.TNLayersError, match="'head' is another module's too"):
        fold_(tied, stream_of(tied))


def test_layers_that_are_networks_already_are_refused():
    model = tnl.models.gpt("mpo(bond=2)", width=16, depth=1, heads=2, context=8, vocabulary=20, seed=0)
    with pytest.raises(tnl.TNLayersError, match=r"is a TNLinear\. Coordinates are changed in"):
        rotate_(model, stream_of(model), orthogonal(16))


def test_a_file_of_a_rotated_model_is_refused_or_right(tmp_path):
    model = model_of(torch.float32)
    rotate_(model, stream_of(model), orthogonal(16))
    tnl.save(model, tmp_path / "model.safetensors")
    skeleton = model_of(torch.float32)
    rotate_(skeleton, stream_of(skeleton), torch.eye(16))
    again = tnl.load(tmp_path / "model.safetensors", into=skeleton)
    assert torch.equal(again(tokens()), model(tokens()))
    with pytest.raises(tnl.TNLayersError, match="do not fit"):
        tnl.load(tmp_path / "model.safetensors")
