"""Rows of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable


def row(fields: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(fields)} |"
