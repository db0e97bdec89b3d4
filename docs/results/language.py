"""docs/language.md: sentences and tables from the stored results of language models, `language.json`.

    python docs/results/language.py RUN --choice RUN...    stores what is finished in these folders of `tnlayers train`,
                                                           and what each model of RUN writes; then writes the page
    python docs/results/language.py --long RUN             stores a run by the recipe `long` beside it
    python docs/results/language.py                        writes the page again

The runs of the choice have a part of the training text held out; the setting with the best accuracy on it was taken.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from marks import filled

HERE = Path(__file__).resolve().parent
STORE = HERE / "language.json"
PAGE = HERE.parent / "language.md"
PROMPT, LENGTH, TEMPERATURE = "ROMEO:\n", 240, 0.7
# arXiv 2603.28534: parameters by its table, and its validation accuracy in per cent on 20 random batches
PUBLISHED = {
    "dense": (1_020_224, 52.8),
    "mpo(bond=32)": (408_832, 52.4),
    "mpo(bond=16)": (191_872, 51.6),
    "mpo(bond=8)": (110_592, 46.8),
    "mpo(bond=4)": (78_336, 36.8),
}
PUBLISHED_CHARACTERS = 2000 * 32 * 256  # that its recipe as committed reads
HEAD = (
    "| network | parameters | token accuracy, % | bits per character | nats | last training loss, nats "
    "| published: parameters | accuracy, % |"
)
NOT_RUN = (
    "the recipe `picogpt` as committed (2,000 steps of 32 stretches)",
    "seeds 1 and 2",
    "the best layer of other types at each of these counts",
    "equal time and equal bits",
    "bonds that change in training",
    "a larger model, and tokens a second",
)


# What was begun and not finished; it was seen by its line of progress, which shows the test part.
STOPPED = (
    "0.0015 was stopped for time after 200 of the 400 steps, when its test accuracy was 26.19 % (0.003 had 26.65 and "
    "0.006 had 28.30 then), and 0.003 in batches of 8 after 100 of 700.",
)


def gather(run: Path, choices: list[Path]) -> dict[str, Any]:
    """What is to be stored of finished runs."""
    return {
        "what": "gpt-pico on Tiny Shakespeare, dense and in MPO form, at equal steps",
        **finished(run),
        "choice": sorted((_choice(json.loads((place / "results.json").read_text())) for place in choices), key=_rate),
        "stopped": list(STOPPED),
    }


def finished(run: Path) -> dict[str, Any]:
    """The numbers of one run folder, and what its models write."""
    from tnlayers.train.trained_texts import trained_texts

    results = json.loads((run / "results.json").read_text())
    samples = {
        found.network: found.continued(PROMPT, LENGTH, temperature=TEMPERATURE, seed=0) for found in trained_texts(run)
    }
    command = re.sub(r" --(out|name) \S+", "", results["environment"]["command"])
    return {
        "command": command,
        "environment": results["environment"] | {"command": command},
        "recipe": results["recipe"],
        "text": results["text"],
        "runs": sorted(
            (_run(network, seed, results) for network in results["networks"] for seed in network["seeds"]),
            key=lambda run: -run["parameters"],
        ),
        "samples": {"prompt": PROMPT, "length": LENGTH, "temperature": TEMPERATURE, "seed": 0, "texts": samples},
    }


def _run(network: dict[str, Any], seed: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": network["network"],
        "seed": seed["seed"],
        "parameters": network["parameters"]["total"]["trainable"],
        "accuracy": seed["final"]["test_accuracy"],
        "nats": seed["final"]["test_loss"],
        "bits": network["final_test_bits_per_character"]["mean"],
        "train_loss": seed["final"]["train_loss"],
        "seconds_per_step": seed["median_seconds_per_epoch"] / results["recipe"]["steps"],
    }


def _choice(results: dict[str, Any]) -> dict[str, Any]:
    (network,) = results["networks"]
    (seed,) = network["seeds"]
    recipe, final = results["recipe"], seed["final"]
    return {
        "network": network["network"],
        "lr": recipe["lr"],
        "batch": recipe["batch"],
        "steps": recipe["epochs"] * recipe["steps"],
        "held_out": recipe["validation"],
        "validation_accuracy": final["validation_accuracy"],
        "validation_loss": final["validation_loss"],
        "test_accuracy": final["test_accuracy"],
    }


def _rate(row: dict[str, Any]) -> float:
    return float(row["lr"])


def table(stored: dict[str, Any]) -> str:
    """One row per network, and how the runs were made."""
    lines = [HEAD, "|---" * 8 + "|"]
    for run in stored["runs"]:
        parameters, accuracy = PUBLISHED[run["network"]]
        lines.append(
            f"| `{run['network']}` | {run['parameters']:,} | {100 * run['accuracy']:.2f} | {run['bits']:.3f} | "
            f"{run['nats']:.3f} | {run['train_loss']:.3f} | {parameters:,} | {accuracy} |"
        )
    environment, seeds = stored["environment"], sorted({str(run["seed"]) for run in stored["runs"]})
    lines += [
        "",
        f"- command: `{stored['command']}`",
        f"- commit {environment['commit'][:10]}, seed {', '.join(seeds)}",
        f"- machine: {environment['device']}, {environment['threads']} thread, torch {environment['torch']}",
        f"- text: SHA-256 `{stored['text']['sha256']}`, {stored['text']['characters']:,} characters, of which the last "
        f"{stored['text']['test_characters']:,} are held out and predicted end to end in stretches of 256",
    ]
    return "\n".join(lines)


def reading(stored: dict[str, Any]) -> str:
    """What the table says, in sentences."""
    recipe, by_name = stored["recipe"], {run["network"]: run for run in stored["runs"]}
    steps = recipe["epochs"] * recipe["steps"]
    characters = steps * recipe["batch"] * 256
    dense = by_name["dense"]
    lines = [
        f"In {steps:,} steps of {recipe['batch']} stretches of 256 characters, {characters:,} characters in all, the "
        f"dense model comes to {100 * dense['accuracy']:.2f} % token accuracy and {dense['bits']:.3f} bits per "
        "character.",
    ]
    for run in stored["runs"]:
        if run is not dense:
            apart = 100 * (run["accuracy"] - dense["accuracy"])
            share = 100 * run["parameters"] / dense["parameters"]
            lines.append(
                f"`{run['network']}` with {share:.1f} % of its parameters comes to {100 * run['accuracy']:.2f} %, "
                f"{abs(apart):.2f} points {'above' if apart > 0 else 'below'} it, and {run['bits']:.3f} bits."
            )
    missing = PUBLISHED["dense"][1] - 100 * dense["accuracy"]
    lines += [
        f"**The published accuracies are {'not reached' if missing > 0 else 'reached by the dense model'}**: the dense "
        f"model is {abs(missing):.1f} points {'below' if missing > 0 else 'above'} the published 52.8 %.",
        *_beside_published(stored["runs"]),
        f"These runs read {characters / PUBLISHED_CHARACTERS:.3f} times the {PUBLISHED_CHARACTERS:,} characters that "
        "the published recipe reads as committed.",
    ]
    if characters < PUBLISHED_CHARACTERS / 2:
        lines += [
            "They compare networks at equal, few steps, whose number was set by the time that there was on a busy "
            "machine, and say nothing about longer training.",
        ]
    lines += [
        f"{_count(len({run['seed'] for run in stored['runs']}), 'seed')}: some tenths of a point mean nothing.",
        "The learning rate was chosen for the dense model, in runs of 400 steps.",
    ]
    return "\n".join(lines)


def _beside_published(runs: list[dict[str, Any]]) -> list[str]:
    """A sentence for each MPO network whose published accuracy is reached."""
    lines = []
    for run in runs:
        accuracy, goal = 100 * run["accuracy"], PUBLISHED[run["network"]][1]
        if run["network"] != "dense" and accuracy >= goal:
            lines.append(f"`{run['network']}` is {accuracy - goal:.1f} points above its published {goal} %.")
    return lines


def _count(number: int, noun: str) -> str:
    return f"One {noun} each" if number == 1 else f"{number} {noun}s each"


def choice(stored: dict[str, Any]) -> str:
    """How the learning rate was chosen."""
    rows = stored["choice"]
    held, steps = rows[0]["held_out"], rows[0]["steps"]
    best = max(rows, key=lambda row: row["validation_accuracy"])
    lines = [
        f"The learning rate was chosen for the dense model by its accuracy on the last {held:,} characters of the "
        f"training part, held out of these runs of {steps} steps alone: {best['lr']:g} was taken.",
        "The test part had no say among these three; its column is shown beside.",
        *stored["stopped"],
        "Batch, clipping and decay were not compared with others. These short runs were made with the same code before",
        "it had a commit.",
        "",
        "| learning rate | held out: accuracy, % | nats | test accuracy, % |",
        "|---" * 4 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['lr']:g} | {100 * row['validation_accuracy']:.2f} | {row['validation_loss']:.3f} | "
            f"{100 * row['test_accuracy']:.2f} |"
        )
    return "\n".join(lines)


def samples(stored: dict[str, Any]) -> str:
    """What each model writes."""
    found = stored["samples"]
    lines = [
        f"Each continues {found['prompt']!r} by {found['length']} characters at temperature {found['temperature']:g}, "
        f"seed {found['seed']}.",
    ]
    for network, text in found["texts"].items():
        lines += ["", f"`{network}`:", "", "```text", *(line.rstrip() for line in text.splitlines()), "```"]
    return "\n".join(lines)


def not_run(stored: dict[str, Any]) -> str:
    """What issue and paper ask for and nobody has measured here."""
    lacking = [name for name in PUBLISHED if name not in {run["network"] for run in stored["runs"]}]
    lacking_long = [name for name in PUBLISHED if name not in {run["network"] for run in stored["long"]["runs"]}]
    items = [
        *(f"`{name}` by `short`" for name in lacking),
        *(f"`{name}` by `long`" for name in lacking_long),
        *NOT_RUN,
    ]
    return "\n".join(f"- {item}" for item in items)


PARTS = {
    "long-reading": lambda stored: reading(stored["long"]),
    "long-table": lambda stored: table(stored["long"]),
    "reading": reading,
    "table": table,
    "choice": choice,
    "samples": lambda stored: samples(stored["long"]),
    "not-run": not_run,
}


def written(text: str, stored: dict[str, Any]) -> str:
    """The page with all that is a script's as it should be."""
    for name, part in PARTS.items():
        text = filled(text, name, part(stored))
    return text


def main() -> None:
    """Store what is given, if anything is, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--choice", type=Path, nargs="*", default=[])
    parser.add_argument("--long", type=Path)
    given = parser.parse_args()
    stored = json.loads(STORE.read_text())
    if given.run is not None:
        stored |= gather(given.run, given.choice)
    if given.long is not None:
        stored["long"] = finished(given.long)
    STORE.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), stored), encoding="utf-8")


if __name__ == "__main__":
    main()
