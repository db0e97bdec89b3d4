"""The prices that the explorer's page counts in a browser, against Python's."""

import json
import random
import warnings

import chromium
import pytest
from contraction_paths import random_path
from explorer_page import FIELDS, counts
from specs import MARKET

import tnlayers as tnl
from tnlayers.declare.graph import forward
from tnlayers.draw.steps import byte_text
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import Choice, Grid, of_spec
from tnlayers.explore.prices import step_prices, total
from tnlayers.planning.plan import Plan
from tnlayers.planning.text import amount

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium here: apt install chromium"),
]


def test_prices_of_random_orders_are_pythons(page):
    """Every network type, operands with diagonals and lonely axes, hyperedges: each step, exactly."""
    for number, text in enumerate(MARKET.values()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tnl.TNLayersWarning)
            made = tnl.spec(text)
        grid = Grid(choices=(Choice("", of_spec(made)),), batches=(6,), optimizers=("greedy",))
        network = page_data(grid)["parts"][0]["networks"][0]["bonds"][0]
        contraction = forward(made.graph, 6)
        for seed in range(3):
            path = random_path(len(contraction.operands), 100 * number + seed)
            for dtype in ("float32", "float64")[: 1 + (seed == 0)]:
                call = pricing(network, contraction, path, dtype)
                message = page.ask(f"{call}.map(s => [s.flops, s.bytes, s.result, s.memory].map(String))")
                prices = step_prices(Plan(contraction=contraction, path=path, dtype=dtype))
                assert [tuple(map(int, each)) for each in message] == [
                    (price.flops, price.bytes, price.largest, price.memory) for price in prices
                ], (text, path)


def pricing(network, contraction, path, dtype="float32"):
    """A call of the page's own function."""
    return f"priced({json.dumps(network)}, {json.dumps(contraction.sizes)}, {json.dumps(path)}, ITEMSIZES.{dtype})"


def test_prices_are_exact_beyond_floating_point(page):
    """Outer products of a large layer: more flops than a double can count."""
    made = tnl.spec("mpo(in=16x17x19x23, out=23x19x17x16, bond=101)")
    contraction = forward(made.graph, 4097)
    grid = Grid(choices=(Choice("", of_spec(made)),), batches=(1,), optimizers=("greedy",))
    network = page_data(grid)["parts"][0]["networks"][0]["bonds"][0]
    path = ((1, 3), (2, 4), (5, 6), (0, 7))
    call = f"totals({pricing(network, contraction, path)})"
    message = page.ask(f"(t => [t.flops, t.bytes, t.largest, t.memory].map(String))({call})")
    price = total(step_prices(Plan(contraction=contraction, path=path)))
    assert price.flops > 2**53
    assert dict(zip(FIELDS, map(int, message), strict=True)) == counts(price)
    wider = Plan(contraction=forward(made.graph, 4098), path=path)
    assert int(message[0]) < total(step_prices(wider)).flops  # teeth: one row more is seen


def test_numbers_are_written_as_plans_print_them(page):
    draw = random.Random(0)
    numbers = [draw.randrange(10 ** draw.randrange(1, 20)) for _ in range(300)]
    numbers += [0, 999, 1000, 1125, 1375, 10_050, 999_499, 999_500, 2_125_000]
    message = page.ask(f"{json.dumps(list(map(str, numbers)))}.map(n => [amount(BigInt(n)), byteText(BigInt(n))])")
    assert message == [[amount(n), byte_text(n)] for n in numbers]
