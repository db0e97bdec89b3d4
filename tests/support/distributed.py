"""One of two processes on the CPU: what `test_torch_parallel.py` starts. Arguments: rank, folder.

Each process takes half of a batch. The gradients under DDP and the parameters after a step under FSDP2 go into
`folder/ddp.pt` and `folder/fsdp.pt`.
"""

import os
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch_cases import FEW, built, vectors

import tnlayers as tnl

BATCH, WORLD = 6, 2


def batch(layer):
    """All inputs, and weights of the outputs in the loss."""
    generator = torch.Generator().manual_seed(9)
    return vectors(layer, BATCH), torch.randn(BATCH, layer.out_features, generator=generator)


def model():
    """A model of two tensor-network layers and a dense one."""
    torch.manual_seed(0)
    second = tnl.nn.TNLinear(12, 7, network="cp(rank=3)", seed=1)  # modes that two processes share unevenly
    return nn.Sequential(built("mpo-bias"), nn.ReLU(), second, nn.ReLU(), nn.Linear(7, 4))


def adamw_step(module, x):
    """One step down the mean square of the output."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    module(x).square().mean().backward()
    optimizer.step()


def ddp_gradients(name, mine):
    """The gradients that every process has after backward."""
    layer = built(name)
    parallel = DistributedDataParallel(layer)
    x, weights = batch(layer)
    loss = (parallel(x[mine]) * weights[mine]).sum() * WORLD / BATCH  # DDP takes the mean over processes
    loss.backward()
    return {key: parameter.grad for key, parameter in layer.named_parameters()}


def fsdp_parameters(mine):
    """The parameters, gathered, after a step with each layer's parameters cut in two."""
    sharded = model()
    mesh = init_device_mesh("cpu", (WORLD,))
    for module in sharded:
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    adamw_step(sharded, batch(sharded[0])[0][mine])
    return {key: parameter.full_tensor() for key, parameter in sharded.state_dict().items()}


def main(rank, folder):
    torch.set_num_threads(1)
    # A file in place of a port: nothing to find free.
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    mine = slice(rank * BATCH // WORLD, (rank + 1) * BATCH // WORLD)
    found = {"ddp": {name: ddp_gradients(name, mine) for name in FEW}, "fsdp": fsdp_parameters(mine)}
    if rank == 0:
        for key, value in found.items():
            torch.save(value, folder / f"{key}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
    # gloo's threads may still be there when the interpreter takes itself apart, which then aborts now and then.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
