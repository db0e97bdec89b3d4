"""What pyproject.toml asks for, as lines for pip: `python .ci/requirements.py [--lowest] [EXTRA...]`.

The core dependencies and those of the extras, extras of extras resolved. With --lowest each lower bound becomes a pin:
the oldest versions that the ranges allow. tnlayers itself is left out: the suite runs on the source tree.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def requirements(extras):
    """The lines of the core and of the extras, each once."""
    found = list(PROJECT["dependencies"])
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(r"tnlayers\[(.+)\]", line)
            found += requirements(own[1].split(",")) if own else [line]
    return list(dict.fromkeys(found))


def lowest(line):
    """`name>=1.2,<2` as `name==1.2`; a line without a lower bound as it is."""
    return re.sub(r">=([^,;\s]+)(,[^;]*)?", r"==\1", line)


if __name__ == "__main__":
    words = sys.argv[1:]
    change = lowest if "--lowest" in words else str
    print("\n".join(change(line) for line in requirements([word for word in words if word != "--lowest"])))
