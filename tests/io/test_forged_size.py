"""What a file may ask for is bounded by what it carries: forged files are refused in two seconds."""

import json

import numpy as np
import pytest
from promptly import assert_prompt

import tnlayers as tnl
from tnlayers.declare.graph import Core, Graph
from tnlayers.io.container import Stored, read, write
from tnlayers.io.spec_data import MOST_AXES_IN_ALL, MOST_CORES, graph_to_data


def chain(cores, own=()):
    """A file of a network of so many cores on bonds of size 2, each with `own` axes of size 1 more."""
    sizes, axes = [2, 2], [[0], *([] for _ in range(cores - 2)), [1]]
    for k in range(cores - 1):
        axes[k].append(len(sizes))
        axes[k + 1].append(len(sizes))
        sizes.append(2)
    for a, b in own:
        axes[a].append(len(sizes))
        axes[b].append(len(sizes))
        sizes.append(1)
    cores = tuple(Core(f"core_{k}", tuple(own)) for k, own in enumerate(axes))
    return Graph(cores=cores, sizes=tuple(sizes), inputs=(0,), outputs=(1,))


def save(path, graph, backend):
    arrays = {
        core.name: Stored(dtype="float32", shape=shape, data=np.ones(shape, np.float32).tobytes())
        for core in graph.cores
        for shape in [tuple(graph.sizes[i] for i in core.indices)]
    }
    data = {
        "cores": [[core.name, list(core.indices)] for core in graph.cores],
        "sizes": list(graph.sizes),
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }
    layer = {"paths": [""], "kind": "linear", "keywords": {}, "dtype": "float32", "graphs": [data]}
    layer["spec"] = {"network": "chain", "in_modes": [2], "out_modes": [2]}
    header = {"format": "tnlayers format 1", "library": "0.1.0", "object": "layer", "backend": backend}
    write(path, json.dumps(header | {"layers": [layer], "tied": {}, "complex": [], "info": {}}), arrays)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("cores", [2, MOST_CORES, MOST_CORES + 1, 1024])
def test_a_chain_is_loaded_or_refused_in_two_seconds(tmp_path, backend, cores):
    save(tmp_path / "chain", chain(cores), backend)

    def load_or_refuse():
        try:
            layer = tnl.load(tmp_path / "chain")
            assert cores <= MOST_CORES
            assert np.asarray(layer.to_dense().detach() if backend == "torch" else layer.to_dense()).shape == (2, 2)
        except tnl.TNLayersError:
            assert cores > MOST_CORES

    assert_prompt(load_or_refuse, 2)


def test_a_graph_of_many_axes_alike(tmp_path):
    own = [(a, b) for a in range(40) for b in range(a + 2, 40)]
    save(tmp_path / "many", chain(40, own[: (MOST_AXES_IN_ALL - 80) // 2]), "numpy")
    assert_prompt(lambda: tnl.load(tmp_path / "many"), 2)
    save(tmp_path / "more", chain(40, own[: MOST_AXES_IN_ALL // 2]), "numpy")
    with pytest.raises(tnl.TNLayersError, match=f"takes {MOST_CORES} cores with {MOST_AXES_IN_ALL} axes"):
        tnl.load(tmp_path / "more")


def test_what_could_not_be_loaded_is_not_saved():
    with pytest.raises(tnl.TNLayersError, match="fewer and larger modes"):
        graph_to_data(chain(MOST_CORES + 1))


@pytest.mark.parametrize("name", ["fc2", "lenet5", "resnet20", "resnet9998-k99", "vgg16", "nothing"])
@pytest.mark.parametrize("kind", ["layer", "model", "module"])
def test_another_object_than_was_saved(small, kind, name):
    def change(header):
        header.update({"object": kind, "backend": "torch"} | ({"model": name} if kind == "model" else {}))

    metadata, arrays = read(small[2] / "layer")
    header = json.loads(metadata["tnlayers"])
    change(header)
    path = small[2] / "other"
    write(path, json.dumps(header), arrays)
    if kind == "layer":
        tnl.load(path)
    else:
        with pytest.raises(tnl.TNLayersError, match="no layer where one should be"):
            tnl.load(path)


def test_a_model_of_more_layers_than_the_file_has_arrays(tmp_path):
    tnl.save(tnl.models.build("fc2", network="dense"), tmp_path / "fc2")
    metadata, arrays = read(tmp_path / "fc2")
    header = json.loads(metadata["tnlayers"]) | {"model": "resnet9998-k99"}
    write(tmp_path / "forged", json.dumps(header), arrays)
    with pytest.raises(tnl.TNLayersError, match="has 9998 layers"):
        tnl.load(tmp_path / "forged")


@pytest.mark.parametrize("name", tnl.models.names())
def test_every_model_has_the_arrays_that_its_name_says(name):
    import torch

    from tnlayers.io.header import Header
    from tnlayers.io.loading import _check_depth
    from tnlayers.io.model_registry import model_maker

    with torch.device("meta"):
        state = model_maker(name)("dense").state_dict()
    _check_depth(Header(object="model", backend="torch", layers=(), library="", model=name), state)


@pytest.mark.parametrize("dtype", ["int8", "bool", "uint64", "int32"])
@pytest.mark.parametrize("what", ["core_0", "bias", "conv1.weight", "conv1.bias"])
def test_integers_where_numbers_belong(tmp_path, dtype, what):
    torch_layer = tnl.build("mpo(in=2x2, out=2x1, bias=true, bond=2)", backend="torch", seed=0)
    thing = tnl.models.build("lenet5", network="mpo") if "." in what else torch_layer
    tnl.save(thing, tmp_path / "file")
    metadata, arrays = read(tmp_path / "file")
    shape = arrays[what].shape
    width = np.dtype(dtype).itemsize
    arrays[what] = Stored(dtype=dtype, shape=shape, data=bytes(int(np.prod(shape)) * width))
    write(tmp_path / "forged", metadata["tnlayers"], arrays)
    with pytest.raises(tnl.TNLayersError, match=dtype):
        tnl.load(tmp_path / "forged")
    if "." not in what:
        header = json.loads(metadata["tnlayers"])
        header["layers"][0]["dtype"] = dtype
        write(tmp_path / "forged", json.dumps(header), arrays)
        with pytest.raises(tnl.TNLayersError, match="a dtype that is none of"):
            tnl.load(tmp_path / "forged")
