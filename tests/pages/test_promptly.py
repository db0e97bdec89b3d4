"""The helper that times: it fails for what is slow, and not for what is slow once."""

import pytest
from promptly import TRIES, assert_prompt, busy


def test_what_is_slow_fails():
    with pytest.raises(AssertionError, match=r"took 0\.0\d s at best, where 0\.01 s are promised"):
        assert_prompt(lambda: busy(0.02), 0.01)


def test_what_is_slow_once_passes():
    tries = iter([0.02, 0.0])
    assert_prompt(lambda: busy(next(tries)), 0.01)
    assert next(tries, "all were taken") == "all were taken"
    assert TRIES > 1
