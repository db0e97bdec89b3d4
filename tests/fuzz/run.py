"""Run the campaigns for some seconds, and write the page that says what became of the inputs.

    python tests/fuzz/run.py --seconds 3600 --page docs/fuzz.md

The exit status is 1 if anything is wrong; each wrong input's reason is printed once, and a few are kept in the corpus.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "tests")]
os.environ.setdefault("TNLAYERS_KEEP_PLANS", "0")

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

from fuzz import calls, page  # noqa: E402
from fuzz.campaigns import Campaign, campaigns  # noqa: E402
from fuzz.verdict import Verdict, judged  # noqa: E402

EXAMPLES = 100  # inputs between two looks at the clock


@dataclass
class Tally:
    """What became of a campaign's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, object] = field(default_factory=dict)  # one input for each reason

    def add(self, verdict: Verdict, what: object) -> None:
        self.counts[verdict.kind] += 1
        if verdict.kind == "wrong":
            self.wrong.setdefault(verdict.why, what)


def one(campaign: Campaign, value: object) -> Verdict:
    """Give one input to the library in a folder of its own."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        try:
            return judged(lambda: campaign.give(value, folder), folder)
        finally:
            os.chdir(here)


def fuzz(campaign: Campaign, seconds: float, start: int) -> Tally:
    """Make inputs up for some seconds."""
    tally, end = Tally(), time.monotonic() + seconds
    while time.monotonic() < end:
        start += 1

        @seed(start)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(campaign.inputs)
        def batch(value):
            if time.monotonic() < end:
                tally.add(one(campaign, value), value)

        batch()
    return tally


def arguments(seconds: float, start: int) -> Tally:
    """Every wrong value of every argument once, in an order of chance, as far as the time goes."""
    tally, end = Tally(), time.monotonic() + seconds
    cases = list(calls.cases())
    random.Random(start).shuffle(cases)
    for name, call in cases:
        if time.monotonic() >= end:
            break
        tally.add(one(Campaign("", None, lambda _, __, call=call: _tolerant(call)), name), name)
    return tally


def _tolerant(call):
    """Python's own errors for wrong arguments count as refusals here."""
    import tnlayers as tnl

    try:
        call()
    except tnl.TNLayersError:
        raise
    except (TypeError, ValueError) as error:
        raise tnl.TNLayersError(f"{type(error).__name__}: {error}") from error


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--page", type=Path)
    words.add_argument("--only", nargs="*", default=[])
    asked = words.parse_args()
    names = {name: campaign.what for name, campaign in campaigns().items()} | {"arguments": page.ARGUMENTS}
    names = {name: what for name, what in names.items() if not asked.only or name in asked.only}
    share, tallies = asked.seconds / len(names), {}
    for name in names:
        tally = (
            arguments(share, asked.seed) if name == "arguments" else fuzz(campaigns()[name], share, 10**6 * asked.seed)
        )
        tallies[name] = tally
        print(f"{name:12} {dict(tally.counts)}", flush=True)
        for why, what in tally.wrong.items():
            print(f"    {why[:300]}\n        {what!r:.300}", flush=True)
    if asked.page:
        asked.page.write_text(page.text(names, tallies, asked.seconds, asked.seed), encoding="utf-8")
    return int(any(tally.wrong for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
