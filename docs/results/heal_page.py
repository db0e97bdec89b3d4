"""docs/heal.md and its picture from heal.json."""

from __future__ import annotations

from typing import Any


def write_page(stored: dict[str, Any]) -> None:
    """Nothing yet."""
