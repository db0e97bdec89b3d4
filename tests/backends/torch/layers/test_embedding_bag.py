"""TNEmbeddingBag beside nn.EmbeddingBag on the same table: modes, forms of bags, padding, weights, refusals."""

import pytest
import torch
from tnlayers_backends.torch.layers.kinds import KINDS
from torch import nn

import tnlayers as tnl

FLAT = torch.tensor([3, 0, 3, 11, 7, 0, 0, 2])
FORMS = {
    "fixed": (FLAT.reshape(2, 4), None),
    "offsets": (FLAT, torch.tensor([0, 2, 5])),
    "empty": (FLAT, torch.tensor([0, 0, 3, 8])),
    "all padding": (FLAT, torch.tensor([0, 5, 7], dtype=torch.int32)),
    "none": (FLAT[:0], torch.tensor([0, 0])),
}


def twins(unique=False, **settings):
    torch.manual_seed(0)
    dense = nn.EmbeddingBag(12, 6, **settings)
    return dense, tnl.nn.TNEmbeddingBag.from_embedding_bag(dense, "mpo(cores=2)", error=0, unique=unique)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("padding", [None, 0, -5])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("form", FORMS)
def test_bags_are_those_of_torch(form, mode, padding, unique):
    dense, layer = twins(unique, mode=mode, padding_idx=padding)
    ids, offsets = FORMS[form]
    wanted = dense(ids, None if offsets is None else offsets.long())
    found = layer(ids, offsets)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    (wanted.square().sum() + 0 * dense.weight.sum()).backward()
    found.square().sum().backward()
    gradient = [core.grad.clone() for core in layer.cores.values()]
    layer.zero_grad()
    layer.to_dense().backward(dense.weight.grad)
    torch.testing.assert_close([core.grad for core in layer.cores.values()], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [None, 3])
def test_weights_of_ids(padding):
    dense, layer = twins(mode="sum", padding_idx=padding)
    for ids, offsets in (FORMS["fixed"], FORMS["empty"]):
        weights = torch.linspace(-1, 2, ids.numel()).reshape(ids.shape).requires_grad_()
        (wanted,) = torch.autograd.grad(dense(ids, offsets, weights).square().sum(), weights)
        found = layer(ids, offsets, per_sample_weights=weights)
        torch.testing.assert_close(found, dense(ids, offsets, weights), rtol=1e-5, atol=1e-5)
        (own,) = torch.autograd.grad(found.square().sum(), weights)
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)


def test_the_last_offset_may_be_the_number_of_ids():
    dense, layer = twins(include_last_offset=True)
    offsets = torch.tensor([0, 2, 5, 8])
    torch.testing.assert_close(layer(FLAT, offsets), dense(FLAT, offsets), rtol=1e-5, atol=1e-5)
    assert layer(FLAT, offsets).shape == (3, 6)
    assert "include_last_offset=True" in repr(layer)
    assert layer.to_embedding_bag().include_last_offset


WRONG = {
    "two axes with offsets": ({}, (FORMS["fixed"][0], torch.tensor([0])), r"with offsets: ids \(bags, ids of each\)"),
    "one axis without": ({}, (FLAT,), r"without offsets"),
    "three axes": ({}, (FLAT.reshape(2, 2, 2),), r"shape \(2, 2, 2\)"),
    "weights of a mean": ({"mode": "mean"}, (FLAT, torch.tensor([0]), torch.ones(8)), r"only mode='sum' has them"),
    "weights of a shape": ({"mode": "sum"}, (FLAT, torch.tensor([0]), torch.ones(7)), r"per_sample_weights of shape"),
    "offsets of floats": ({}, (FLAT, torch.tensor([0.0])), r"offsets torch.float32"),
    "offsets not from 0": ({}, (FLAT, torch.tensor([1, 2])), r"none that torch reduces: .*offsets\[0\]"),
    "offsets beyond": ({}, (FLAT, torch.tensor([0, 20])), r"none that torch reduces"),
    "ids out of range": ({}, (FLAT + 1, torch.tensor([0])), r"Id 12 is out of range: the table has 12 rows"),
    "ids of floats": ({}, (FLAT / 2, torch.tensor([0])), r"Ids are int64 or int32"),
    "no tensor": ({}, ([1, 2], torch.tensor([0])), r"is called with input=\[1, 2\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bags_that_do_not_fit_are_refused(case):
    settings, given, words = WRONG[case]
    with pytest.raises(tnl.TNLayersError, match=words):
        twins(**settings)[1](*given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "min"}, "'sum', 'mean' or 'max'"),
        ({"max_norm": 1.0}, "max_norm=1.0 is not offered by TNEmbeddingBag"),
        ({"sparse": True}, "sparse=True is not offered by TNEmbeddingBag"),
        ({"padding_idx": 12}, "padding_idx=12 is no id"),
        ({"network": "mpo(bias=true)"}, "an embedding has none"),
        ({"include_last_offset": 1}, "True or False"),
    ],
)
def test_settings_that_are_not_offered(settings, words):
    with pytest.raises(tnl.TNLayersError, match=words):
        tnl.nn.TNEmbeddingBag(12, 6, **settings)


class Bags(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.bag = nn.EmbeddingBag(30, 8, **settings)

    def forward(self, ids):
        return self.bag(ids)


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_maxima_are_compressed_and_their_fit_is_refused_in_words():
    model, ids = Bags(mode="max"), torch.arange(30).reshape(10, 3)
    small = tnl.compress(model, ratio=0.7, network="mpo(cores=2)").model
    assert small.bag.mode == "max"
    report = tnl.repair(small, model, [ids], sweeps=1, epochs=1, loss="mse", progress=False)
    assert report.skipped == {"bag": "maxima of rows are not linear in the table, so there is no least-squares fit"}
    with pytest.raises(tnl.TNLayersError, match="mode='max'"):
        tnl.nn.TNAdapter(model.bag)
    large = tnl.nn.TNEmbeddingBag(5000, 8, network="mpo(bond=2)", seed=0)
    assert "5,000 x as many" in KINDS["embedding_bag"].reason_against_fit(large)


def test_bags_with_options_that_cores_lack_stay_dense():
    with pytest.raises(tnl.TNLayersError, match=r"those are .*nn.EmbeddingBag.* bag \(an embedding with max_norm"):
        tnl.compress(Bags(max_norm=1.0), ratio=1.0, network="mpo(cores=2)")


def test_a_table_tied_to_a_decoder_stays_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.bag, self.out = nn.EmbeddingBag(30, 16, mode="sum"), nn.Linear(16, 30)
            self.out.weight = self.bag.weight

        def forward(self, ids):
            return self.out(self.bag(ids))

    model, ids = Tied(), torch.arange(30).reshape(10, 3)
    small = tnl.compress(model, error=1e-3, network="mpo(cores=2)", rules={"*": {"network": "mpo(cores=2)"}}).model
    if hasattr(small.bag, "cores"):
        assert all(a is b for a, b in zip(small.bag.cores.values(), small.out.cores.values(), strict=True))
    torch.testing.assert_close(small(ids), model(ids), rtol=0.05, atol=0.05)
