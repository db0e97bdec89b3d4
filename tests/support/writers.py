"""Ways to write to a parameter, for tests of what is cached from it: most of them are seen by no version counter."""

import ctypes
import subprocess
import sys
import threading

import numpy as np
import torch
from torch import nn


def _halve(array):
    array *= 0.5


def _numpy_view(p):
    _halve(p.detach().numpy())


def _dlpack(p):
    _halve(np.from_dlpack(p.detach()))


def _buffer(p):
    _halve(np.frombuffer((ctypes.c_float * p.numel()).from_address(p.data_ptr()), dtype=np.float32))


def _memory(p):
    ctypes.memset(p.data_ptr(), 0, p.nbytes // 2)


def _storage(p):
    p.untyped_storage().copy_((p.detach() * 0.5).untyped_storage())


def _typed_view(p):
    p.detach().view(torch.int32).zero_()


def _flat(p):
    p.data.view(-1)[0] += 1.0


def _one_bit(p):
    view = p.detach().reshape(-1)[-1:].numpy().view(np.int32)
    view ^= 1 << 22


def _last_entry(p):
    p.detach().numpy().reshape(-1)[-1] += 0.5


def _swap_two(p):
    flat = p.detach().numpy().reshape(-1)
    flat[[0, -1]] = flat[[-1, 0]]


def _new_memory(p):
    p.data = p.data * 0.5


def _same_memory_other_strides(p):
    p.data = (p.data * 0.5).mT.contiguous().mT


def _set(p):
    with torch.no_grad():
        p.set_(p * 0.5)


def _another_thread(p):
    thread = threading.Thread(target=p.data.mul_, args=(0.5,))
    thread.start()
    thread.join()


def _vector_to_parameters(p):
    vector = torch.nn.utils.parameters_to_vector([p]).detach() * 0.5
    torch.nn.utils.vector_to_parameters(vector, [p])


def _clip(p):
    p.data.clamp_(-0.01, 0.01)


def _renorm(p):
    p.data.renorm_(2, 0, 0.01)


def _copy(p):
    p.data.copy_(torch.zeros_like(p))


def _foreach(p):
    torch._foreach_mul_([p.data], 0.5)


def _lerp(p):
    p.data.lerp_(torch.ones_like(p), 0.1)


def _index(p):
    p.data[..., 0] = 1.0


def _masked(p):
    p.data.masked_fill_(p.data > 0, 0.0)


def _no_grad(p):
    with torch.no_grad():
        p.mul_(0.5)


def _inference_mode(p):
    with torch.inference_mode():
        p.mul_(0.5)


def _init(p):
    nn.init.normal_(p.data)


def _preserved_version(p):
    with torch.autograd._unsafe_preserve_version_counter(p), torch.no_grad():
        p.mul_(0.5)


def _fused(kind, **options):
    def write(p):
        p.grad = torch.ones_like(p)
        kind([p], lr=0.1, fused=True, **options).step()

    return write


def _stepped(kind, **options):
    def write(p):
        p.grad = torch.ones_like(p)
        kind([p], lr=0.1, **options).step()

    return write


class ThroughData(torch.optim.Optimizer):
    """What optimizers from outside torch do (prodigy, lamb, yogi, adabelief, shampoo): they write through `.data`."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad.data, alpha=-group["lr"])


WRITERS = {
    "mul_ through data": lambda p: p.data.mul_(0.5),
    "add_ through data": lambda p: p.data.add_(0.5),
    "copy_ through data": _copy,
    "clamp_ through data": _clip,
    "zero_ through data": lambda p: p.data.zero_(),
    "fill_ through data": lambda p: p.data.fill_(0.25),
    "normal_ through data": _init,
    "lerp_ through data": _lerp,
    "renorm_ through data (max-norm)": _renorm,
    "an index through data": _index,
    "a mask through data": _masked,
    "one entry through a flat view": _flat,
    "foreach through data": _foreach,
    "detach": lambda p: p.detach().mul_(0.5),
    "a numpy view": _numpy_view,
    "dlpack": _dlpack,
    "a ctypes buffer": _buffer,
    "memset": _memory,
    "its storage": _storage,
    "a view of another dtype": _typed_view,
    "one bit of one entry": _one_bit,
    "the last entry": _last_entry,
    "two entries that change places": _swap_two,
    "data in new memory": _new_memory,
    "data with other strides": _same_memory_other_strides,
    "set_": _set,
    "vector_to_parameters": _vector_to_parameters,
    "another thread": _another_thread,
    "no_grad": _no_grad,
    "inference_mode": _inference_mode,
    "a version counter that is put back": _preserved_version,
    "SGD": _stepped(torch.optim.SGD),
    "SGD, foreach": _stepped(torch.optim.SGD, foreach=True),
    "SGD, fused": _fused(torch.optim.SGD),
    "Adam, fused": _fused(torch.optim.Adam),
    "AdamW, fused": _fused(torch.optim.AdamW),
    "Adagrad, fused": _fused(torch.optim.Adagrad),
    "LBFGS": lambda p: _lbfgs(p),
    "an optimizer that writes through data": _stepped(ThroughData),
}


def _lbfgs(p):
    optimizer = torch.optim.LBFGS([p], lr=0.1, max_iter=1)

    def closure():
        p.grad = torch.ones_like(p)
        return p.detach().sum()

    optimizer.step(closure)


_CHILD = """
import sys, numpy as np
for path in sys.argv[1:]:
    shared = np.memmap(path, dtype=np.float32, mode="r+")
    shared *= 0.5
    shared.flush()
"""


def write_in_another_process(parameters, folder):
    """Halve parameters in shared memory from another process: their memory becomes that of files in the folder."""
    paths = []
    for number, p in enumerate(parameters):
        paths.append(str(folder / f"shared-{number}"))
        shared = torch.from_file(paths[-1], shared=True, size=p.numel(), dtype=p.dtype).view(p.shape)
        shared.copy_(p.detach())
        p.data = shared
    subprocess.run([sys.executable, "-c", _CHILD, *paths], check=True)
