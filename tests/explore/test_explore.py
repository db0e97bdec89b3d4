"""The explorer's data and page: what the grid holds, what is refused, and that the page is whole and small."""

import itertools
import json
import re
from fractions import Fraction
from math import hypot

import pytest
from contraction_paths import random_path
from quiet import quiet
from specs import MARKET

import tnlayers as tnl
from tnlayers.__main__ import main
from tnlayers.declare.graph import forward
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import make_grid
from tnlayers.explore.page import page, save_page
from tnlayers.explore.prices import step_prices, total
from tnlayers.explore.stage import finished, operand_places, rest, stage
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Multiply

SPEC = "mpo(in=2x3x2, out=2x2x3, bond=4)"


@pytest.mark.parametrize("text", MARKET.values(), ids=MARKET)
def test_prices_are_the_plans_own_without_copies(text):
    contraction = forward(quiet(lambda: tnl.spec(text)).graph, 5)
    for seed in range(2):
        made = Plan(contraction=contraction, path=random_path(len(contraction.operands), seed))
        price = total(step_prices(made))
        assert price.flops == made.cost.flops
        assert price.bytes == made.cost.bytes - made.cost.copied
        assert price.largest == made.cost.result
        assert price.memory >= price.largest


def test_prices_do_not_depend_on_chunks():
    made = tnl.plan("mpo(in=8x8x8x8, out=8x8x8x8, bond=16)", batch=512)
    assert made.chunk is not None
    whole = Plan(contraction=made.contraction, path=made.path)
    assert step_prices(made) == step_prices(whole)


@pytest.mark.parametrize("text", MARKET.values(), ids=MARKET)
def test_a_stage_is_what_a_plan_has_left(text):
    """After each step: every operand in one thing, the axes those of the program's register, nothing upon another."""
    graph = quiet(lambda: tnl.spec(text)).graph
    contraction = forward(graph, 3)
    places = operand_places(graph).values()
    assert all(hypot(x - u, y - v) > 20 for (x, y), (u, v) in itertools.combinations(places, 2))
    path = random_path(len(contraction.operands), 7)
    program = Plan(contraction=contraction, path=path).program
    results = [program.operands + k for k, step in enumerate(program.steps) if isinstance(step, Multiply)]
    for at in range(len(path) + 1):
        left = stage(contraction, path[:at])
        assert sorted(k for members in left.members for k in members) == list(range(len(contraction.operands)))
        if at:
            assert set(left.indices[-1]) == set(program.indices[results[at - 1]])
    assert set(left.indices[0]) == set(contraction.output)


def test_an_order_is_finished_by_a_plan_of_the_rest():
    contraction = forward(quiet(lambda: tnl.spec(SPEC)).graph, 4)
    left = stage(contraction, ((1, 3),))
    end = Plan(contraction=rest(contraction, left), path=((0, 1), (2, 3)))
    assert finished(contraction, ((1, 3),), left, end) == ((1, 3), (0, 2), (4, 5))


class TestGrid:
    def test_the_layer_comes_first_then_other_bonds_and_types(self):
        grid = make_grid(SPEC, batches=[8, 1], bonds=[2, 3, 99])
        assert grid.batches == (1, 8)
        found = [(choice.network, choice.bond, choice.part.title) for choice in grid.choices]
        assert found[0] == ("mpo", "4", SPEC)
        assert [bond for name, bond, _ in found if name == "mpo"] == ["4", "2", "3", "99"]
        assert {name for name, _, _ in found} == {"mpo", "ring", "tree", "cp"}
        assert {c.part.features for c in grid.choices} == {(12, 12)}

    def test_a_bond_that_is_clipped_to_another_is_there_once(self):
        bonds = [choice.bond for choice in make_grid("mpo(in=2x3, out=2x2, bond=4)", bonds=[4, 8], networks=[]).choices]
        assert bonds == ["4"]

    def test_types_without_a_bond_and_types_of_other_modes(self):
        grid = make_grid(tnl.spec("monarch(blocks=4)", 16, 16), networks=["lowrank"], bonds=[2])
        assert [(choice.network, choice.bond) for choice in grid.choices] == [("monarch", ""), ("lowrank", "2")]

    def test_slow_optimizers_are_left_out_of_large_networks_unless_asked_for(self):
        large = "cp(in=2x2x2x2x2x2x2, out=2x2x2x2x2x2x2, rank=2)"
        grid = make_grid(large, networks=[])
        assert grid.optimizers_for(grid.choices[0]) == ("auto", "greedy")
        assert make_grid(large, networks=[], optimizers=["dp"]).optimizers == ("dp",)

    @pytest.mark.parametrize(
        ("text", "options", "message"),
        [
            ("mpo(bond=4)", {}, "mpo.bond=4. is a template: it has no sizes"),
            (SPEC, {"batches": [0]}, "batch=0: every number must be an integer of at least 1"),
            (SPEC, {"bonds": [0]}, "bond=0: every number must be an integer of at least 1"),
            (SPEC, {"networks": ["mps"]}, "no network type 'mps'"),
            (SPEC, {"networks": ["diagonal"]}, "diagonal"),
        ],
    )
    def test_refusals(self, text, options, message):
        with pytest.raises(tnl.TNLayersError, match=message):
            make_grid(text, **options)


@pytest.fixture(scope="module")
def data():
    return page_data(make_grid(SPEC, batches=[1, 8], bonds=[2], networks=["cp"], optimizers=["auto", "greedy"]))


class TestPage:
    def test_it_holds_the_plans_of_the_planner(self, data):
        (mpo, cp) = data["parts"][0]["networks"]
        assert [each["bond"] for each in mpo["bonds"]] == ["2", "4"]
        assert [each["spec"] for each in cp["bonds"]] == ["cp(in=2x3x2, out=2x2x3, rank=2)"]
        for network in (mpo, cp):
            for each in network["bonds"]:
                simple = [(found["objective"], found["limit"]) == ("forward", "none") for found in each["plans"]]
                assert {
                    (found["batch"], found["optimizer"]) for found in itertools.compress(each["plans"], simple)
                } == set(itertools.product((1, 8), ("auto", "greedy")))
                for found in each["plans"]:
                    if "refused" in found:
                        assert "memory_limit" in found["refused"]
                        continue
                    free = tnl.plan(each["spec"], found["batch"], optimize=found["optimizer"])
                    limit = None if found["limit"] == "none" else int(Fraction(found["limit"]) * free.memory)
                    wanted = tnl.plan(
                        each["spec"],
                        found["batch"],
                        optimize=found["optimizer"],
                        objective=found["objective"],
                        memory_limit=limit,
                    )
                    assert (found["path"], found["chunk"]) == (wanted.path, wanted.chunk)
                    assert (found["copied"], found["memory"]) == (wanted.cost.copied, wanted.memory)

    def test_it_is_one_file_that_loads_nothing(self, data):
        text = page(data)
        assert "{{" not in text
        assert len(re.findall("<script", text)) == text.count("</script>") == 2
        assert not re.search(r"\b(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
        assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}

    def test_names_in_the_data_cannot_end_the_script(self, data):
        text = page(data | {"title": "</script><b>"})
        assert "</script><b>" not in text

    def test_a_page_of_more_than_two_megabytes_is_refused_with_the_mend(self, data):
        (mpo, cp) = data["parts"][0]["networks"]
        many = [each | {"plans": each["plans"] * 2000} for each in mpo["bonds"]]
        with pytest.raises(tnl.TNLayersError, match=r"its [\d,]+ plans.*below 2,000,000.*--batch"):
            page(data | {"parts": [{"name": "", "networks": [mpo | {"bonds": many}, cp]}]})

    def test_where_it_cannot_be_written(self, data, tmp_path):
        with pytest.raises(tnl.TNLayersError, match=r"not as 'a.htm': name it a.html"):
            save_page(data, "a.htm")
        with pytest.raises(tnl.TNLayersError, match=r"there is no folder .*none"):
            save_page(data, tmp_path / "none" / "a.html")
        (tmp_path / "a.html").mkdir()
        with pytest.raises(tnl.TNLayersError, match=r"The page cannot be written to .*Is a directory"):
            save_page(data, tmp_path / "a.html")


class TestCommand:
    ARGUMENTS = ("explore", SPEC, "--batch", "1", "--bond", "2", "--network", "cp", "--optimize", "greedy")

    def run(self, *arguments):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        return stopped.value.code

    def test_it_writes_the_page_and_says_so(self, tmp_path, capsys):
        file = tmp_path / "page.html"
        assert self.run(*self.ARGUMENTS, "-o", str(file)) == 0
        out, err = capsys.readouterr()
        assert out == f"{file}: 10 plans, {file.stat().st_size / 1000:.0f} kB. Open it in a browser.\n"
        assert err == ""

    def test_json(self, tmp_path, capsys):
        file = tmp_path / "page.html"
        assert self.run(*self.ARGUMENTS, "-o", str(file), "--json") == 0
        reply = json.loads(capsys.readouterr().out)
        assert reply == {
            "format": "tnlayers.explored/1",
            "file": str(file),
            "bytes": file.stat().st_size,
            "plans": 10,
            "batches": [1],
            "networks": {
                "mpo": ["mpo(in=2x3x2, out=2x2x3, bond=2)", SPEC],
                "cp": ["cp(in=2x3x2, out=2x2x3, rank=2)"],
            },
            "optimizers": ["greedy"],
        }

    def test_errors_are_one_paragraph(self, capsys):
        assert self.run("explore", SPEC, "-o", "page.pdf") == 1
        assert capsys.readouterr().err == (
            "error: The explorer is written as .html, not as 'page.pdf': name it page.html.\n"
        )
