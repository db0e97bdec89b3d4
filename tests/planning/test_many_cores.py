"""Networks of very many cores: planned in little time, or refused in words before any search; recursion nowhere."""

import json
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from promptly import assert_prompt, least_seconds

import tnlayers as tnl
from tnlayers.declare.graph import MOST_CORES, MOST_ENTRIES
from tnlayers.planning import choosing, grouping, paths
from tnlayers.planning.choosing import plan_contraction

OBJECTIVES = ("forward", "training", "inference")
SECONDS = 2  # of processor time, for one plan


@tnl.network("deep")
def deep(in_modes, out_modes, bond_dim=4, depth=10):
    """A product of many small matrices: many cores, few features."""
    net = tnl.Declaration()
    last = net.core("first", inp=in_modes[0], right=bond_dim)
    for k in range(depth):
        core = net.core(f"inner_{k}", left=bond_dim, right=bond_dim)
        last["right"] ^ core["left"]
        last = core
    core = net.core("last", left=bond_dim, out=out_modes[0])
    last["right"] ^ core["left"]
    return net.linear(inputs=[net._nodes[0]["inp"]], outputs=[core["out"]])


def squares(cores):
    modes = "x".join(["2"] * cores)
    return f"mpo(in={modes}, out={modes}, bond=4)"


def by_turns(cores):
    return f"mpo(in={'x'.join(['2', '1'] * (cores // 2))}, out={'x'.join(['1', '2'] * (cores // 2))}, bond=4)"


def grid(cores):
    return by_turns(cores).replace("mpo", "peps").replace("bond=4", "bond=2")


def hyperedges(cores):
    return by_turns(cores).replace("mpo", "kronecker").replace("bond=4", "terms=3")


def inner(cores):
    return f"deep(in=16, out=16, bond=4, depth={cores - 2})"


MAKERS = {maker.__name__: maker for maker in (squares, by_turns, grid, hyperedges, inner)}


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """The first plan of a process imports modules for longer than it plans."""
    tnl.plan(squares(3), 1)


@pytest.fixture(autouse=True)
def without_files(monkeypatch):
    """Plans are searched, not read."""
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "0")


def clear_caches():
    """Nothing that an earlier try found is there for the next."""
    for module in (choosing, grouping, paths):
        for found in vars(module).values():
            if hasattr(found, "cache_clear"):
                found.cache_clear()


def spent(ask):
    """The processor time of something, the least of a few tries, and whether it was refused in words."""
    messages = []

    def once():
        clear_caches()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tnl.TNLayersWarning)
                ask()
            messages.append(None)
        except tnl.TNLayersError as error:
            messages.append(str(error))

    seconds = least_seconds(once, SECONDS)
    assert all(message is None or 40 < len(message) <= 2000 for message in messages)
    assert len({message is None for message in messages}) == 1
    return seconds, messages[0] is not None


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("cores", [60, 100, 300, 1000])
def test_planned_in_time_or_refused_at_once(name, cores):
    text = MAKERS[name](cores)
    for objective in OBJECTIVES:
        seconds, refused = spent(partial(tnl.plan, text, 1, objective=objective))
        assert seconds < SECONDS
        if refused:
            break
    assert refused == (cores > MOST_CORES or (name == "squares" and cores > 60))


@pytest.mark.parametrize("operands", [100, 256, 1000])
def test_an_equation_of_many_operands(operands):
    letters = [chr(0x4E00 + k) for k in range(operands + 1)]
    equation = ",".join(a + b for a, b in pairwise(letters)) + f"->{letters[0]}{letters[-1]}"
    found = []
    seconds, refused = spent(lambda: found.append(tnl.from_einsum(equation, [(2, 2)] * operands)))
    assert seconds < 2 * SECONDS
    assert refused == (operands > 2 * MOST_CORES + 2)
    if operands == 256:
        turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # a quarter
        assert np.array_equal(found[0](*[turn] * operands), np.eye(2))


def test_a_layer_of_as_many_cores_as_there_may_be():
    """Declared, clipped, lowered, drawn, described, written, built, run and trained."""
    spec = tnl.spec(inner(MOST_CORES))
    plan = tnl.plan(spec, 8, objective="training")
    assert tnl.Plan.from_json(plan.to_json()) == plan
    assert json.loads(plan.to_json())["path"]
    assert len(str(plan).splitlines()) > 2 * MOST_CORES
    assert tnl.Spec.from_json(spec.to_json()) == spec
    assert "</svg>" in plan.draw().svg
    assert "</svg>" in spec.draw().svg
    layer = tnl.build(spec, "numpy", seed=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((8, 16))
    first, *others = (np.asarray(core) for core in layer.cores.values())
    y = x @ first
    for core in others:
        y = y @ core
    np.testing.assert_allclose(layer(x), y, rtol=1e-9)
    with pytest.raises(tnl.TNLayersError, match=f"at most {MOST_CORES} cores"):
        tnl.spec(inner(MOST_CORES + 1))


def test_no_vector_is_longer_than_an_array_can_be():
    assert tnl.spec(squares(62)).in_features == 2**62 < MOST_ENTRIES
    with pytest.raises(tnl.TNLayersError, match=r"63 input modes .* 2\^63"):
        tnl.spec(squares(63))
    with pytest.raises(tnl.TNLayersError, match=r"output modes .* 2\^199"):
        tnl.spec(f"cp(in=2x2, out={'x'.join(['1000'] * 20)}, rank=2)")


def test_results_that_no_array_can_hold_are_no_plan():
    """One bond of a billion after the other: any result that has eight of them has too many entries."""
    letters = "abcdefgh"
    pairs = [a + b for k, a in enumerate(letters) for b in letters[k + 1 :]]  # each with each
    names = dict(zip(pairs, "ABCDEFGHIJKLMNOPQRSTUVWXYZxy", strict=True))
    terms = ["".join(names["".join(sorted(a + b))] for b in letters if b != a) for a in letters]
    with pytest.raises(tnl.TNLayersError, match=r"more than 2\^63 entries"):
        tnl.from_einsum(",".join(terms) + "->", [(10**9,) * 7] * 8)


def test_messages_are_short_whatever_they_quote():
    error, warning = tnl.TNLayersError("a" * 5000 + "end"), tnl.TNLayersWarning("b" * 5000 + "end")
    for message in (error, warning):
        assert len(str(message)) <= 2000
        assert str(message).endswith("end")
        assert "3003 characters and more left out" in str(message)
    assert str(tnl.TNLayersError("short")) == "short"


def test_too_many_operands_are_refused_before_a_search():
    from tnlayers.declare.graph import Contraction

    count = 2 * MOST_CORES + 3
    contraction = Contraction(names=("x",) * count, operands=((0,),) * count, output=(0,), sizes=(2,))
    with pytest.raises(tnl.TNLayersError, match=f"{count} operands"):
        plan_contraction(contraction)


@pytest.mark.parametrize(("optimizer", "cores"), [("optimal", 9), ("branch-all", 11), ("branch-2", 20)])
def test_optimizers_that_would_not_end_are_refused_at_once(optimizer, cores):
    modes = "x".join(["2"] * cores)

    def ask():
        with pytest.raises(
            tnl.TNLayersError, match=f"tries more orders than can be tried for {cores + 1} operands.*'auto'"
        ):
            tnl.plan(f"mpo(in={modes}, out={modes}, bond=2)", 4, optimize=optimizer)

    assert_prompt(ask, SECONDS)
    assert tnl.plan("mpo(in=2x2x2, out=2x2x2, bond=2)", 4, optimize=optimizer).cost.flops > 0
