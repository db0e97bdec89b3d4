"""Writes into a weight that is computed from cores: refused in words, whoever writes; reads are those of any tensor."""

from __future__ import annotations

import copy

import pytest
from computed_layers import HOLDERS, LAYERS

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn
init = nn.init
prune = pytest.importorskip("torch.nn.utils.prune")

WRITERS = {
    "xavier_uniform_": init.xavier_uniform_,
    "xavier_normal_": init.xavier_normal_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "kaiming_normal_": init.kaiming_normal_,
    "orthogonal_": init.orthogonal_,
    "trunc_normal_": init.trunc_normal_,
    "normal_": init.normal_,
    "uniform_": init.uniform_,
    "constant_": lambda w: init.constant_(w, 1.0),
    "zeros_": init.zeros_,
    "ones_": init.ones_,
    "copy_": lambda w: w.copy_(torch.zeros_like(w)),
    "fill_": lambda w: w.fill_(1.0),
    "zero_": lambda w: w.zero_(),
    "mul_": lambda w: w.mul_(2),
    "clamp_": lambda w: w.clamp_(-1, 1),
    "renorm_": lambda w: w.renorm_(2, 0, 1e-3),
    "add_ data": lambda w: w.data.add_(1),
    "data normal_": lambda w: w.data.normal_(std=0.02),
    "data copy_": lambda w: w.data.copy_(torch.zeros_like(w)),
    "data div_": lambda w: w.data.div_(w.data.norm()),
    "data clamp_": lambda w: w.data.clamp_(-1, 1),
    "detach zero_": lambda w: w.detach().zero_(),
    "data.detach": lambda w: w.data.detach().mul_(2),
    "item": lambda w: w.__setitem__(0, 0.0),
    "data item": lambda w: w.data.__setitem__((slice(None), 0), 0.0),
    "masked": lambda w: w.data.__setitem__(w.data > 0, 0.0),
    "row": lambda w: w[0].zero_(),
    "rows": lambda w: next(iter(w.unbind(0))).zero_(),
    "chunks": lambda w: w.chunk(2)[0].fill_(1),
    "transposed": lambda w: w.mT.copy_(torch.zeros_like(w.mT)),
    "flat": lambda w: w.view(-1).fill_(1.0),
    "viewed": lambda w: w.view_as(w).copy_(torch.ones_like(w)),
    "index_fill_": lambda w: w.index_fill_(0, torch.tensor([0]), 0.0),
    "masked_fill_": lambda w: w.masked_fill_(w > 0, 0.0),
    "torch.relu_": torch.relu_,
    "relu inplace": lambda w: nn.functional.relu(w, inplace=True),
    "out=": lambda w: torch.mul(torch.ones_like(w), 2, out=w),
    "foreach": lambda w: torch._foreach_mul_([w], 2.0),
    "augmented": lambda w: w.__imul__(2),
    "lerp_": lambda w: w.lerp_(torch.zeros_like(w), 0.5),
    "data =": lambda w: setattr(w, "data", torch.zeros_like(w)),
    "data.data =": lambda w: setattr(w.data, "data", torch.zeros_like(w)),
    "embedding max_norm": lambda w: nn.functional.embedding(torch.tensor([0]), w.flatten(1), max_norm=1e-3),
    "set_": lambda w: w.set_(torch.zeros_like(w)),
    "copy_ of another subclass": lambda w: w.copy_(torch.zeros_like(w).as_subclass(Other)),
}
ON_MATRICES = {"eye_": init.eye_, "sparse_": lambda w: init.sparse_(w, 0.5), "t_": lambda w: w.t().fill_(1.0)}


class Other(torch.Tensor):
    """Somebody else's tensor."""


def kept(layer):
    return {name: value.clone() for name, value in layer.state_dict().items()}


def assert_refused(layer, write, name="weight"):
    before = kept(layer)
    with pytest.raises(tnl.TNLayersError, match="is computed from its cores at each access") as caught:
        write(layer)
    assert len(str(caught.value)) < 2000
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", LAYERS)
def test_writes_are_refused(kind, writer, grad):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    with torch.set_grad_enabled(grad):
        if grad and writer in ("out=", "embedding max_norm", "rows", "chunks"):
            pytest.skip("torch itself refuses it for a tensor with a gradient")
        assert_refused(layer, lambda one: WRITERS[writer](one.weight))


@pytest.mark.parametrize("writer", [name for name in WRITERS if name not in ("embedding max_norm", "data.data =")])
def test_writes_in_inference_mode_are_refused(writer):
    layer = LAYERS["linear"]()
    with torch.inference_mode():
        assert_refused(layer, lambda one: WRITERS[writer](one.weight))
        assert layer.weight.requires_grad_(False).sum().isfinite()
        layer.weight.clone().zero_()


@pytest.mark.parametrize("writer", ON_MATRICES)
def test_writes_into_matrices_are_refused(writer):
    with torch.no_grad():
        assert_refused(LAYERS["linear"](), lambda one: ON_MATRICES[writer](one.weight))


@pytest.mark.parametrize("kind", HOLDERS)
def test_writes_into_layers_of_layers_are_refused(kind):
    make, names = HOLDERS[kind]
    for name in names:
        assert_refused(make(), lambda one, name=name: init.normal_(getattr(one, name)))
        assert_refused(make(), lambda one, name=name: setattr(one, name, nn.Parameter(torch.zeros(2))))
        assert_refused(make(), lambda one, name=name: setattr(one, name, torch.zeros(2)))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "write",
    [
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(16, 16))),
        lambda layer: setattr(layer, "weight", torch.zeros(16, 16)),
        lambda layer: setattr(layer, "weight", None),
        lambda layer: setattr(layer, "weight", layer.weight.clone()),
        lambda layer: setattr(layer, "weight", copy.deepcopy(layer).weight),  # equal, but of another layer
        lambda layer: delattr(layer, "weight"),
        lambda layer: layer.register_parameter("weight", nn.Parameter(torch.zeros(16, 16))),
        lambda layer: layer.register_buffer("weight", torch.zeros(16, 16)),
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
)
def test_assignments_are_refused(kind, write):
    assert_refused(LAYERS[kind](), write)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_may_be_assigned_to_where_it_is_from(kind):
    layer = LAYERS[kind]()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    stale = layer.weight
    layer.weight = stale
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)
    with pytest.raises(tnl.TNLayersError, match="an assignment"):
        layer.weight = stale


def test_augmented_assignments_are_refused():
    def doubled(layer):
        layer.weight *= 2

    def limited(layer):
        layer.weight.data = torch.renorm(layer.weight.data, 2, 0, 1e-3)

    assert_refused(LAYERS["linear"](), doubled)
    assert_refused(LAYERS["linear"](), limited)


def test_initialising_a_model_by_apply_is_refused():
    def start(module):
        if hasattr(module, "weight"):
            init.xavier_uniform_(module.weight)

    model = nn.Sequential(nn.Linear(16, 16), LAYERS["linear"]())
    assert_refused(model[1], lambda _: model.apply(start))


def test_the_refusal_names_the_layer_the_write_and_what_to_do():
    with pytest.raises(tnl.TNLayersError) as caught:
        init.xavier_uniform_(LAYERS["linear"]().weight)
    for words in ("weight of this MPOLinear", "uniform_", "layer.cores", "reset_parameters()", "load_dense", "clone()"):
        assert words in str(caught.value)
