"""A process for a part of the work ends with the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tnlayers.files.child import child

PARENT = """
import sys
from tnlayers.files.child import child
words = [sys.executable, "-m", "tnlayers", "train", "fc2", "--data", "digits", "--epochs", "50000", "--threads", "1"]
with child(words) as process:
    print(process.pid, flush=True)
    process.wait()
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_ends_with_its_parent_that_is_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        while not (tmp_path / "runs" / "fc2-digits" / "metrics.csv").exists() and is_running(pid):
            time.sleep(0.02)
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 20
        while is_running(pid) and time.monotonic() < end:
            time.sleep(0.02)
        gone = not is_running(pid)
        if not gone:
            os.kill(pid, signal.SIGKILL)
    assert gone


def test_a_child_is_ended_after_the_block():
    with child([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        pass
    assert process.returncode == -signal.SIGTERM
