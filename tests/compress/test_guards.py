"""Refusals of compression that no other file of tests raises: nothing is changed, and the way out is named."""

import pytest
from absent import framework

import tnlayers as tnl

torch = framework("torch")


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))


@pytest.mark.parametrize("thing", [None, 3, torch.ones(2), [torch.nn.Linear(2, 2)], torch.nn.Linear], ids=repr)
def test_what_is_no_module(thing):
    with pytest.raises(
        tnl.TNLayersError, match=r"^model=.* \((NoneType|int|Tensor|list|type)\): a torch module is needed"
    ):
        tnl.compress(thing, ratio=0.5)


@pytest.mark.parametrize("asked", ["layers", "", "Model"])
def test_a_ratio_of_something_else(asked):
    with pytest.raises(tnl.TNLayersError, match=f"ratio_of='{asked}' must be 'model', 'replaced' or 'bytes'"):
        tnl.compress(model(), ratio=0.5, ratio_of=asked)


class Uncopyable(torch.nn.Sequential):
    def __deepcopy__(self, memo):
        raise RuntimeError("one of a kind")


def test_a_model_that_cannot_be_copied_is_left_as_it_is():
    dense = Uncopyable(*model())
    with pytest.raises(
        tnl.TNLayersError, match=r"Uncopyable cannot be copied: RuntimeError: one of a kind\. Pass inplace"
    ):
        tnl.compress(dense, error=0.5, network="lowrank")
    assert [type(layer).__name__ for layer in dense] == ["Linear", "ReLU", "Linear"]
    made = tnl.compress(dense, error=0.5, network="lowrank", inplace=True).model
    assert made is dense
    assert type(dense[0]).__name__ == "TNLinear"


def test_a_cache_where_a_file_lies(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(tnl.TNLayersError, match=r"The cache .*file cannot be made: "):
        tnl.compress(model(), error=0.5, network="lowrank", cache=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_entries_of_a_cache_that_are_something_else_are_made_again(tmp_path):
    asked = {"error": 0.5, "network": "lowrank", "cache": tmp_path / "cache"}
    first = tnl.compress(model(), **asked)
    layers = sorted((tmp_path / "cache").glob("*.safetensors"))
    assert layers
    for path in layers:
        tnl.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path)
    for path in (tmp_path / "cache").glob("*.json"):
        path.write_text("[3")
    again = tnl.compress(model(), **asked)
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def rotated(norms, entry=None):
    """A model of two layers around a stream that is read through these normalisations, and its stream."""
    from tnlayers.compress.gauge import Stream, rotate_

    layers = [entry or torch.nn.Linear(4, 4, bias=False), *norms, torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)]
    reads = {str(k + 1): (str(len(norms) + k + 1),) for k in range(len(norms))}
    return rotate_(torch.nn.Sequential(*layers), Stream(entry="0", writers=(), readers=reads), torch.eye(4))


def no_gain():
    return torch.nn.RMSNorm(4, elementwise_affine=False)


STREAMS = {
    "an entry with a bias": (lambda: rotated([no_gain()], torch.nn.Linear(4, 4)), "The entry '0' has a bias"),
    "a gain": (lambda: rotated([torch.nn.RMSNorm(4)]), "'1' is an RMSNorm with a gain"),
    "another normalisation": (lambda: rotated([torch.nn.GroupNorm(2, 4)]), "'1' is a GroupNorm; the stream is read"),
    "two kinds": (lambda: rotated([no_gain(), torch.nn.LayerNorm(4)]), "take the mean away and others do not"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_cannot_be_rotated(name):
    ask, words = STREAMS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()


def test_inner_coordinates_of_something_else():
    from tnlayers.compress.gauge.dense import dense_layer
    from tnlayers.compress.gauge.hidden import covariance_order
    from tnlayers.compress.gauge.stream import stream_of

    with pytest.raises(tnl.TNLayersError, match=r"is a square matrix; this has shape \(3, 4\)"):
        covariance_order(torch.ones(3, 4))
    with pytest.raises(tnl.TNLayersError, match="write a Stream for Sequential"):
        stream_of(model())
    with pytest.raises(tnl.TNLayersError, match=r"Sequential has no module '0\.a'"):
        dense_layer(model(), "0.a")
