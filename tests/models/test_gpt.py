"""The language model: its counts, causality, the cache of keys and values, drawing, files, compression."""

import json
import math

import pytest
from command import Call

pytest.importorskip("torch")
import torch

import tnlayers as tnl
from tnlayers.models import GPT, Shape, generate, gpt
from tnlayers.models.gpt_shape import shape_of

PUBLISHED = {32: 472_192, 16: 177_408, 8: 79_168, 4: 42_336}  # parameters by bond, as the published code builds them
SMALL = {"width": 16, "depth": 2, "heads": 2, "context": 12, "vocabulary": 11}


def parameters(model):
    return sum(weight.numel() for weight in model.parameters())


def small(network="mpo(bond=3)", **more):
    return gpt(network, seed=0, **{**SMALL, **more})


def tokens(*shape, seed=1):
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(seed))


def test_the_counts_are_those_of_the_published_code():
    assert parameters(tnl.models.build("gpt-pico", network="dense", seed=0)) == 808_448
    for bond, count in PUBLISHED.items():
        model = tnl.models.build("gpt-pico", network=f"mpo(bond={bond})", seed=0)
        assert parameters(model) == count
        layers = [module for module in model.modules() if isinstance(module, tnl.nn.TNLinear)]
        assert len(layers) == 25
        assert all(f"bond={bond}" in str(layer.spec) and layer.spec.notes == () for layer in layers)  # none is clipped


def test_the_factors_are_the_published_ones():
    modes = {site.name: (site.out_modes, site.in_modes) for site in Shape().sites}
    assert modes["blocks.3.attention.query"] == modes["blocks.0.attention.out"] == ((8, 16), (8, 16))
    assert modes["blocks.0.expand"] == ((8, 8, 8), (4, 4, 8))
    assert modes["blocks.0.contract"] == ((4, 4, 8), (8, 8, 8))
    assert modes["head"] == ((5, 13), (8, 16))
    biases = {site.name for site in Shape().sites if site.bias}
    assert {name.rpartition(".")[2] for name in biases} == {"out", "expand", "contract"}


@pytest.mark.parametrize(
    ("network", "count"), [("dense", 808_448), *((f"mpo(bond={b})", n) for b, n in PUBLISHED.items())]
)
def test_describe_counts_them_too(call: Call, network, count):
    status, out, err = call("describe", "gpt-pico", "--network", network, "--json")
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert next(iter(report["total"].values()))["trainable"] == count
    assert any("1,020,224" in point["what"] for point in report["differences"])


def test_every_size_has_a_name_that_says_it():
    for shape in (Shape(), Shape(vocabulary=300), Shape(**SMALL), Shape(hidden=100), Shape(tied=True, heads=8)):
        assert shape_of(shape.name) == shape
        assert tnl.models.find(shape.name).language == shape
    assert shape_of("resnet20") is shape_of("gpt-w16") is None


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"heads": 3}, "width 128 with 3 heads"),
        ({"width": 15, "heads": 3}, "even width"),
        ({"depth": 0}, "depth=0"),
        ({"vocabulary": 1}, "vocabulary=1"),
        ({"context": True}, "context=True"),
        ({"network": {"*.atention.*": "mpo"}}, r"'\*\.atention\.\*' fits none"),
        ({"tied": True, "network": {"head": "mpo"}}, "'head' fits none"),
    ],
)
def test_impossible_sizes_and_places_are_refused(sizes, words):
    with pytest.raises(tnl.TNLayersError, match=words):
        gpt(**sizes)


@pytest.mark.parametrize("network", ["dense", "mpo(bond=3)", "lowrank(rank=2)"])
def test_no_token_reads_a_later_one(network):
    model, text = small(network), tokens(3, 12)
    changed = text.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 11
    before, after = model(text), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert all(not torch.allclose(before[:, k], after[:, k]) for k in range(7, 12))


@torch.no_grad()
def by_hand(model, text):
    """The model written out for one text (T,) in double precision, with dense weights and explicit loops over heads."""
    state = {name: value.double() for name, value in model.state_dict().items()}
    shape = model.shape
    x = state["embedding.weight"][text] * (math.sqrt(shape.width) if shape.tied else 1)
    for t in range(len(text)):
        for k in range(0, shape.width, 2):
            angle = t / 10_000 ** (k / shape.width)
            x[t, k] += math.sin(angle)
            x[t, k + 1] += math.cos(angle)

    def linear(place, x):
        layer = model.get_submodule(place)
        weight = layer.to_dense() if isinstance(layer, tnl.nn.TNLinear) else layer.weight
        bias = 0 if layer.bias is None else layer.bias.double()
        return x @ weight.detach().double().T + bias

    def norm(place, x):
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{place}.weight"] + state[f"{place}.bias"]

    for b in range(shape.depth):
        block, mixed = f"blocks.{b}", []
        q, k, v = (linear(f"{block}.attention.{name}", norm(f"{block}.norm1", x)) for name in ("query", "key", "value"))
        for head in torch.arange(shape.width).chunk(shape.heads):
            scores = q[:, head] @ k[:, head].T / math.sqrt(len(head))
            scores[torch.ones_like(scores).triu(1).bool()] = -torch.inf
            mixed.append(scores.softmax(1) @ v[:, head])
        x = x + linear(f"{block}.attention.out", torch.cat(mixed, 1))
        x = x + linear(f"{block}.contract", linear(f"{block}.expand", norm(f"{block}.norm2", x)).clamp_min(0))
    return linear("head", norm("norm", x))


@pytest.mark.parametrize("more", [{}, {"tied": True}, {"network": "dense"}, {"hidden": 24, "heads": 4}], ids=str)
def test_the_logits_are_those_of_the_formula(more):
    model, text = small(**more), tokens(9)
    for weight in model.parameters():  # so that biases and scales count
        weight.data += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    expected = by_hand(model, text)
    assert torch.allclose(model(text[None])[0].double(), expected, atol=2e-5 * float(expected.abs().max()))
    assert not torch.allclose(model(text[None].flip(1))[0].double(), expected, atol=1e-3)


@pytest.mark.parametrize("pieces", [(12,), (1,) * 12, (5, 1, 1, 5), (3, 9)], ids=str)
def test_with_the_cache_the_logits_are_those_without(pieces):
    model, text = small().eval(), tokens(2, 12)
    seen = model.nothing_seen(2)
    with torch.no_grad():
        parts = torch.cat([model(piece, seen) for piece in text.split(list(pieces), 1)], 1)
        assert torch.allclose(parts, model(text), atol=1e-5)
    assert seen[0][0].shape == (2, 2, 12, 8)
    with pytest.raises(tnl.TNLayersError, match="reads 12 tokens at most, got 13"):
        model(text[:, :1], seen)


def test_generating_with_the_cache_and_beyond_the_context():
    model, start = small(), tokens(3)
    for settings in ({"temperature": 0.0}, {"seed": 5}, {"seed": 5, "temperature": 0.5, "top_k": 3}):
        text = generate(model, start, 20, **settings)
        assert torch.equal(text, generate(model, start, 20, cache=False, **settings))
        assert len(text) == 23
        assert torch.equal(text[:3], start)
    assert model.training
    assert not torch.equal(generate(model, start, 20, seed=5), generate(model, start, 20, seed=6))
    best = [generate(model, start, 20, **more) for more in ({"temperature": 0.0}, {"top_k": 1, "seed": 9})]
    assert torch.equal(*best)
    assert torch.equal(generate(model, start, 0), start)


def test_draws_follow_the_probabilities():
    from tnlayers.models.generating import _draw

    logits = torch.tensor([0.0, 1.0, 2.0, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    for temperature, top_k in ((1.0, None), (2.0, None), (1.0, 2)):
        expected = (logits / temperature).exp() * torch.tensor([top_k is None, True, True, True])
        drawn = torch.cat([_draw(logits.clone(), temperature, top_k, generator) for _ in range(4000)])
        counts = torch.bincount(drawn, minlength=4) / 4000
        assert torch.allclose(counts, expected / expected.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tokens": tokens(0)}, "nothing to continue"),
        ({"tokens": tokens(1, 3)}, r"got \(1, 3\)"),
        ({"tokens": torch.tensor([2, 11])}, "knows the tokens 0 to 10; the text to continue has 2 to 11"),
        ({"tokens": [1, 2]}, "got a list"),
        ({"count": -1}, "count=-1"),
        ({"count": 10**12}, "from 0 to 1,048,576"),
        ({"temperature": -0.5}, "temperature=-0.5"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, words):
    with pytest.raises(tnl.TNLayersError, match=words):
        generate(small(), **{"tokens": tokens(3), "count": 2, **arguments})


def test_tokens_of_another_form_are_refused():
    for wrong in (torch.zeros(2, 3), tokens(3), tokens(2, 0), tokens(1, 13), [[1, 2]], None):
        with pytest.raises(tnl.TNLayersError, match="reads"):
            small()(wrong)


PLACES = {"*.attention.*": "mpo(bond=2)", "*.expand": "lowrank(rank=3)"}


@pytest.mark.parametrize(
    ("network", "more"),
    [
        ("dense", {}),
        ("mpo(bond=3)", {}),
        ("mpo(bond=1) + lowrank(rank=2)", {}),
        ("tree(cores=2, bond=2)", {}),
        (PLACES, {}),
        ("mpo(bond=3)", {"tied": True}),
        ("dense", {"tied": True}),
    ],
    ids=str,
)
def test_saved_and_loaded_it_is_the_same_model(tmp_path, network, more):
    model, text = small(network, **more), tokens(2, 12)
    tnl.save(model, tmp_path / "model.safetensors")
    twin = tnl.load(tmp_path / "model.safetensors")
    assert type(twin) is GPT
    assert twin.shape == model.shape
    assert torch.equal(twin(text), model(text))
    assert (twin.head.weight is twin.embedding.weight) if more else True
    assert torch.equal(generate(twin, text[0, :2], 5, seed=0), generate(model, text[0, :2], 5, seed=0))


def test_dense_and_networks_begin_with_weights_of_one_variance():
    for network in ("dense", "mpo(bond=8)", "lowrank(rank=4)"):
        model = gpt(network, width=64, depth=1, seed=0)
        for place in ("blocks.0.attention.key", "blocks.0.contract"):
            layer = model.get_submodule(place)
            weight = layer.weight if network == "dense" else layer.to_dense()
            assert weight.square().mean().item() == pytest.approx(1 / (3 * weight.shape[1]), rel=0.3)
    again = [gpt("mpo(bond=8)", width=64, depth=1, seed=seed).embedding.weight for seed in (0, 0, 1)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


def test_it_compresses():
    model, text = small("dense", depth=1), tokens(4, 12)
    compressed = tnl.compress(model, ratio=0.6, sample=text).model
    assert parameters(compressed) < 0.7 * parameters(model)
    assert any(isinstance(module, tnl.nn.TNLinear) for module in compressed.modules())
    assert compressed(text).shape == (4, 12, 11)
    assert generate(compressed, text[0], 4, seed=0).shape == (16,)
