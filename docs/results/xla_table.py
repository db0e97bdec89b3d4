"""The table of plans by XLA's rates, and what it says, from the figures that `xla.py` stored."""

from __future__ import annotations

from typing import Any

BAR = 1.25
OTHERS = ("processor", "einsum", "rebuild")


def table(results: dict[str, Any]) -> str:
    """The stored figures as a table."""
    names = ("xla", *OTHERS)
    lines = [
        "| cell | batch | dense ms | " + " | ".join(f"{name} / dense" for name in names) + " | xla / best other |",
        "| --- " * (4 + len(names)) + "|",
    ]
    for row in results["cells"]:
        seconds = row["median_seconds"]
        ratios = " | ".join(f"{seconds[name] / seconds['dense']:.2f}" for name in names)
        low, middle, high = row["ratio_to_best_other"]
        lines.append(
            f"| {row['network']} | {row['batch']} | {1e3 * seconds['dense']:.2f} | {ratios} | {middle:.2f} ({low:.2f}-"
            f"{high:.2f}) of {row['best_other']} |"
        )
    where = f"{results['processor']}, one core, jax {results['jax']}, commit {str(results['commit'])[:7]}"
    return "\n".join([*lines, "", f"{reading(results)} Medians of paired rounds, quartiles in brackets; {where}."])


def reading(results: dict[str, Any]) -> str:
    """In how many cells the bar is met, and by how much the others miss it."""
    found = [row["ratio_to_best_other"][1] for row in results["cells"]]
    over = [f"{ratio:.2f}" for ratio in found if ratio > BAR]
    better = sum(row["median_seconds"]["xla"] < 0.95 * row["median_seconds"]["processor"] for row in results["cells"])
    worse = sum(row["median_seconds"]["xla"] > 1.05 * row["median_seconds"]["processor"] for row in results["cells"])
    count = len(found)
    text = (
        f"Plans by XLA's rates take at most {BAR} of the best other way's time in {count - len(over)} of {count} cells"
    )
    text += f"; the others miss that, with {' and '.join(over)}." if over else "."
    return f"{text} They are faster than the processor's plans in {better} and slower in {worse} (by more than 0.05)."
