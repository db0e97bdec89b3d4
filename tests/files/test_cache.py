"""The cache is a convenience: whatever is wrong with its place, layers are made and plans are found."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import tnlayers as tnl
from tnlayers.files import cache
from tnlayers.machine import saved_rates as calibrate
from tnlayers.planning import choosing as optimise
from tnlayers.planning import conv_choice
from tnlayers.program.layout import assemble

SPEC = "mpo(in=4x4x4x4, out=4x4x4x4, bond=4)"


def _missing(folder):
    return folder / "not" / "there"


def _file(folder):
    (folder / "file").write_text("")
    return folder / "file"


def _below_a_file(folder):
    return _file(folder) / "below"


def _void(folder):
    (folder / "link").symlink_to(folder / "nothing")
    return folder / "link"


def _loop(folder):
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def _pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _pipes_as_files(folder):
    """Each file that would be read is a pipe into which nobody writes: to read it is to wait for ever."""
    file = calibrate.machine_file().name
    os.mkfifo(folder / file)
    os.mkfifo(folder / "plans")
    return folder


def _folders_as_files(folder):
    (folder / calibrate.machine_file().name).mkdir()
    return folder


def _endless(folder):
    (folder / calibrate.machine_file().name).symlink_to("/dev/zero")
    return folder


PLACES = {
    "empty": lambda folder: "",
    "blank": lambda folder: " ",
    "a home that nobody knows": lambda folder: "~no-such-user/cache",
    "a device": lambda folder: "/dev/null",
    "an endless device": lambda folder: "/dev/zero",
    "no room": lambda folder: "/dev/full",
    "of the kernel": lambda folder: "/proc/self/cache",
    "a name too long": lambda folder: folder / ("n" * 300),
    "a path too long": lambda folder: folder / "/".join(["n" * 100] * 50),
    **{
        make.__name__: make
        for make in (
            _missing,
            _file,
            _below_a_file,
            _void,
            _loop,
            _pipe,
            _pipes_as_files,
            _folders_as_files,
            _endless,
        )
    },
}


def forget():
    for known in (calibrate.machine, optimise._cached_search, assemble, conv_choice.plan_convolution):
        known.cache_clear()


@pytest.fixture
def place(request, monkeypatch, tmp_path):
    """TNLAYERS_CACHE set to a place with something wrong about it; plans are kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TNLAYERS_CACHE", str(PLACES[request.param](tmp_path)))
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "1")
    forget()
    yield tmp_path
    forget()


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_layer_and_a_plan_whatever_the_place(place):
    with warnings.catch_warnings(record=True) as message:
        warnings.simplefilter("always")
        layer = tnl.build(SPEC, backend="numpy", seed=0)
        again = tnl.build(SPEC, backend="numpy", seed=0)
        assert tnl.plan(SPEC, 8) == tnl.plan(SPEC, 8)
    assert layer.to_dense().tobytes() == again.to_dense().tobytes()
    assert len(message) <= 1, message
    assert not Path("~no-such-user").exists()


@pytest.mark.parametrize("content", ["", "[" * 100_000, "1" * 5000, "\x00", '{"rates": 1}', "null", "9" * 400])
def test_rates_that_are_none_are_told_of_once(monkeypatch, tmp_path, content):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    forget()
    calibrate.machine_file().write_text(content)
    with pytest.warns(tnl.TNLayersWarning, match="The default rates are used") as message:
        tnl.plan(SPEC, 8)
    forget()
    assert len(message) == 1


def test_a_size_that_no_float_holds_is_no_rate(monkeypatch, tmp_path):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    rates = {name: 1.0 for name in calibrate.Machine.__dataclass_fields__} | {"fresh_bytes": float("inf")}
    calibrate.machine_file().write_text(json.dumps({"format": calibrate.FORMAT, "rates": rates}))
    with pytest.raises(tnl.TNLayersError, match="holds no rates"):
        calibrate.read(calibrate.machine_file())


@pytest.mark.parametrize("folder", ["~no-such-user", "~no-such-user/cache", "", " "])
def test_what_begins_with_an_unknown_home_is_nowhere(monkeypatch, folder):
    monkeypatch.setenv("TNLAYERS_CACHE", folder)
    assert cache.cache_folder() == cache.NOWHERE
    assert not cache.is_cached(cache.cache_folder() / "file")


SCRIPT = """
import os, sys
import numpy as np, platformdirs.unix, tnlayers as tnl
from tnlayers.planning import choosing
from tnlayers.machine import saved_rates as calibrate

def use():
    layer = tnl.build("mpo(in=4x4x4x4, out=4x4x4x4, bond=4)", backend="numpy", seed=0)
    layer(np.ones((2, 256), np.float32))
    return tnl.plan("mpo(in=4x4x4x4, out=4x4x4x4, bond=4)", 8).batch

os.environ["TNLAYERS_CACHE"] = ""
use()  # all modules are loaded now: the other user may not be allowed to read them
calibrate.machine.cache_clear()
choosing._cached_search.cache_clear()
del os.environ["TNLAYERS_CACHE"]
os.environ.pop("HOME", None)
if sys.argv[1]:
    os.environ["HOME"] = sys.argv[1]
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
print(use())
"""


@pytest.mark.skipif(os.name == "nt", reason="user ids of POSIX")
@pytest.mark.parametrize("closed", [True, False], ids=["a home that it may not enter", "no home"])
def test_a_process_of_a_user_without_a_name(tmp_path, closed):
    """As in a container that runs as another user: no entry in passwd, and a HOME that is root's, or none."""
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    home.chmod(0o700)
    environment = {k: v for k, v in os.environ.items() if k not in ("TNLAYERS_CACHE", "XDG_CACHE_HOME", "HOME")}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TNLAYERS_KEEP_PLANS": "1"}
    words = [sys.executable, "-W", "error", "-c", SCRIPT, str(home) if closed else ""]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("8\n", "")
