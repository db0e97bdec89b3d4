"""Values that nobody meant to give: what campaigns put in the place of right ones."""

from __future__ import annotations

from hypothesis import strategies as st

HUGE = 10**18
NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 3, 7, 62, 63, 64, 65, 1000, 2**31, 2**63, -(2**63), HUGE, 10**40, 0.5, -0.0, 1e308]
)
ODD_TEXTS = st.sampled_from(
    [
        "",
        " ",
        "x",
        "dense",
        "mpo",
        "\x00",
        "\ud800",
        "a" * 5000,
        "../x",
        "/dev/zero",
        "__class__",
        "é",
        "1e999",
        "nan",
        "0",
        "-1",
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | ODD_TEXTS | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed(draw, whole):
    """A nested value like `whole`, with one to three of its parts replaced, left out or doubled.

    Args:
        draw: Of Hypothesis.
        whole: Lists, dictionaries with texts as keys, and plain values.
    """
    result = whole
    for _ in range(draw(st.integers(1, 3))):
        result = _once(draw, result)
    return result


def _once(draw, whole):
    if isinstance(whole, dict) and whole and draw(st.integers(0, 6)):
        key = draw(st.sampled_from(sorted(whole)))
        how = draw(st.sampled_from(["inside", "inside", "inside", "gone", "renamed"]))
        if how == "inside":
            return {**whole, key: _once(draw, whole[key])}
        rest = {name: value for name, value in whole.items() if name != key}
        return rest if how == "gone" else rest | {draw(ODD_TEXTS): whole[key]}
    if isinstance(whole, list) and whole and draw(st.integers(0, 6)):
        k = draw(st.integers(0, len(whole) - 1))
        how = draw(st.sampled_from(["inside", "inside", "inside", "gone", "twice", "many"]))
        middle = {
            "inside": [_once(draw, whole[k])],
            "gone": [],
            "twice": whole[k : k + 1] * 2,
            "many": whole[k : k + 1] * 200,
        }
        return whole[:k] + middle[how] + whole[k + 1 :]
    if isinstance(whole, bool) or not isinstance(whole, int):
        return draw(JSON)
    return draw(st.integers(-2, 70) | JSON)
