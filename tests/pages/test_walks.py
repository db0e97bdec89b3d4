"""The walks of docs/design.md: a trace of each call enters the files that its list names, in that order."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import ROOT

import tnlayers as tnl

torch = pytest.importorskip("torch")

BACKENDS = ROOT / "backends" / "tnlayers_backends"
LIST = re.compile(r"^### (.+?)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^(\d+)\. `([\w/]+\.py)`: ", re.MULTILINE)


def walks():
    """By heading, the files that the page names."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = page[page.index("## Walks\n") + 3 :]
    section = section[: section.index("\n## ") + 4]
    lists = {heading.replace("`", ""): ITEM.findall(text) for heading, text in LIST.findall(section)}
    for items in lists.values():
        assert [int(number) for number, _ in items] == list(range(1, len(items) + 1))
    return {heading: [file for _, file in items] for heading, items in lists.items()}


def path_of(file):
    """Where a file of the page lies."""
    return (BACKENDS if file.startswith("torch/") else ROOT / "tnlayers") / file


def is_importing(frame):
    """Whether a module is being loaded: deferred imports are no part of a walk."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def traced():
    """Yield a list that fills with the library's files as they are first entered."""
    homes = (str(BACKENDS), str(ROOT / "tnlayers"))
    entered, seen = [], set()

    def watch(frame, event, _):
        name = frame.f_code.co_filename
        if event != "call" or name in seen:
            return
        home = next((home for home in homes if name.startswith(home)), None)
        if home is None:
            seen.add(name)
        elif not is_importing(frame):
            seen.add(name)
            entered.append(Path(name).relative_to(home).as_posix())

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield entered
    finally:
        sys.setprofile(before)


def in_order(named, entered):
    """The named files that a trace has, in the trace's order."""
    return [file for file in entered if file in set(named)]


def entered_by(call, *, times=1):
    """The files that a call enters after it was made `times` times."""
    for _ in range(times):
        call()
    with traced() as entered:
        call()
    return entered


@pytest.mark.parametrize("heading", walks())
def test_each_walk_names_files_that_exist_and_none_twice(heading):
    named = walks()[heading]
    assert named
    assert [file for file in named if not path_of(file).is_file()] == []
    assert len(set(named)) == len(named)


def test_the_page_has_the_walks_that_are_traced_here():
    assert list(walks()) == [
        "Inference, cached", "Training", "Frozen", "tnl.plan", "tnl.compress(model)", "tnlayers train, to the step",
    ]  # fmt: skip


def test_the_comparison_sees_a_wrong_order_and_a_missing_file():
    named = walks()["Inference, cached"]
    entered = entered_by(inference(), times=3)
    assert in_order(named, entered) == named
    assert in_order(named[::-1], entered) != named[::-1]
    wrong = [*named, "torch/layers/conv.py"]
    assert in_order(wrong, entered) != wrong


def inference():
    layer, x = tnl.nn.MPOLinear(784, 256, bond_dim=16, seed=0), torch.randn(128, 784)

    def call():
        with torch.no_grad():
            layer(x)

    return call


def test_inference():
    assert entered_by(inference(), times=3) == walks()["Inference, cached"]


def test_training():
    layer, x = tnl.nn.MPOLinear(4096, 4096, bond_dim=16, seed=0), torch.randn(128, 4096)
    assert layer.plan_for(128, "training").chunk is not None
    assert entered_by(lambda: layer(x).sum().backward(), times=2) == walks()["Training"]


def test_frozen():
    layer, x = tnl.nn.MPOLinear(784, 256, bond_dim=16, seed=0), torch.randn(128, 784)
    tnl.freeze(layer)

    def call():
        with torch.no_grad():
            layer(x)

    assert entered_by(call, times=2) == walks()["Frozen"]


def test_plan():
    # sizes that no other test has: what is found is cached in the process
    entered = entered_by(lambda: tnl.plan("mpo(in=6x10x14, out=4x7x9, bond=5)", batch=101), times=0)
    named = walks()["tnl.plan"]
    assert in_order(named, entered) == named


def test_compress():
    model = torch.nn.Sequential(torch.nn.Linear(66, 62), torch.nn.ReLU(), torch.nn.Linear(62, 10))
    sample = torch.randn(100, 66)
    entered = entered_by(lambda: tnl.compress(model, ratio=0.5, sample=sample), times=0)
    named = walks()["tnl.compress(model)"]
    assert in_order(named, entered) == named


def test_train(call, tmp_path, monkeypatch):
    pytest.importorskip("lightning_fabric")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    with traced() as entered:
        status, _, err = call("train", "fc2", "--network", "mpo", "--data", "digits", "--epochs", "1", "--batch", "500")
    assert status == 0, err
    named = walks()["tnlayers train, to the step"]
    assert in_order(named, entered) == named


@pytest.mark.parametrize("heading", walks())
def test_no_walk_passes_through_the_last_resort(heading):
    """Slices are for a memory limit that nothing else meets."""
    last = {"planning/slices.py", "planning/sliced.py", "torch/run/sliced.py"}
    assert all(path_of(file).is_file() for file in last)
    assert not last & set(walks()[heading])
