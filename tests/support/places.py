"""Where things are: the repository, its pages and results, and the files that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"
DATA = ROOT / "tests" / "data"
SUPPORT = ROOT / "tests" / "support"
