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
