"""Rates are measured, kept per user, read back, and decide plans; without them plans are those of the defaults."""

import json
from dataclasses import asdict, fields, replace

import pytest

import tnlayers as tnl
from tnlayers import __main__ as command_line
from tnlayers import calibrate
from tnlayers.machine import Machine

SPEC = "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "cache"))
    calibrate.machine.cache_clear()
    yield calibrate.machine_file()
    calibrate.machine.cache_clear()


def keep(file, rates):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"format": calibrate.FORMAT, "rates": asdict(rates)}))
    calibrate.machine.cache_clear()


def test_defaults_without_a_file(kept):
    assert calibrate.machine() == Machine()


def test_kept_rates_decide_plans(kept):
    default = tnl.plan(SPEC, 128, objective="training")
    assert default.chunk is not None
    roomy = replace(Machine(), bytes_per_second=1e12, fresh_bytes_per_second=1e12)
    keep(kept, roomy)
    assert calibrate.machine() == roomy
    other = tnl.plan(SPEC, 128, objective="training")
    assert other.chunk is None  # where new memory costs nothing, computing the states again does not pay


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "tnlayers.machine/1", "rates": {}}', '{"format": "x"}'])
def test_a_broken_file_is_told_and_not_used(kept, text):
    kept.parent.mkdir()
    kept.write_text(text)
    with pytest.warns(tnl.TNLayersWarning, match=r"holds no rates.*calibrate"):
        assert calibrate.machine() == Machine()


def test_rates_below_zero_are_refused(kept):
    keep(kept, replace(Machine(), side=-1.0))
    with pytest.raises(tnl.TNLayersError, match="all above zero"):
        calibrate.read(kept)


def test_where_they_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("TNLAYERS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibrate.machine_file().parent == tmp_path / "tnlayers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert calibrate.machine_file().parent == tmp_path / ".cache" / "tnlayers"


def test_the_command_measures_and_keeps(kept, monkeypatch, capsys):
    rates = pytest.importorskip("tnlayers_backends.torch.rates")
    monkeypatch.setattr(rates, "_SECONDS", 0.002)
    monkeypatch.setattr(rates, "_LARGE", 2**18)
    with pytest.raises(SystemExit) as end:
        command_line.main(["calibrate", "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(kept)
    assert calibrate.machine() == calibrate.read(kept) == Machine(**told["rates"])
    measured = asdict(calibrate.machine())
    assert all(measured[field.name] > 0 for field in fields(Machine))
    assert measured["flops_per_second"] != Machine().flops_per_second
    with pytest.raises(SystemExit):
        command_line.main(["calibrate"])
    out = capsys.readouterr().out
    assert "flops_per_second" in out
    assert str(kept.name) in out.replace("\n", "")


def test_a_folder_that_cannot_be_made_is_refused(monkeypatch, tmp_path):
    rates = pytest.importorskip("tnlayers_backends.torch.rates")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(rates, "measure", Machine)
    with pytest.raises(tnl.TNLayersError, match=r"cannot be kept.*TNLAYERS_CACHE"):
        calibrate.calibrate()
