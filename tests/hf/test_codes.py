"""Models of transformers in few bits: they run, and what `save_pretrained` would write wrongly is refused."""

from __future__ import annotations

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from small_pretrained import outputs, pretrained  # noqa: E402
from tnlayers_backends.torch.layers.quantised import all_codes  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_models_run_save_and_load(name, tmp_path):
    import tnlayers.hf  # noqa: F401

    model = pretrained(name)
    found = tnl.quantise(model, 8)
    assert {one.kind for one in found.layers} & {"Conv1D", "Linear"}
    first, second = outputs(model, name), outputs(found.model, name)
    assert 0 < (first - second).abs().max() < 0.1 * first.abs().max()
    tnl.save(found.model, tmp_path / "model.safetensors")
    again = tnl.load(tmp_path / "model.safetensors", into=pretrained(name)).eval()
    assert torch.equal(outputs(again, name), second)
    with pytest.raises(tnl.TNLayersError, match="codes of few bits"):
        found.model.save_pretrained(tmp_path / "folder")
    plain = tnl.dequantise(found.model)
    assert not all_codes(plain)
    plain.save_pretrained(tmp_path / "plain")
    torch.testing.assert_close(outputs(type(model).from_pretrained(tmp_path / "plain").eval(), name), second)
