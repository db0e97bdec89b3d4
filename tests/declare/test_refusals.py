"""Whatever is wrong is a `TNLayersError` that names the part and the numbers, and nothing else escapes."""

import json

import pytest
import specs  # noqa: F401  declares the network types
from wrong_declarations import DECLARATIONS, edge_used_twice

import tnlayers as tnl

MPO = "mpo(in=2x3, out=3x2, bond=2)"


def network_of(body):
    def run():
        @tnl.network("broken")
        def broken(in_modes, out_modes, bond_dim=2):
            return body(in_modes, out_modes)

        return tnl.spec("broken(in=4x7, out=2x5)")

    return run


def swapped(in_modes, out_modes):
    net = tnl.Declaration()
    a = net.core("a", i=in_modes[0], j=in_modes[1], o=out_modes[0], p=out_modes[1])
    return net.linear(inputs=[a["j"], a["i"]], outputs=[a["o"], a["p"]])


def plan_json(**changes):
    data = json.loads(tnl.plan(MPO, 2).to_json())
    return lambda: tnl.Plan.from_json(json.dumps(data | changes))


def three_operands(inputs, output, sizes, memory_limit=None):
    return [(0, 1, 2)]


NETWORKS = {
    "KeyError inside": (
        network_of(lambda i, o: {}["bond"]),
        ["broken(in=4x7, out=2x5)", "KeyError: 'bond'"],
    ),
    "TypeError inside": (network_of(lambda i, o: len(3)), ["broken(", "TypeError"]),
    "returns None": (network_of(lambda i, o: None), ["broken(", "NoneType", "net.linear"]),
    "modes in another order": (network_of(swapped), ["input modes (7, 4)", "in=4x7"]),
    "refusal inside": (network_of(lambda i, o: edge_used_twice()), ["already joined", "[in broken(in=4x7"]),
    "no in_modes": (lambda: tnl.network("n")(lambda modes, out_modes: None), ["'n'", "'in_modes'"]),
    "bad type name": (lambda: tnl.network("a b")(lambda in_modes, out_modes: None), ["'a b'"]),
    "built-in name": (lambda: tnl.network("mpo")(lambda in_modes, out_modes: None), ["'mpo'", "built-in"]),
}

SPECS = {
    "modes do not multiply": (
        lambda: tnl.spec("mpo", 784, 256, in_modes=(4, 7, 7), out_modes=(4, 8, 8)),
        ["in=4x7x7 multiplies to 196", "784 input features", "in=7x14x8"],
    ),
    "padded modes do not": (lambda: tnl.spec("mpo(in=4x8, out=2x5, pad_in=3)", 30, 10), ["32", "less 3", "30"]),
    "lists differ": (lambda: tnl.spec("mpo(in=4x7x2, out=2x5)"), ["(4, 7, 2) has 3", "(2, 5) has 2"]),
    "core of modes 1": (lambda: tnl.spec("mpo(in=4x1x7, out=2x1x5)"), ["'core_1'", "all 1"]),
    "bond 0": (lambda: tnl.spec("mpo(in=4x7, out=2x5, bond=0)"), ["bond=0", "at least 1"]),
    "bond negative": (lambda: tnl.spec("mpo", 784, 256, bond_dim=-3), ["bond=-3"]),
    "bond no number": (lambda: tnl.spec("mpo(bond=wide)"), ["bond='wide'"]),
    "too few bonds": (lambda: tnl.spec("mpo(in=4x7x7, out=2x5x5, bond=4-4-4)"), ["3 bonds", "3 cores have 2"]),
    "too few equal bonds": (
        lambda: tnl.spec("mpo", in_modes=(4, 7, 7), out_modes=(2, 5, 5), bond_dim=(4,)),
        ["1 bonds", "3 cores"],
    ),
    "per bond where one number goes": (
        lambda: tnl.spec("ladder(in=2x3, out=2x2, bond=2-3)"),
        ["bond=2-3", "one number"],
    ),
    "mode 0": (lambda: tnl.spec("mpo(in=4x0, out=2x5)"), ["in=4x0"]),
    "modes as text": (lambda: tnl.spec("mpo", in_modes="4x7", out_modes=(2, 5)), ["in='4x7'"]),
    "nested modes": (lambda: tnl.spec({"network": "mpo", "in_modes": [[4]], "out_modes": [2]}), ["in="]),
    "one side only": (lambda: tnl.spec("mpo(in=4x7)"), ["mpo(in=4x7)", "out="]),
    "one size only": (lambda: tnl.spec("mpo", 784), ["out_features"]),
    "size 0": (lambda: tnl.spec("mpo", 0, 10), ["size=0 "]),
    "size as text": (lambda: tnl.spec("mpo", "784", 10), ["'784'"]),
    "cores and modes": (lambda: tnl.spec("mpo(in=4x7, out=2x5, cores=3)"), ["cores=3"]),
    "cores and one side": (lambda: tnl.spec("mpo(in=4x7, cores=3)", None, 10), ["cores=3"]),
    "all padding": (lambda: tnl.spec("mpo(in=2x2, out=2x5, pad_in=4)"), ["pad_in=4", "4 features"]),
    "all padding, one side": (lambda: tnl.spec("mpo(in=2x2, pad_in=4)", None, 10), ["pad_in=4", "4 features"]),
    "unknown type": (lambda: tnl.spec("mpq(bond=4)"), ["'mpq'", "mpo", "@tnl.network"]),
    "unknown keyword": (lambda: tnl.spec("mpo(bond=4, rnak=3)"), ["'rnak'", "bond"]),
    "unknown key in a mapping": (lambda: tnl.spec({"network": "mpo", "bnd": 3}), ["'bnd'"]),
    "bias in numbers": (lambda: tnl.spec("mpo(bias=1)"), ["bias", "1"]),
    "grammar": (lambda: tnl.spec("mpo(bond=4"), ["'mpo(bond=4'", "name(key=value"]),
    "grammar of a pair": (lambda: tnl.spec("mpo(bond:4)"), ["'bond:4'", "key=value"]),
    "key twice": (lambda: tnl.spec("mpo(bond=4, bond=5)"), ["'bond'", "twice"]),
    "key twice, long and short": (lambda: tnl.spec("mpo(bond=4, bond_dim=5)"), ["twice"]),
    "no spec": (lambda: tnl.spec(3), ["3", "mpo(bond=16)"]),
    "no JSON": (lambda: tnl.Spec.from_json("{bond"), ["not JSON"]),
    "JSON of a number": (lambda: tnl.Spec.from_json("3"), ["3"]),
    "JSON from no text": (lambda: tnl.Spec.from_json(3), ["not JSON"]),
    "no YAML": (lambda: tnl.Spec.from_yaml("a: ["), ["not YAML"]),
    "YAML from no text": (lambda: tnl.Spec.from_yaml(3), ["not YAML"]),
}

PLANS = {
    "batch 0": (lambda: tnl.plan(MPO, 0), ["batch=0 "]),
    "batch True": (lambda: tnl.plan(MPO, True), ["batch", "True"]),
    "batch 2.0": (lambda: tnl.plan(MPO, 2.0), ["batch", "2.0"]),
    "unknown optimizer": (lambda: tnl.plan(MPO, 2, optimize="best"), ["'best'", "dp", "'auto'"]),
    "no optimizer": (lambda: tnl.plan(MPO, 2, optimize=None), ["optimize=None"]),
    "number as optimizer": (lambda: tnl.plan(MPO, 2, optimize=5), ["optimize=5"]),
    "flat path": (lambda: tnl.plan(MPO, 2, optimize=[0, 1]), ["[0, 1]"]),
    "words as path": (lambda: tnl.plan(MPO, 2, optimize=[(0, "a")]), ["'a'"]),
    "three operands": (lambda: tnl.plan(MPO, 2, optimize=three_operands), ["Step 0", "(0, 1, 2)", "3 operands"]),
    "optimizer that returns nothing": (lambda: tnl.plan(MPO, 2, optimize=lambda *a: None), ["None"]),
    "short path": (lambda: tnl.plan(MPO, 2, optimize=[(0, 1)]), ["leaves 2 operands"]),
    "long path": (lambda: tnl.plan(MPO, 2, optimize=[(0, 1)] * 3), ["Step 2", "1 operands"]),
    "path out of range": (lambda: tnl.plan(MPO, 2, optimize=[(0, 5), (0, 1)]), ["Step 0", "(0, 5)"]),
    "one operand with itself": (lambda: tnl.plan(MPO, 2, optimize=[(1, 1), (0, 1)]), ["(1, 1)"]),
    "unknown objective": (lambda: tnl.plan(MPO, 2, objective="backward"), ["'backward'", "forward", "training"]),
    "unknown dtype": (lambda: tnl.plan(MPO, 2, dtype="float8"), ["'float8'", "float32"]),
    "dtype that is no word": (lambda: tnl.plan(MPO, 2, dtype=[]), ["[]"]),
    "plan of nothing": (lambda: tnl.plan(None, 2), ["None"]),
    "empty text": (lambda: tnl.Plan.from_json(""), ["not a plan"]),
    "no text": (lambda: tnl.Plan.from_json(None), ["not a plan"]),
    "list": (lambda: tnl.Plan.from_json("[]"), ["not a plan"]),
    "empty object": (lambda: tnl.Plan.from_json("{}"), ["not a plan", "format"]),
    "other format": (plan_json(format="tnlayers.plan/9"), ["'tnlayers.plan/9'", "'tnlayers.plan/1'"]),
    "path leaves some": (plan_json(path=[[0, 1]]), ["leaves 2 operands"]),
    "path reuses some": (plan_json(path=[[0, 1], [0, 2]]), ["Step 1", "(0, 2)"]),
    "path of triples": (plan_json(path=[[0, 1, 2]]), ["not a plan"]),
    "output of letters": (plan_json(output=["a"]), ["not a plan", "'a'"]),
    "output unknown": (plan_json(output=[50]), ["indices"]),
    "too few sizes": (plan_json(sizes=[2]), ["1 sizes"]),
    "negative sizes": (plan_json(sizes=[-2] * 6), ["sizes"]),
    "batch unknown": (plan_json(batch_index=77), ["77"]),
    "batch of letters": (plan_json(batch_index="q"), ["'q'"]),
    "features short": (plan_json(features=[1]), ["not a plan"]),
    "objective unknown": (plan_json(objective="x"), ["'x'"]),
    "dtype unknown": (plan_json(dtype="x"), ["'x'"]),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (("declaration", DECLARATIONS), ("network", NETWORKS), ("spec", SPECS), ("plan", PLANS))
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_refused_with_names_and_numbers(name):
    wrong, parts = CASES[name]
    with pytest.raises(tnl.TNLayersError) as caught:
        wrong()
    for part in parts:
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_the_cause_inside_a_network_function_stays_attached():
    with pytest.raises(tnl.TNLayersError) as caught:
        NETWORKS["KeyError inside"][0]()
    assert isinstance(caught.value.__cause__, KeyError)
