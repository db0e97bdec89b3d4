"""The page of the fuzzer's counts, docs/fuzz.md, as text."""

from __future__ import annotations

import json
import platform
from pathlib import Path

HERE = Path(__file__).parent

ARGUMENTS = "public callables, each of their arguments, each wrong value"

HEAD = """# What the fuzzer tried

`make fuzz` makes inputs up for an hour: what nobody means to give, but somebody will. Each is tried in an empty folder.
It must be done, or refused in words: a `TNLayersError` of 2,000 characters at most (for arguments also Python's
`TypeError` or `ValueError`). It is wrong if another exception comes, if it takes more than {seconds:g} s of processor
time or {megabytes} MB, if a file is left that was not asked for, or if anything in the input is executed.
`tests/fuzz/test_fuzz.py` does the same with few inputs in every run of the tests, and gives the corpus of inputs that
were once wrong to the library again.

| campaign | inputs | tried | done | refused | wrong |
| --- | --- | --- | --- | --- | --- |
"""

PROCESSES = """
## Processes

`tests/fuzz/processes.py` kills, stops and starts processes at moments of chance, and looks at what the next one makes
of it. "Done" means that its result is that of an undisturbed run, bit for bit (rates, which are measured, are whole or
absent), "refused" that the process ended in the line or paragraph that says how to go on; anything else is wrong: other
numbers, a half-written file, a traceback of ours, lines of gloo, a process that stays. Of `calibrate`, two of those
tried are the whole runs after the kills. The script has stored these counts in `tests/fuzz/processes.json`, on a
machine of two cores that others used too.

| campaign | what happens | tried | done | refused | wrong |
| --- | --- | --- | --- | --- | --- |
"""

LONG = """
`tests/fuzz/long_training.py` trains convolutions for {steps:,} steps with {shapes} different shapes of batches. The
process took {early:g} MB after a tenth of the steps and {late:g} MB at the end, when the outputs of every convolution
were those of the float64 oracle.
"""

TAIL = """
This table is written by `tests/fuzz/run.py --page`: {duration:g} s over all campaigns, seed {seed}, Python {python}.
"""


def text(names, tallies, duration, seed):
    """The page."""
    from fuzz.verdict import MEGABYTES, SECONDS

    lines = []
    for name, what in names.items():
        counts = tallies[name].counts
        numbers = [sum(counts.values()), counts["done"], counts["refused"], counts["wrong"]]
        lines.append(f"| {name} | {what} | {' | '.join(f'{number:,}' for number in numbers)} |")
    tail = TAIL.format(duration=duration, seed=seed, python=platform.python_version())
    return HEAD.format(seconds=SECONDS, megabytes=MEGABYTES) + "\n".join(lines) + "\n" + tail + stored()


def stored() -> str:
    """The campaigns of processes and the long training, from what their scripts have stored."""
    campaigns = json.loads((HERE / "processes.json").read_text(encoding="utf-8"))
    lines = []
    for name, found in campaigns.items():
        numbers = [found.get(kind, 0) for kind in ("done", "refused", "wrong")]
        lines.append(
            f"| {name} | {found['what']} | {' | '.join(f'{number:,}' for number in [sum(numbers), *numbers])} |"
        )
    long = json.loads((HERE / "long_training.json").read_text(encoding="utf-8"))
    return PROCESSES + "\n".join(lines) + "\n" + LONG.format(**long)


def renewed(text: str) -> str:
    """A page with the stored part written anew; the table of inputs stays as it is."""
    return text.partition(PROCESSES[: PROCESSES.index("##") + 12])[0] + stored()
