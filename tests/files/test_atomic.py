"""Files are the old one or the new one, whole: many writers at once, writers that are killed, clocks that go wrong."""

import os
import signal
import subprocess
import sys
import time

import pytest

import tnlayers as tnl
from tnlayers.files.atomic import replacing, write_text

WRITER = """
import sys
from pathlib import Path
from tnlayers.files.atomic import replacing
path, letter = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while True:
    with replacing(path) as file:
        for _ in range(20):
            file.write(letter.encode() * 5000)
"""


@pytest.fixture
def start_writer(tmp_path):
    """Starts a process that writes the file again and again, each time 100,000 times its letter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started = []

    def start(letter):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "file"), letter]
        started.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="a file that is open is not replaced there")
def test_readers_see_whole_files_of_four_writers_that_are_killed(start_writer, tmp_path):
    writers = [start_writer(letter) for letter in "abcd"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    seen, end = set(), time.monotonic() + 1.5
    while time.monotonic() < end:
        if (tmp_path / "file").exists():
            text = (tmp_path / "file").read_text()
            assert text == text[0] * 100_000
            seen.add(text[0])
    assert all(writer.poll() is None for writer in writers)  # none found its file gone
    assert len(seen) > 1
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    text = (tmp_path / "file").read_text()
    assert text == text[0] * 100_000
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / ".file.partial").exists()


def test_two_writers_in_one_process(tmp_path):
    with replacing(tmp_path / "file") as first:
        first.write(b"first")
        with replacing(tmp_path / "file") as second:
            second.write(b"second")
        assert (tmp_path / "file").read_bytes() == b"second"
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("moment", [0, 1, 2**33], ids=["1970", "a second later", "2242"])
def test_what_a_killed_writer_left_at_any_time_is_written_over(tmp_path, moment):
    left = tmp_path / ".file.partial"
    left.write_bytes(b"x" * 1000)
    os.utime(left, (moment, moment))
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path):
    write_text(tmp_path / "file", "old")
    with pytest.raises(TypeError), replacing(tmp_path / "file") as file:
        file.writelines([b"half", None])
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_is_no_file_is_not_in_the_way(tmp_path):
    os.mkfifo(tmp_path / ".a.partial")  # which nobody reads
    (tmp_path / ".b.partial").mkdir()
    for name in "ab":
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.partial", ".b.partial", "a", "b"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_devices_and_pipes_are_not_replaced_by_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="device, a pipe or a socket"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    layer = tnl.build("mpo(in=2x2, out=2x2, bond=2)", backend="numpy", seed=0)
    with pytest.raises(tnl.TNLayersError, match=r"Cannot write .*pipe: It is a device, a pipe or a socket"):
        tnl.save(layer, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
