"""The page of the fuzzer's counts, docs/fuzz.md, as text."""

from __future__ import annotations

import platform

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

TAIL = """
This page is written by `tests/fuzz/run.py --page`: {duration:g} s over all campaigns, seed {seed}, Python {python}.
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
    return HEAD.format(seconds=SECONDS, megabytes=MEGABYTES) + "\n".join(lines) + "\n" + tail
