"""What tests of files share: a fresh interpreter, and layers as plain arrays."""

import interpreter
import numpy as np
import pytest

import tnlayers as tnl


@pytest.fixture
def fresh():
    """Run code in an interpreter of its own, which has tnlayers and none of the networks that the tests declare."""

    return interpreter.run


@pytest.fixture(scope="session")
def arrays():
    """Cores and bias of a layer as numpy arrays by name, on any backend."""

    def of(layer):
        found = dict(layer.cores) | ({} if layer.bias is None else {"bias": layer.bias})
        return {name: np.asarray(a.detach() if hasattr(a, "detach") else a) for name, a in found.items()}

    return of


@pytest.fixture(scope="session")
def assert_same():
    """Arrays by name, equal bit for bit."""

    def check(found, expected):
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
            assert found[name].tobytes() == array.tobytes(), name

    return check


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The bytes of a small file, its arrays, and a folder to write to."""
    folder = tmp_path_factory.mktemp("small")
    layer = tnl.build("mpo(in=2x2, out=2x1, bias=true, bond=2)", backend="numpy", seed=0)
    tnl.save(layer, folder / "layer")
    return (folder / "layer").read_bytes(), {**layer.cores, "bias": layer.bias}, folder
