"""What can be explored: every kind of thing becomes contractions, each with a network to draw and right prices."""

import json

import numpy as np
import pytest
import torch

import tnlayers as tnl
from tnlayers.backends import backend_of
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import make_grid
from tnlayers.explore.questions import Question, answer, planned
from tnlayers.explore.subjects import parts_of

SUM = "mpo(in=4x4, out=4x4, bond=2) + lowrank(in=16, out=16, rank=3)"
EQUATIONS = {
    "bij,jk,kil->bl": [(8, 2, 3), (3, 4), (4, 2, 5)],
    "ij,jk,kl->": [(2, 3), (3, 4), (4, 5)],
    "ii,jk->jk": [(3, 3), (2, 2)],
    "a,b,c->abc": [(2,), (3,), (4,)],
    "ai,bi,ci->abci": [(2, 5), (3, 5), (4, 5)],
    "...i,ij->...j": [(2, 3, 4), (4, 5)],
    "ab,cd->ad": [(2, 3), (4, 5)],
}


def subjects():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        tnl.nn.TNLinear(16, 16, network="mpo(cores=2, bond=2)"),
        torch.nn.Sequential(torch.nn.ReLU(), tnl.nn.TNLinear(16, 8, network="lowrank(rank=2)")),
    )
    yield "sum", SUM, ["term 1: mpo", "term 2: lowrank"]
    yield "bond per edge", "mpo(in=2x3x2, out=2x2x3, bond=2x4)", [""]
    yield "layer", tnl.build("ring(in=2x3x2, out=2x2x3, bond=2)", backend="numpy"), [""]
    yield "graph", tnl.spec("tree(in=2x2x2x2, out=2x2x2x2, bond=2)").graph, [""]
    yield "convolution", tnl.nn.TNConv2d(4, 8, 3, network="mpo(cores=2, bond=2)"), [""]
    yield "model", model, ["0", "1.1"]


@pytest.mark.parametrize(("thing", "names"), [each[1:] for each in subjects()], ids=[each[0] for each in subjects()])
def test_everything_that_is_declared(thing, names):
    grid = make_grid(thing, batches=[1, 8], bonds=[2], networks=[], optimizers=["auto"])
    data = json.loads(json.dumps(page_data(grid)))
    assert [part["name"] for part in data["parts"]] == names
    for part in parts_of(thing):
        plan = planned(part, Question(batch=8))
        assert answer(part, Question(batch=8))["path"] == plan.path
        assert {"x", *(core.name for core in part.graph.cores)} == set(plan.contraction.names)
    for network in (kind for part in data["parts"] for kind in part["networks"]):
        for bond in network["bonds"]:
            assert set(bond["operands"]) <= set(bond["places"])


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS.items(), ids=EQUATIONS)
def test_every_einsum(equation, shapes):
    data = page_data(make_grid(equation, shapes=shapes, batches=[1]))
    (bond,) = data["parts"][0]["networks"][0]["bonds"]
    assert set(bond["operands"]) <= set(bond["places"])
    assert bond["features"] is bond["batch_index"] is None
    draw = np.random.default_rng(0)
    operands = [draw.standard_normal(shape) for shape in shapes]
    plan = planned(parts_of(equation, shapes)[0], Question(batch=1))
    found = plan.program.run(backend_of(operands[0]).ops, operands)
    np.testing.assert_allclose(found, np.einsum(equation, *operands), rtol=1e-10, atol=1e-10)


def test_a_convolution_says_what_is_shown():
    (part,) = parts_of(tnl.nn.TNConv2d(4, 8, 3, network="mpo(cores=2, bond=2)"))
    assert part.features == (36, 8)
    assert "unfolded windows" in part.note
    assert part.spec is None


def test_shapes_beside_a_spec_are_refused():
    with pytest.raises(tnl.TNLayersError, match="shapes are for an einsum equation"):
        parts_of("mpo(in=4x4, out=4x4, bond=2)", [(2, 2)])


def test_a_page_by_path(tmp_path):
    assert tnl.explore("ij,jk->ik", [(2, 3), (3, 4)], path=tmp_path / "page.html") is None
    assert '"spec":"ij,jk->ik"' in (tmp_path / "page.html").read_text()
    with pytest.raises(tnl.TNLayersError, match=r"name it page\.html"):
        tnl.explore("ij,jk->ik", [(2, 3), (3, 4)], path=tmp_path / "page.svg")
