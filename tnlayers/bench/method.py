"""What the page says about its numbers: how they are measured, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tnlayers.bench.bars import own, plain, to_limit
from tnlayers.bench.cell_run import Result, best_peer
from tnlayers.bench.measure import mean
from tnlayers.bench.run import current_runs

METHOD = """\
- **In turns.** All contenders of a cell run in one process, in turns, in a new order each round; a timing repeats a
  call until it lasts 2 ms. Times are medians of calls: processor time on one thread, wall time on two. Ratios are
  medians over rounds of times taken in the same round, with a 95 % interval by bootstrap over rounds. A contender
  that takes more than 1.5 times as long as the fastest other one gets fewer rounds.
- **The same numbers.** All contenders get the same cores and the same input. Before it is timed, each result, and for
  training the gradients of x and of all cores, is compared with double precision, in two rows of the whole batch, at
  the tolerance of `tnlayers check`. What is wrong is not timed.
- **Training** is a forward and a backward pass with gradients of x and of all parameters; **forward** is a call
  without gradients, where our layer keeps what it prepared from its cores.
- **Peers** are tensorly-torch (in both its modes), torch-mpo, torchtt, tednet and tensorkrowch, as they come, with
  equal modes and bonds. torchtt's bias cannot be left out.
- **Limit.** Each product of our plan is timed by itself at exactly its sizes, into an output that is kept, those that
  are computed again included. Done again and again on the same operands, it finds them in the cache as far as they fit;
  but where a plan takes the batch in chunks, the products that read x or the gradient of y, or write y or the gradient
  of x, walk through these arrays as they lie, since no run of the plan finds them at hand. Added to the products is
  what the system takes to hand out pages for y and the gradient of x, new arrays at every call (it shows from 32 MiB
  on). The limit is this sum, or the time of reading input and cores and writing the output (twice for training) at the
  rate of memory, whichever is longer. The layer cannot be faster than that. States that do not stay in the cache
  between two products, copies and calls are not part of it.
- **Memory.** Torch's profiler lists every allocation of a call. Peak is the most that was alive at once, parameters,
  inputs and gradients of parameters and inputs left out, y included; kept is what is alive where the backward pass
  begins, y left out. Before, our kept buffers and rebuilt weights are thrown away, so that they count.
- **The jax rows** are functions under `jax.jit` on one processor, with gradients by `jax.vjp`; peak is XLA's own
  figure for temporary memory, and y.
- **Equal parameters.** Another network type has the bond (rank, terms, blocks) that comes closest to the mpo's
  parameters; where that is more than 1.5 off there is no row. `chord` is a graph of a user's own: a ring with one
  more bond across it."""


def opening(data: Mapping[str, Any], whole: Mapping[str, Result]) -> Iterator[str]:
    """The title, one picture, and three sentences that follow from the figures."""
    machine, grid = data["runs"][-1]["machine"], [r for r in whole.values() if plain(r["cell"])]
    yield "# Benchmarks"
    yield ""
    yield "![Our time over that of the dense layer, in every cell of the grid](img/bench-dense.png)"
    yield ""
    if not grid:
        return
    to_dense = [own(r)["to_dense"][0] for r in grid]
    to_peers = [r["contenders"][peer]["ours_to"][0] for r in grid if (peer := best_peer(r)) is not None]
    yield (
        f"On one thread ({machine['cpu']}) a layer takes {mean(to_dense):.2f} of the time of `nn.Linear` (geometric "
        f"mean of {len(grid)} cells), and is faster than it in {sum(ratio < 1 for ratio in to_dense)} of them."
    )
    if to_peers:
        yield (
            f"Beside the best of five other libraries it takes {mean(to_peers):.2f} of the time in the {len(to_peers)} "
            f"cells that one was timed in, and more than it in {sum(ratio > 1 for ratio in to_peers)}."
        )
    yield (
        f"It takes {mean(to_limit(r)[0] for r in grid):.2f} of what this machine needs at least for the same products; "
        "where it loses is listed [cell by cell](#where-it-loses)."
    )


def about(data: Mapping[str, Any], old: set[str]) -> Iterator[str]:
    """Machine, versions, commits, commands and dates."""
    last = data["runs"][-1]
    machine, used = last["machine"], {r["run"] for r in (*data["cells"].values(), *data["growth"].values())}
    yield (
        "Layers of tnlayers against `nn.Linear`, against other ways to run the same declaration, against the layers of "
        "five other libraries, and against what this machine can do. Written by `make bench`, which installs those "
        "libraries into an environment of their own and runs `tnlayers bench` there; what the results already hold is "
        "not measured again."
    )
    yield ""
    yield f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}."
    yield f"Versions: {', '.join(f'{name} {version}' for name, version in last['versions'].items())}."
    yield (
        f"Rates: {last['peak_flops'] / 1e9:.0f} Gflop/s in a product of 1024, {last['read_bytes'] / 1e9:.1f} GB/s read "
        f"from memory, one thread; plans are made with {'measured' if last['calibrated'] else 'default'} rates. "
        f"All seeds are {last['seed']}."
    )
    yield ""
    yield "| run | begun (UTC) | commit | minutes | s a cell | command |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for number, run in enumerate(data["runs"]):
        if number in used:
            mark = "" if number in current_runs(data) else " †"
            fields = [
                f"{number + 1}{mark}",
                run["begun"].removesuffix("+00:00"),
                str(run["commit"])[:12],
                f"{run.get('minutes', 0):.0f}",
                f"{run['cap_seconds']:g}",
                f"`{run['command']}`",
            ]
            yield f"| {' | '.join(fields)} |"
    if old:
        yield ""
        yield f"† {len(old)} results are of another commit, machine or version than the last run."
    before = sum("pages" not in result["limit"] for result in data["cells"].values())
    if before:
        yield ""
        yield f"In {before} results the limit takes all operands to be at hand, and leaves out pages: they are older."
