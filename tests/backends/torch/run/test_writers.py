"""After any write to a core, by whatever means, the next call uses the cores as they are."""

import copy
import sys
import threading

import pytest
import torch
import torch.distributed as dist
from tnlayers_backends.torch.run import snapshot
from torch import nn
from writers import WRITERS, write_in_another_process

import tnlayers as tnl

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")  # bonds that are clipped at these sizes

BATCHES = (1, 5, 128)
NETWORKS = (
    "mpo(bond=4)",
    "ring(bond=3)",
    "cp(rank=5)",
    "lowrank(rank=4)",
    "btt(rank=2)",
    "mpo(bond=2) + lowrank(rank=2)",
)


def _linear(network):
    return tnl.nn.TNLinear(48, 36, network=network, seed=1), lambda n: (torch.randn(n, 48),)


def _tensor_linear(network):
    if "+" in network:  # the terms of a sum need their modes
        network = "mpo(in=6x8, out=6x6, bond=2) + lowrank(in=48, out=36, rank=2)"
    return tnl.nn.TNTensorLinear((6, 8), (6, 6), network=network, seed=1), lambda n: (torch.randn(n, 6, 8),)


def _flat_conv(network):
    layer = tnl.nn.TNConv2d(3, 4, 3, network=network, view="flat", in_size=4, seed=1)
    return layer, lambda n: (torch.randn(n, 3, 4, 4),)


def _conv(network):
    layer = tnl.nn.TNConv1d(8, 6, 3, network=network, seed=1)
    return layer, lambda n: (torch.randn(n, 8, 5),)


def _embedding(network):
    return tnl.nn.TNEmbedding(48, 36, network=network, seed=1), lambda n: (torch.randint(48, (n,)),)


def _attention(network):
    layer = tnl.nn.TNMultiheadAttention(24, 4, network=network, batch_first=True, seed=1)
    return layer, lambda n: (torch.randn(n, 3, 24),) * 3


def _lstm(network):
    return tnl.nn.TNLSTM(12, 8, network=network, seed=1), lambda n: (torch.randn(4, n, 12),)


def _cell(network):
    return tnl.nn.TNGRUCell(12, 8, network=network, seed=1), lambda n: (torch.randn(n, 12),)


def _adapter(network):
    base = nn.Linear(48, 36)
    return tnl.nn.TNAdapter(base, network=network), lambda n: (torch.randn(n, 48),)


KINDS = {
    "linear": _linear,
    "tensor linear": _tensor_linear,
    "flat convolution": _flat_conv,
    "convolution": _conv,
    "embedding": _embedding,
    "attention": _attention,
    "LSTM": _lstm,
    "GRU cell": _cell,
    "adapter": _adapter,
}


def first(output):
    return output[0] if isinstance(output, tuple) else output


def layers(model):
    return [layer for layer in model.modules() if hasattr(layer, "cores")]


def cores(model):
    return [core for layer in layers(model) for core in layer.cores.values()]


class Used:
    """A model that has answered twice for every batch, so that whatever it caches is cached, and a copy of it.

    Args:
        kind: One of `KINDS`.
        network: Its network.
    """

    def __init__(self, kind, network):
        torch.manual_seed(0)
        self.model, make = KINDS[kind](network)
        self.model.eval()
        self.fresh = copy.deepcopy(self.model)
        self.inputs = [make(n) for n in BATCHES]
        for _ in range(2):
            self.agrees()

    @torch.no_grad()
    def agrees(self):
        """The model answers as a copy of it does that has nothing cached."""
        for old, new in zip(self.model.parameters(), self.fresh.parameters(), strict=True):
            new.data = old.detach().clone()
        for each in self.inputs:
            for layer in layers(self.fresh):
                layer.invalidate()
            close(first(self.model(*each)), first(self.fresh(*each)))


def close(seen, true):
    """Equal but for rounding: two calls of one plan may differ in it, by where their memory lies."""
    assert (seen - true).abs().max() <= 1e-5 * true.abs().max(), "old weights were used"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_writer(kind, network):
    used = Used(kind, network)
    for name, write in WRITERS.items():
        before = [core.detach().clone() for core in cores(used.model)]
        for core in cores(used.model):
            write(core)
        assert any(not torch.equal(a, b) for a, b in zip(before, cores(used.model), strict=True)), name
        used.agrees()
        for core, values in zip(cores(used.model), before, strict=True):
            core.data = values


@pytest.mark.parametrize("kind", ["linear", "attention", "GRU cell"])
def test_one_core_alone(kind):
    """Each core by itself, so that no other core's change gives the write away."""
    used = Used(kind, "mpo(bond=4)")
    for core in cores(used.model):
        WRITERS["one bit of one entry"](core)
        used.agrees()


@pytest.mark.parametrize("kind", KINDS)
def test_writes_of_other_processes(kind, tmp_path):
    used = Used(kind, "mpo(bond=4)")
    before = [core.detach().clone() for core in cores(used.model)]
    write_in_another_process(cores(used.model), tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(before, cores(used.model), strict=True))
    used.agrees()


def test_views_of_one_flat_vector():
    used = Used("linear", "mpo(bond=4)")
    flat = nn.utils.parameters_to_vector(used.model.parameters()).detach()
    nn.utils.vector_to_parameters(flat, used.model.parameters())  # the parameters are views of it now
    used.agrees()
    flat.mul_(0.5)
    used.agrees()
    flat.numpy()[3] += 1.0
    used.agrees()


def test_collectives(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        used = Used("linear", "mpo(bond=4)")
        for core in cores(used.model):
            core.data.mul_(0.5)
            dist.broadcast(core.detach(), 0)
            dist.all_reduce(core.detach(), op=dist.ReduceOp.SUM)
        used.agrees()
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_tensors_and_moves_that_swap(kind):
    used = Used(kind, "mpo(bond=4)")
    for core in cores(used.model):
        torch.utils.swap_tensors(core, nn.Parameter(core.detach() * 0.5))
    used.agrees()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        used.model.double()
        used.model.to(torch.float32)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    used.agrees()


def test_parameters_made_in_inference_mode():
    with torch.inference_mode():
        layer = tnl.nn.TNLinear(48, 36, network="mpo(bond=4)", seed=1).eval()
        x = torch.randn(5, 48)
        layer(x)
        for core in layer.cores.values():
            core.mul_(0.5)
        close(layer(x), copy.deepcopy(layer)(x))


def test_a_fused_optimizer_between_evaluations():
    torch.manual_seed(0)
    model = nn.Sequential(tnl.nn.MPOLinear(784, 256, bond_dim=16), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    x, target = torch.randn(64, 784), torch.randint(10, (64,))
    losses = []
    for _ in range(5):
        with torch.no_grad():
            seen = nn.functional.cross_entropy(model(x), target)
            true = nn.functional.cross_entropy(copy.deepcopy(model)(x), target)
        assert abs(seen - true) <= 1e-5 * true
        losses.append(float(seen))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2


@pytest.fixture
def many_switches():
    """Threads take turns often, so that they meet in the middle of what they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("many_switches")
def test_a_state_dict_loaded_while_another_thread_infers():
    layer = tnl.nn.TNLinear(16, 16, network="mpo(cores=2, bond=4)", seed=1).eval()
    states = [tnl.nn.TNLinear(16, 16, network="mpo(cores=2, bond=4)", seed=seed).state_dict() for seed in (2, 3)]
    x = torch.randn(5, 16)
    expected = []
    for state in states:
        layer.load_state_dict(state)
        with torch.no_grad():
            expected.append(copy.deepcopy(layer)(x))
    ready, done, wrong = threading.Barrier(2), threading.Barrier(2), 0

    def infer():
        with torch.no_grad():
            for _ in range(1000):
                ready.wait()
                layer(x)
                layer(x)
                done.wait()

    other = threading.Thread(target=infer)
    other.start()
    for turn in range(1000):
        ready.wait()
        layer.load_state_dict(states[turn % 2])
        done.wait()
        with torch.no_grad():
            wrong += bool((layer(x) - expected[turn % 2]).abs().max() > 1e-4)
    other.join()
    assert wrong == 0


def test_training_drops_what_is_cached():
    layer = tnl.nn.MPOLinear(784, 256)
    with torch.no_grad():
        layer(torch.randn(5, 784))
    assert layer._prepared.nbytes > 0
    layer(torch.randn(5, 784)).sum().backward()
    assert layer._prepared.nbytes == 0


def test_the_table_has_teeth(monkeypatch):
    """Without the comparison of contents most writers go unseen."""
    monkeypatch.setattr(snapshot, "_differ", lambda *_: 0)
    used = Used("linear", "mpo(bond=4)")
    for core in cores(used.model):
        core.data.mul_(0.5)
    with pytest.raises(AssertionError, match="old weights"):
        used.agrees()
