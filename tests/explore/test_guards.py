"""Refusals of the explorer that no other file of tests raises."""

import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.explore.grid import at_bond
from tnlayers.explore.order import Order
from tnlayers.explore.page import check_target
from tnlayers.explore.subjects import parts_of

SPEC = "mpo(in=4x4, out=4x4, bond=2)"
torch = framework("torch")


def test_an_order_that_is_not_complete_is_no_plan():
    (part,) = parts_of(SPEC)
    assert Order(part=part, batch=3, path=((0, 1), (2, 3))).plan.path == ((0, 1), (2, 3))
    with pytest.raises(tnl.TNLayersError, match=r"not complete: core_1, step 1 are left\. Contract them"):
        _ = Order(part=part, batch=3, path=((0, 1),)).plan


def test_many_networks_are_not_explored_at_once():
    layers = [tnl.nn.TNLinear(4, 4, network="lowrank(rank=1)") for _ in range(65)]
    assert len(parts_of(torch.nn.Sequential(*layers[:64]))) == 64
    with pytest.raises(tnl.TNLayersError, match=r"has 65 networks, and at most 64 .*get_submodule\('0'\)"):
        parts_of(torch.nn.Sequential(*layers))


def test_a_network_without_one_size_has_no_other_bond():
    (part,) = parts_of("kronecker(in=4x4, out=4x4)")
    with pytest.raises(tnl.TNLayersError, match="has no single bond or rank to choose"):
        at_bond(part, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [("page.svg", r"written as \.html, not as .*name it page\.html"), ("absent/page.html", "there is no folder")],
)
def test_a_page_goes_to_an_html_file_in_a_folder(tmp_path, name, words):
    check_target(tmp_path / "page.html")
    with pytest.raises(tnl.TNLayersError, match=words):
        check_target(tmp_path / name)
