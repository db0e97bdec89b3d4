"""Files whose header lies, with the digest that goes with it: a clear refusal, or what was saved."""

import json

import numpy as np
import pytest
from damaged import load_or_refusal, raw

import tnlayers as tnl
from tnlayers.io.container import Stored, digest, read, write


def forged(small, change, arrays=None):
    """The file with its header changed, and with the digest that goes with it."""
    metadata, own = read(small[2] / "layer")
    header = json.loads(metadata["tnlayers"])
    change(header)
    path = small[2] / "forged"
    write(path, json.dumps(header), own if arrays is None else own | arrays)
    return path


def into_layer(**entries):
    return lambda header: header["layers"][0].update(entries)


def into_graph(**entries):
    return lambda header: header["layers"][0]["graphs"][0].update(entries)


def into_header(**entries):
    return lambda header: header.update(entries)


def into_spec(**entries):
    return lambda header: header["layers"][0]["spec"].update(entries)


def twice(header):
    header["layers"] *= 2


def without_graph(header):
    header["layers"][0]["graphs"] = []


CORES = [["core_0", [0, 1, 2]], ["core_1", [2, 3, 4]]]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            into_header(format="tnlayers format 2"),
            "has format 'tnlayers format 2'.*reads 'tnlayers format 1' and older",
        ),
        (into_header(format="tnlayers format 0"), "has format 'tnlayers format 0'"),
        (into_header(format=["x"]), "has format"),
        (into_header(object="program"), "not those of tnlayers format 1"),
        (into_header(extra=1), "not those of tnlayers format 1"),
        (into_header(layers=[]), "no layer where one should be"),
        (into_header(layers={}), "no list where one should be"),
        (into_header(layers=[3]), "does not have paths, kind"),
        (into_header(info={"a": 1}), "a text that is none"),
        (into_header(tied={"core_1": "core_0"}), "both or none are there"),
        (into_header(tied={"a": "b", "b": "core_0"}), "tied itself"),
        (into_header(tied={"__class__": "core_0"}), "a text that is none"),
        (into_header(complex=["core_1"]), "no array of real and imaginary parts"),
        (into_header(complex=["nowhere"]), "no array of real and imaginary parts"),
        (twice, "puts two layers in one place"),
        (into_layer(paths=["a"]), "no layer where one should be"),
        (into_layer(paths=["../a"]), r"is at \['../a'\]"),
        (into_layer(kind="os.system"), "kind 'os.system'"),
        (into_layer(keywords={"device": "cuda"}), "device"),
        (into_layer(dtype="float64"), "has dtype float32, but its header says float64"),
        (into_layer(spec="mpo"), "a spec is a table"),
        (without_graph, "0 graphs for 1 networks"),
        (into_spec(network="os.system"), "the name of its network"),
        (into_spec(in_modes=[2, 4]), "other modes than its graph"),
        (into_spec(in_modes=[2, -2]), "must be an integer of at least 1"),
        (into_spec(pad_in=4), "leaves nothing"),
        (into_spec(pad_out=1), r"'bias' has shape \(2,\), but its network says \(1,\)"),
        (into_spec(bias=1), "bias must be true or false"),
        (into_spec(cores=2), "a layer has sizes"),
        (into_spec(bond_dim={"a": 1}), "an integer of at least 1 is needed"),
        (into_spec(**{"__class__ ": 1}), "keywords that are identifiers"),
        (into_graph(cores=[]), "1 to 128 cores"),
        (into_graph(cores=CORES * 600), "1 to 128 cores"),
        (into_graph(cores=[["core_0"]]), "a pair of its name and its indices"),
        (into_graph(cores=[["../core", [0, 1, 2]], CORES[1]]), "'../core' cannot be the name of a core"),
        (into_graph(cores=[["__class__", [0, 1, 2]], CORES[1]]), "'__class__' cannot be the name of a core"),
        (into_graph(cores=[["bias", [0, 1, 2]], CORES[1]]), "'bias' cannot be the name of a core"),
        (into_graph(cores=[CORES[0], CORES[0]]), "two cores have the same name"),
        (into_graph(cores=[CORES[0], ["core_1", [2, 3, 5]]]), "an integer from 0 to 4"),
        (into_graph(cores=[CORES[0], ["core_1", [2, 3, -1]]]), "an integer from 0 to 4"),
        (into_graph(cores=[CORES[0], ["core_1", [2, 3, True]]]), "an integer from 0 to 4"),
        (into_graph(cores=[CORES[0], ["core_1", [2, 3]]]), "no core has an index"),
        (into_graph(cores=[CORES[0], ["core_1", [2] * 63]]), "have 1 to 62 indices"),
        (into_graph(cores=[CORES[0], ["core_1", []]]), "have 1 to 62 indices"),
        (into_graph(cores=[CORES[0], ["core_2", [2, 3, 4]]]), "'core_2' is missing"),
        (into_graph(sizes=[2, 2, 2, 2, -1]), "an integer of at least 1"),
        (into_graph(sizes=[2, 2, 2, 2, 0]), "an integer of at least 1"),
        (into_graph(sizes=[2, 2, 3, 2, 1]), r"'core_0' has shape \(2, 2, 2\), but its network says \(2, 2, 3\)"),
        (into_graph(sizes=[2, 2, 2**60, 2, 1]), "but its network says"),
        (into_graph(sizes=[2, 2, 2**1000, 2, 1]), "costs are counted"),
        (into_graph(sizes=[2, 2, 2, 2, 1, 7]), "no core has an index"),
        (into_graph(inputs=[0, 0]), "an index is input twice"),
        (into_graph(inputs=[]), "have 1 to 62 indices"),
        (into_graph(inputs=[0, 9]), "an integer from 0 to 4"),
        (into_graph(outputs=[1, 2]), "other modes than its graph"),
        (into_graph(extra=1), "and nothing else"),
        (into_graph(cores=[["core_0", [0, 1, 2, 2]], ["core_1", [3, 4]]]), "'core_1' is not connected to 'core_0'"),
    ],
)
def test_a_header_that_lies_with_a_right_digest(small, change, part):
    path = forged(small, change)
    with pytest.raises(tnl.TNLayersError, match=part) as refusal:
        tnl.load(path)
    assert len(str(refusal.value)) < 1000


def places(node, at=()):
    """The way to each part of a JSON value, itself included."""
    yield at
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield from places(node[key], (*at, key))


def replaced(node, at, value):
    """A JSON value with one part replaced."""
    if not at:
        return value
    parts = dict(node) if isinstance(node, dict) else list(node)
    parts[at[0]] = replaced(parts[at[0]], at[1:], value)
    return parts


VALUES = [None, True, -1, 0, 2, 2**70, 10**400, 1.5, "", "x", "__class__", "mpo", [], [0], [0, 0], [[1]], {}, {"a": 1}]


def test_every_part_of_the_header_replaced_with_a_right_digest(small):
    """No value at any place makes it do anything but load or refuse."""
    data, _, folder = small
    length = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + length])
    _, arrays = read(folder / "layer")
    header = json.loads(outer["__metadata__"]["tnlayers"])
    loaded = 0
    for at in places(header):
        for value in VALUES:
            text = json.dumps(replaced(header, at, value))
            outer["__metadata__"] = {"tnlayers": text, "sha256": digest(text, arrays)}
            loaded += load_or_refusal(raw(outer, data[8 + length :]), folder) is not None
    assert loaded < 60  # an own version, info, a type's name or bond that nobody asks: these are the writer's


@pytest.mark.parametrize("name", ["core_2", "fc1.core_0", "other"])
def test_an_array_too_many(small, name):
    path = forged(small, lambda header: None, {name: Stored(dtype="float32", shape=(1,), data=bytes(4))})
    with pytest.raises(tnl.TNLayersError, match=name):
        tnl.load(path)


def test_an_array_of_another_dtype(small):
    cores = {"core_1": Stored(dtype="float64", shape=(2, 2, 1), data=bytes(32))}
    with pytest.raises(tnl.TNLayersError, match="'core_1' has dtype float64, but its header says float32"):
        tnl.load(forged(small, lambda header: None, cores))


def test_the_name_of_a_method_is_no_core_on_torch(small):
    """An identifier, but one that every torch module uses: nothing of the module is replaced."""
    cores = [["forward", [0, 1, 2]], CORES[1]]
    _, arrays = read(small[2] / "layer")
    path = forged(small, into_graph(cores=cores), {"forward": arrays["core_0"]})
    with pytest.raises(tnl.TNLayersError, match="'forward', which every torch module already uses"):
        tnl.load(path, backend="torch")


def test_a_network_that_would_run_for_ever_is_not_declared(small):
    """A known type with absurd keywords: only the graph counts, its function is not called."""
    called = []

    @tnl.network("endless")
    def endless(in_modes, out_modes, loops=1):
        called.append(loops)
        raise AssertionError

    layer = tnl.load(forged(small, into_spec(network="endless", loops=10**12)))
    assert layer(np.ones((1, 4), np.float32)).shape == (1, 2)
    assert not called
