"""Ten thousand training steps of convolutions with batch sizes of chance: what the memory does, and the last outputs.

    python tests/fuzz/long_training.py --steps 10000 --store tests/fuzz/long_training.json

Every step takes another number of images, of another size at times, so that whatever a layer keeps by shape would pile
up: plans, matrices, workspaces. In between the model is evaluated, which caches too. The memory is that of the process
after a tenth of the steps, and at the end; the outputs are compared with the float64 oracle of the tests.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "tests" / "support")]

import torch  # noqa: E402
from oracle import assert_close  # noqa: E402
from oracle_conv import oracle_conv  # noqa: E402
from torch import nn  # noqa: E402

import tnlayers as tnl  # noqa: E402

SIZES = (8, 9, 12)  # of the images
LARGEST = 48  # images in a batch
GROWTH = 24  # MB of growth that are no growth: allocators keep what they were given


def model() -> nn.Sequential:
    """Convolutions of all kinds of plans: the kernel as a network, a low rank, groups, and one dimension more."""
    return nn.Sequential(
        tnl.nn.TNConv2d(3, 8, 3, network="mpo(bond=4)", padding=1, seed=0),
        nn.ReLU(),
        tnl.nn.TNConv2d(8, 8, 3, network="lowrank(rank=4)", padding=1, groups=2, seed=1),
        nn.ReLU(),
        tnl.nn.TNConv2d(8, 4, 2, network="cp(rank=4)", stride=2, seed=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        tnl.nn.TNLinear(16, 10, network="mpo(in=4x4, out=5x2, bond=2)", seed=3),
    )


def resident() -> float:
    """MB of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def train(steps: int, seed: int = 0) -> dict[str, float | int]:
    """Train, and report the memory in MB.

    Raises:
        AssertionError: The outputs at the end are not those of the oracle.
    """
    chance, net = random.Random(seed), model()
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    early, batches = 0.0, set()
    for step in range(1, steps + 1):
        size, batch = chance.choice(SIZES), chance.randint(1, LARGEST)
        batches.add((size, batch))
        x, labels = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net.train()(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            with torch.no_grad():
                net.eval()(x)
        if step == max(1, steps // 10):
            early = resident()
    late = resident()
    x = torch.randn(5, 3, SIZES[1], SIZES[1])
    with torch.no_grad():
        for layer in net:
            y = layer(x)
            if isinstance(layer, tnl.nn.TNConv2d):
                assert_close(y, oracle_conv(layer, x.numpy()), dtype="float32")
            x = y
    return {"steps": steps, "shapes": len(batches), "early": round(early, 1), "late": round(late, 1)}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--steps", type=int, default=10_000)
    words.add_argument("--store", type=Path)
    asked = words.parse_args()
    torch.set_num_threads(1)
    found = train(asked.steps) | {"torch": torch.__version__, "python": platform.python_version()}
    print(found)
    if asked.store:
        asked.store.write_text(json.dumps(found, indent=1) + "\n")
    return int(found["late"] - found["early"] > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
