"""`check --kinds` finds every kind on every backend within the tolerance, and finds faults."""

from dataclasses import replace

import numpy as np
import pytest
from tnlayers_backends.torch.layers.kinds import KINDS

from tnlayers.__main__ import main
from tnlayers.backends import backend
from tnlayers.errors import TNLayersError
from tnlayers.verify.kinds import check_kind, check_kinds, rows

ROWS = rows()


def test_every_kind_of_one_network_has_a_row():
    assert ROWS.keys() == KINDS.keys()


@pytest.mark.parametrize(("name", "dtype"), [("numpy", "float64"), ("torch", "float64"), ("jax", "float32")])
@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_is_within_the_tolerance(kind, name, dtype):
    (found,) = check_kind(kind, ROWS[kind], name, dtype)
    assert (found.backend, found.dtype, found.quantity) == (name, dtype, "forward")
    assert found.units < 1


@pytest.mark.parametrize("kind", ROWS)
def test_a_fault_is_found(kind):
    row = ROWS[kind]
    wrong = replace(row, dense=lambda w, given: row.dense(w * (1 + 1e-3), given))
    (found,) = check_kind(kind, wrong, "numpy", "float32")
    assert found.units > 1
    assert not found.good
    (found,) = check_kind(kind, replace(row, dense=lambda w, given: row.dense(w, given)[:1]), "numpy", "float32")
    assert np.isinf(found.units)


def test_a_backend_without_a_kind_is_left_out(monkeypatch):
    def refuse(parts):
        raise TNLayersError("It has linear layers alone.")

    true = backend("numpy")
    alone = replace(true, storage=replace(true.storage, put_together=refuse))
    monkeypatch.setattr("tnlayers.verify.kinds.get_backend", lambda name: alone)
    assert check_kinds(["numpy"]) == []


def test_the_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", "--kinds", "--backend", "numpy"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "conv3d" in text
    assert "All within the tolerance." in text
    with pytest.raises(SystemExit) as ended:
        main(["check", "--backend", "numpy"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert "Give a SPEC, or --kinds" in out + err
