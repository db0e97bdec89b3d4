"""What the tests of the command line share beside the fixture `call`."""

from collections.abc import Callable

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"
Call = Callable[..., tuple[int, str, str]]
