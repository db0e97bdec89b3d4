"""Processes that are killed, stopped and started at the same moment, at moments of chance; the counts are stored.

    python tests/fuzz/processes.py --times 10 --store tests/fuzz/processes.json --page docs/fuzz.md
    python tests/fuzz/processes.py --times 2 --only signals clocks

Each campaign yields one verdict per trial: "done" means that what the next run gave is that of an undisturbed one, bit
for bit, "refused" that a paragraph said what to do instead, "wrong" all else, with the reason. Linux alone, since
workers are looked for in /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from fuzz import page  # noqa: E402
from fuzz.commands import (  # noqa: E402
    ENVIRONMENT,
    EPOCHS,
    ROOT,
    TRAIN,
    finish,
    half_written,
    made,
    members,
    reference,
    result,
    rows,
    said,
    start,
)

PAIR = ("--devices", "2", "--strategy", "ddp")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
SPEC = "mpo(in=4x4x4x4, out=4x4x4x4, bond=4)"
ENDS = 30  # seconds in which all processes of a run end
Verdicts = Iterator[tuple[str, str]]


def torchrun(
    folder: Path,
    times: int,
    chance: random.Random,
    cases: str = "0 1 launcher INT TERM",
    goes_on: bool = True,
) -> Verdicts:
    """Two processes by torchrun: a worker or the launcher is killed, or stopped; then the command continues."""
    for number in range(times):
        case = cases.split()[number % len(cases.split())]
        here = made(folder / f"{number}-{case}")
        launcher = start(here, "-m", *TORCHRUN, "tnlayers", *TRAIN, *PAIR, "--out", str(here))
        count = chance.randint(0, EPOCHS - 3)
        while launcher.poll() is None and rows(here / "run") < count:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        if case in ("INT", "TERM"):
            launcher.send_signal(getattr(signal, f"SIG{case}"))
        elif case == "launcher":
            launcher.kill()
        else:
            for pid in [pid for pid, rank in members(here).items() if rank == int(case) and pid != launcher.pid]:
                os.kill(pid, signal.SIGKILL)
        launcher.wait()
        end = time.monotonic() + ENDS
        while members(here) and time.monotonic() < end:
            time.sleep(0.05)
        words = said(here)
        if members(here):
            yield "wrong", f"{case}: still at work after {ENDS} s"
        elif words.count("--resume") not in (1, 2):  # torchrun's report repeats the paragraph
            yield "wrong", f"{case}: --resume is named {words.count('--resume')} times: {words[-500:]}"
        elif "gloo/transport" in words or "tnlayers/train" in words:
            yield "wrong", f"{case}: lines of gloo, or a traceback: {words[-500:]}"
        elif not goes_on:
            yield "done", ""
        else:
            wrong = finish(here, "-m", *TORCHRUN, "tnlayers", *TRAIN, *PAIR, "--out", str(here))
            whole = reference(folder, "pair", "-m", *TORCHRUN, "tnlayers", *TRAIN, *PAIR)
            if not wrong and result(here / "run") != whole:
                wrong = "other numbers than an unbroken run"
            yield ("wrong", f"{case}: {wrong}") if wrong else ("done", "")


def calibrate(folder: Path, times: int, chance: random.Random) -> Verdicts:
    """Killed at any moment of `tnlayers calibrate`; rates are then whole or absent, and plans are made with them."""
    for number in range(times):
        here = folder / str(number % 2)  # a second kill finds what the first has left
        here.mkdir(exist_ok=True)
        process = start(here, "-m", "tnlayers", "calibrate")
        time.sleep(chance.uniform(0.2, 25))
        process.kill()
        process.wait()
        bad = [name for name in half_written(here / "cache") if ".partial" not in name]
        wrong = f"half-written: {bad}" if bad else finish(here, "-W", "error", "-m", "tnlayers", "plan", SPEC)
        yield ("wrong", wrong) if wrong else ("done", "")
    for here in (path for path in sorted(folder.iterdir()) if path.is_dir()):
        wrong = finish(here, "-m", "tnlayers", "calibrate")
        left = half_written(here / "cache")
        yield ("wrong", f"{wrong} {left}") if wrong or left else ("done", "")


def reproduce(folder: Path, times: int, chance: random.Random) -> Verdicts:
    """`tnlayers reproduce` or its training is killed twice, and continues; its store is that of an unbroken one."""
    stored = json.loads((ROOT / "docs" / "results" / "paper.json").read_text())["structure"]
    words = [str(ROOT / "tests" / "fuzz" / "reproducing.py"), "reproduce", "types", "--budget", "10", "--seeds", "1"]
    words += ["--epochs", "4", "--threads", "1", "--docs", "docs", "--runs", "runs"]

    def records(name: str, kills: int) -> tuple[object, str]:
        here = folder / name
        made(here / "docs" / "results")
        (here / "docs" / "results" / "paper.json").write_text(json.dumps({"structure": stored, "runs": []}))
        for kill in range(kills):
            process = start(here, *words)
            time.sleep(chance.uniform(2, 18))
            if kill % 2:  # its training alone
                for pid in [pid for pid in members(here) if pid != process.pid]:
                    os.kill(pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
            bad = [name for name in half_written(here) if ".partial" not in name]
            if bad:
                return None, f"half-written: {bad}"
        wrong = finish(here, *words)
        found = json.loads((here / "docs" / "results" / "paper.json").read_text())["runs"]
        return [{k: v for k, v in run.items() if "seconds" not in k} for run in found], wrong

    whole, wrong = records("whole", 0)
    assert whole, wrong
    for number in range(-(-times // 2)):
        found, wrong = records(str(number), 2)
        wrong = wrong or ("" if found == whole else f"other records: {found}")
        yield from [("wrong", wrong)] if wrong else [("done", "")] * 2


def cache(folder: Path, times: int, chance: random.Random) -> Verdicts:
    """Eight processes on one empty cache: plans, and the layers of a compression."""
    code = f"""
import sys, torch, tnlayers as tnl
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 64))
plan = tnl.plan({SPEC!r}, 128).to_json()
made = tnl.compress(model, ratio=0.3, network="mpo", cache="layers").model
print(plan, [tensor.tolist() for tensor in made.state_dict().values()])
"""
    for number in range(-(-times // 8)):
        here = made(folder / str(number))
        words = [sys.executable, "-W", "error", "-c", code]
        more = ENVIRONMENT | {"TNLAYERS_CACHE": str(here / "cache")}
        started = [
            subprocess.Popen(words, cwd=here, env=more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(8)
        ]
        ends = [process.communicate()[0] for process in started]
        for process, words_ in zip(started, ends, strict=True):
            fine = process.returncode == 0 and words_ == ends[0] and not half_written(here)
            yield ("done", "") if fine else ("wrong", f"{words_[-300:]} {half_written(here)}")


def clocks(folder: Path, times: int, chance: random.Random) -> Verdicts:
    """A run is stopped, all files get times of 1970 or of the future, and the run continues."""
    words = ("-m", "tnlayers", *TRAIN)
    for number in range(times):
        here = made(folder / str(number))
        process = start(here, *words, "--out", str(here))
        while process.poll() is None and rows(here / "run") < chance.randint(1, 5):
            time.sleep(0.01)
        process.kill()
        process.wait()
        for path in (here, *here.rglob("*")):
            moment = chance.choice((0, 1, 2**31, time.time() + 3e7, time.time() + 3))
            os.utime(path, (moment, moment))
        wrong = finish(here, *words, "--out", str(here))
        same = not wrong and result(here / "run") == reference(folder, "alone", *words)
        yield ("done", "") if same else ("wrong", wrong or "other numbers than an unbroken run")


COMMANDS = (
    ("describe", "lenet5"),
    ("plan", SPEC, "--tune"),
    ("draw", SPEC),
    ("check", SPEC),
    ("bench", "--quick", "--out", "bench.json"),
    ("calibrate",),
    ("reproduce", "--dry-run"),
    ("train", "lenet5", "--data", "digits", "--out", "runs", "--overwrite", "--epochs", "50"),
)


def signals(folder: Path, times: int, chance: random.Random) -> Verdicts:
    """Ctrl-C, SIGTERM and SIGHUP at any moment of any command: the status of a shell, one line, no traceback."""
    for number in range(times):
        here = made(folder / str(number))
        words, which = COMMANDS[number % len(COMMANDS)], chance.choice(("INT", "TERM", "HUP"))
        process = start(here, "-m", "tnlayers", *words)
        time.sleep(chance.uniform(0.2, 6))
        process.send_signal(getattr(signal, f"SIG{which}"))
        status, wanted = process.wait(), getattr(signal, f"SIG{which}")
        stopped = said(here).count("Stopped.")
        if status == 0 and not stopped:
            yield "done", ""  # it was quicker
        elif status not in (128 + wanted, -wanted) or "Traceback" in said(here) or stopped > 1:
            yield "wrong", f"{words[0]}, {which}: status {status}, {said(here)[-500:]}"
        else:
            yield "refused", ""


CAMPAIGNS: dict[str, Callable[[Path, int, random.Random], Verdicts]] = {
    "signals": signals,
    "torchrun": torchrun,
    "calibrate": calibrate,
    "reproduce": reproduce,
    "cache": cache,
    "clocks": clocks,
}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--times", type=int, default=10)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", nargs="*", default=list(CAMPAIGNS), choices=CAMPAIGNS)
    words.add_argument("--store", type=Path)
    words.add_argument("--add", action="store_true", help="to the counts that are stored, instead of replacing them")
    words.add_argument("--page", type=Path, help="docs/fuzz.md, whose second part is written anew")
    asked = words.parse_args()
    for name in ("SIGINT", "SIGHUP", "SIGQUIT"):  # which nohup and shells make what they start ignore
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    failed = False
    for name in asked.only:
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            for verdict, why in CAMPAIGNS[name](Path(folder).resolve(), asked.times, random.Random(asked.seed)):
                counts[verdict] += 1
                failed |= verdict == "wrong"
                if why:
                    print(f"    {name}: {why}", flush=True)
        print(f"{name:10} {dict(counts)}", flush=True)
        if asked.store:
            stored = json.loads(asked.store.read_text()) if asked.store.exists() else {}
            before = stored.get(name, {}) if asked.add else {}
            what = (CAMPAIGNS[name].__doc__ or "").strip().rstrip(".")
            seeds = [*before.get("seeds", []), asked.seed]
            sums = counts + Counter({kind: before[kind] for kind in ("done", "refused", "wrong") if kind in before})
            stored[name] = {"what": what, "seeds": seeds, "python": platform.python_version(), **sums}
            asked.store.write_text(json.dumps(stored, indent=1) + "\n")
    if asked.page:
        asked.page.write_text(page.renewed(asked.page.read_text(encoding="utf-8")), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
