"""A table of networks that is damaged, forged, newer or missing is refused in words, and so are files that differ."""

from __future__ import annotations

import json
import shutil

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from small_pretrained import outputs, pretrained  # noqa: E402

import tnlayers.hf.table  # noqa: E402
from tnlayers.hf import quantizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = tnl.compress(pretrained("gpt2"), ratio=0.6, progress=False).model
    folder = tmp_path_factory.mktemp("gpt2")
    model.save_pretrained(folder)
    return model, folder


def load(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **more)


def changed(saved, folder, change, *, digest=True):
    """A copy of the folder with another table, with the digest that goes with it."""
    shutil.copytree(saved[1], folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    table = config["quantization_config"]
    change(table)
    if digest and isinstance(table.get("layers"), list):
        table["sha256"] = tnlayers.hf.table._digest(table["layers"])
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def layer(**entries):
    return lambda table: table["layers"][0]["layer"].update(entries)


def test_it_loads_unchanged(saved, tmp_path):
    again = load(changed(saved, tmp_path, lambda table: None))
    assert torch.equal(outputs(again, "gpt2"), outputs(saved[0], "gpt2"))


@pytest.mark.parametrize("more", [{}, {"dtype": torch.bfloat16}, {"ignore_mismatched_sizes": True}])
def test_without_the_import_loading_refuses(saved, monkeypatch, more):
    """As in a process that never imported tnlayers.hf: transformers asks its own function again."""
    wrapped = quantizer.auto.AutoHfQuantizer.supports_quant_method
    own = wrapped.__closure__[0].cell_contents
    assert own.__module__.startswith("transformers.")
    monkeypatch.setattr(quantizer.auto.AutoHfQuantizer, "supports_quant_method", staticmethod(own))
    for method in (load, transformers.GPT2Model.from_pretrained):
        with pytest.raises(ValueError, match="quantization config"):
            method(saved[1], **more)
    text = json.loads((saved[1] / "config.json").read_text())["quantization_config"]["tnlayers"]
    assert "import tnlayers.hf first" in text


def test_registering_twice_is_registering_once():
    known = quantizer.auto.AutoHfQuantizer.supports_quant_method
    quantizer.register()
    assert quantizer.auto.AutoHfQuantizer.supports_quant_method is known


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.update(format="tnlayers networks 2"), "upgrade tnlayers"),
        (lambda table: table.update(format=["x" * 9999]), "upgrade tnlayers"),
        (lambda table: table.pop("layers"), "saved without tnlayers.hf"),
        (lambda table: table.update(layers={}), "no list of layers"),
        (lambda table: table.update(layers=[{}] * 20_001), "no list of layers"),
        (lambda table: table.update(more=1), "has the keys"),
        (lambda table: table["layers"].append("x" * 9999), "an entry"),
        (lambda table: table["layers"][0].update(orders=["weight"]), "an entry"),
        (lambda table: table["layers"].append(table["layers"][0]), "two networks in one place"),
        (layer(kind="program"), "kind 'program'"),
        (layer(kind=["x"]), "no kind"),
        (layer(dtype="complex64"), "complex numbers"),
        (layer(paths=["transformer.h.7.attn.c_attn"]), "no module"),
        (layer(paths=["__class__"]), "in its header is at"),
        (layer(paths=["transformer.ln_f"]), "takes the place of"),
        (layer(graphs=[]), "0 graphs"),
        (layer(keywords={"weight": 1}), "is not known here"),
        (layer(spec={"network": "mpo", "in": [10**9], "out": [10**9], "bond": [1]}), "not valid"),
    ],
)
def test_a_changed_table_is_refused(saved, tmp_path, change, words):
    with pytest.raises(tnl.TNLayersError, match=words) as error:
        load(changed(saved, tmp_path, change))
    assert len(str(error.value)) <= 2000


@pytest.mark.parametrize(
    "change", [lambda table: table["layers"].pop(), layer(library="0.1"), lambda table: table.update(sha256=1)]
)
def test_damage_shows_by_the_digest(saved, tmp_path, change):
    """A layer that is missing in the table would leave a dense one, drawn at random."""
    with pytest.raises(tnl.TNLayersError, match="the digest is another"):
        load(changed(saved, tmp_path, change, digest=False))


@pytest.mark.parametrize("shape", [None, (3, 3)])
def test_files_without_the_cores_are_refused(saved, tmp_path, shape):
    from safetensors.torch import load_file, save_file

    folder = changed(saved, tmp_path, lambda table: None)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("core_1"))
    del tensors[name]
    if shape is not None:
        tensors[name] = torch.zeros(shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(tnl.TNLayersError, match="would be random"):
        load(folder, ignore_mismatched_sizes=True)


def test_orders_that_are_none_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file
    from tnlayers_backends.torch.layers.feature_orders import set_orders

    model = tnl.compress(pretrained("gpt2"), ratio=0.6, progress=False).model
    layer = next(one for one in model.modules() if isinstance(one, tnl.nn.TNLinear))
    set_orders(layer, list(range(layer.in_features)), None)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    next(value for name, value in tensors.items() if name.endswith("in_order"))[:2] = 1
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(tnl.TNLayersError, match="is no order"):
        load(tmp_path)


def test_a_layer_that_no_table_can_describe_is_saved_with_the_reason(tmp_path):
    class Own(tnl.nn.MPOLinear):
        pass

    model = pretrained("gpt2")
    model.transformer.h[0].attn.c_attn = Own(32, 96, cores=2)
    tnlayers.hf.attach(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(tnl.TNLayersError, match="Own is no layer"):
        load(tmp_path)
