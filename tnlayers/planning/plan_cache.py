"""Plans cached on disk: what a process has searched is read by the next one, in a twentieth of the time.

One small JSON file per plan lies in the user's cache folder, named by a digest of all that the search depends on: the
contraction with its batch, the objective, the dtype, the memory limit, the machine's rates, and the code of the planner
itself. It holds the path, the chunk, whether there are stacks, and the order of axes of each result: the same program
follows without a search; everything is checked while it is read, and a file that does not fit is as good as none.

`TNLAYERS_KEEP_PLANS=0` in the environment switches this off.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from tnlayers.declare.graph import Contraction
from tnlayers.files.atomic import replacing
from tnlayers.files.cache import cache_folder, read_cached
from tnlayers.planning.fingerprint import fingerprint
from tnlayers.planning.paths import check_path
from tnlayers.planning.plan import Plan
from tnlayers.planning.slices import piece
from tnlayers.program.layout import follow
from tnlayers.program.program import Multiply

FORMAT = "tnlayers.kept/1"
# What `recall` raises for a damaged file.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, ArithmeticError, LookupError, RecursionError)

_SMALL = 4  # operands; plans of fewer are found as quickly as read
_MOST = 4096  # files, about 1 KB each; the older half goes where there are more


def is_caching() -> bool:
    """Whether plans are cached on disk at all."""
    return os.environ.get("TNLAYERS_KEEP_PLANS", "").lower() not in {"0", "off", "no", "false"}


def is_cached(contraction: Contraction) -> bool:
    """Whether a plan of this contraction is cached on disk."""
    return is_caching() and len(contraction.operands) >= _SMALL


def plan_file(contraction: Contraction, folder: str, *circumstances: object) -> Path:
    """Where the plan of a contraction under some circumstances is cached."""
    c = contraction
    return cache_file(folder, c.operands, c.output, c.sizes, c.batch, *circumstances)


def cache_file(folder: str, *circumstances: object) -> Path:
    """Where what was found under some circumstances is cached; their `repr` and the code distinguish them."""
    value = (FORMAT, fingerprint(), *circumstances)
    return cache_folder() / folder / f"{hashlib.sha256(repr(value).encode()).hexdigest()[:32]}.json"


def recall(file: Path, contraction: Contraction, **about: Any) -> Plan:
    """Read a plan.

    Args:
        file: What `write_plan` wrote.
        contraction: What the plan is for.
        **about: The plan's objective, dtype, title, features and device.

    Raises:
        OSError, ValueError, KeyError, TypeError, ArithmeticError: One of these, if there is no plan for this
            contraction in the file.
    """
    data = read(file)
    path = tuple((int(a), int(b)) for a, b in data["path"])
    orders = [tuple(map(int, order)) for order in data["orders"]]
    check_path(contraction, path)
    slices = tuple((int(index), int(parts)) for index, parts in data["slices"])
    part, stacked = piece(contraction, slices), bool(data["stacked"])
    program = follow(part, path, orders, stacked=stacked) if len(orders) == len(path) else None
    if program is None:
        raise ValueError("its layouts are not those of its path")
    return Plan(
        contraction=contraction,
        path=path,
        chunk=None if data["chunk"] is None else int(data["chunk"]),
        slices=slices,
        stacked=stacked,
        found_by=str(data["found_by"]),
        lowered=program,
        **about,
    )


def write_plan(file: Path, plan: Plan) -> None:
    """Write a plan.

    Raises:
        OSError: If the folder cannot be written to.
    """
    program = plan.program
    results = zip(program.steps, program.indices[program.operands :], strict=True)
    orders = [order for step, order in results if isinstance(step, Multiply)]
    data = {
        "title": plan.title,
        "found_by": plan.found_by,
        "path": plan.path,
        "orders": orders,
        "chunk": plan.chunk,
        "slices": plan.slices,
        "stacked": plan.stacked,
    }
    write(file, data)


def read(file: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        OSError, ValueError, KeyError, TypeError: One of these, if the file holds nothing of this format.
    """
    data: dict[str, Any] = json.loads(read_cached(file))
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}")
    return data


def write(file: Path, data: dict[str, Any]) -> None:
    """Write beside the file first and then in its place: readers and other writers only ever see whole files.

    Nothing is forced to disk: what a power cut leaves of a file is not read, and is found again.

    Raises:
        OSError: If the folder cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _tidy(file.parent)
    with replacing(file, durable=False) as opened:
        opened.write((json.dumps({"format": FORMAT} | data) + "\n").encode())


@cache
def _tidy(folder: Path) -> None:
    """Once per process: where very many files have gathered, the older half of them goes."""
    if next(islice(folder.iterdir(), _MOST, None), None) is None:
        return
    with suppress(OSError):  # another process tidies too
        aged = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in aged[: len(aged) // 2]:
            file.unlink(missing_ok=True)
