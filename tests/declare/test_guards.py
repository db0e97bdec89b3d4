"""Refusals of declarations that no other file of tests raises, each with what was given and what is needed."""

import pytest

import tnlayers as tnl
from tnlayers.declare.grammar import LONGEST
from tnlayers.declare.graph import MOST_CORES


def one_core(in_modes, out_modes, way="a"):
    net = tnl.Declaration()
    core = net.core("core", inp=in_modes[0], out=out_modes[0])
    return net.linear(inputs=[core["inp"]], outputs=[core["out"]])


def no_core(in_modes, out_modes):
    net = tnl.Declaration()
    alone = net.copy(4, ["inp", "out"], name="alone")
    return net.linear(inputs=[alone["inp"]], outputs=[alone["out"]])


def declared(function, text, **keywords):
    tnl.network("guarded")(function)
    return tnl.spec(text, **keywords)


MANY = "x".join(["1"] * (MOST_CORES + 1))
REFUSALS = {
    "a long text": (lambda: tnl.spec("mpo" + " " * LONGEST), rf"a spec of {LONGEST + 3} characters; at most {LONGEST}"),
    "many cores": (lambda: tnl.spec(f"mpo(in={MANY}, out={MANY}, bond=1)"), f"at most {MOST_CORES} cores"),
    "no cores": (lambda: declared(no_core, "guarded(in=4, out=4)"), r"no cores, hence no parameters.*net\.core"),
    "a keyword": (
        lambda: declared(one_core, "guarded(in=4, out=4)", way=object()),
        "way=<object.*numbers, tuples of numbers, booleans and words",
    ),
    "a tuple": (lambda: declared(one_core, "guarded(in=4, out=4)", way=(1, 2)), "way=1-2: this takes one number"),
    "a split": (lambda: tnl.network("guarded", split=3), r"split=3 \(int\): a function of both sizes is needed"),
    "a large size": (lambda: tnl.factorise(2**40 + 1, 2), r"sizes up to 2\^40, got 1099511627777"),
    "no size": (lambda: tnl.factorise(0, 2), r"size=0 \(int\): an integer from 1"),
    "a truth for a size": (lambda: tnl.factorise(True, 2), r"size=True \(bool\): an integer from 1"),
    "no batch": (lambda: tnl.plan("mpo(in=4x4, out=4x4, bond=2)", batch=0), r"batch=0 \(int\): an integer from 1"),
    "a truth for a batch": (lambda: tnl.plan("mpo(in=4x4, out=4x4, bond=2)", batch=True), r"batch=True \(bool\)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused(name):
    ask, words = REFUSALS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()


def test_a_spec_is_added_to_a_spec_alone():
    spec = tnl.spec("mpo(in=4x4, out=4x4, bond=2)")
    assert len((spec + spec).terms) == 2
    for other in (3, "mpo(bond=2)", None):
        with pytest.raises(TypeError, match="unsupported operand"):
            spec + other
