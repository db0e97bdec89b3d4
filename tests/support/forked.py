"""Scripts that run in processes of their own, which have imported torch and the training package before they start.

A new interpreter takes seconds of processor time to import them, more than what most tests run in it. A server imports
them once; each process is a fork of it. What a fork cannot show (how Python starts, what a launcher does, signals
while modules are imported) is tested with real interpreters.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["lightning_fabric", "tnlayers.train.run", "tnlayers.compress.repair"])


class Forked:
    """One script on one process or on several that find each other as under torchrun; used as a `subprocess.Popen`."""

    def __init__(self, script: Path, *words: str, processes: int = 1, environment: dict[str, str] | None = None):
        self._output = script.parent / f"output-{time.monotonic_ns()}.txt"
        ranks = [{}] if processes == 1 else _ranks(processes)
        base = {**os.environ, **(environment or {})}
        self._processes = [
            _SERVER.Process(target=_run, args=(str(script), words, {**base, **rank}, str(self._output)))
            for rank in ranks
        ]
        for process in self._processes:
            process.start()

    def poll(self) -> int | None:
        """The status of the first that failed, 0 once all have ended well, None before."""
        codes = [process.exitcode for process in self._processes]
        return None if None in codes else next((code for code in codes if code), 0)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def send_signal(self, number: int) -> None:
        for process in self._processes:
            os.kill(process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int | None:
        for process in self._processes:
            process.join(timeout)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What all of them have written, once they have ended."""
        if self.wait(timeout) is None:
            self.kill()
            raise TimeoutError(self._output.read_text())
        return self._output.read_text(), None


def _ranks(count: int) -> list[dict[str, str]]:
    """The variables by which torchrun tells processes of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "forked",
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _run(script: str, words: tuple[str, ...], environment: dict[str, str], output: str) -> None:
    """Become the script: its folder, variables, arguments and streams."""
    os.chdir(Path(script).parent)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    warnings.simplefilter("error")
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
