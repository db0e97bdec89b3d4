"""The fuzzer's campaigns with few inputs, and every input that was once wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from promptly import busy

import tnlayers as tnl
from fuzz import page, verdict
from fuzz.campaigns import Campaign, campaigns
from fuzz.run import Tally, arguments, one
from fuzz.verdict import CANARY, judged

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
EXAMPLES = 60


@pytest.mark.parametrize("name", campaigns())
def test_inputs_of_chance(name):
    campaign = campaigns()[name]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(campaign.inputs)
    def all_are_right(value):
        verdict = one(campaign, value)
        assert verdict.kind != "wrong", verdict.why

    all_are_right()


def test_wrong_arguments():
    tally = arguments(seconds=20, start=0)
    assert not tally.wrong
    assert tally.counts["refused"] > 100


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_the_corpus(file):
    case = json.loads(file.read_text(encoding="utf-8"))
    value = case["input"].encode("latin-1") if case.get("bytes") else case["input"]
    value = tuple(value) if case["campaign"] == "headers" else value
    verdict = one(campaigns()[case["campaign"]], value)
    assert verdict.kind == case["verdict"], verdict.why


def test_what_is_wrong_is_seen(tmp_path):
    """Each kind of wrong, once on purpose."""

    def refuse_at_length():
        error = tnl.TNLayersError()
        error.args = ("x" * 3000,)
        raise error

    wrong = {
        "ZeroDivisionError": lambda: 1 / 0,
        "a message of 3000": refuse_at_length,
        "was executed": lambda: (tmp_path / CANARY).touch(),
        "left behind": lambda: (tmp_path / "other").touch(),
    }
    for why, action in wrong.items():
        found = judged(action, tmp_path)
        assert found.kind == "wrong"
        assert why in found.why
        for path in tmp_path.iterdir():
            path.unlink()
    assert judged(lambda: None, tmp_path).kind == "done"
    assert judged(lambda: tnl.spec("nope"), tmp_path).kind == "refused"
    assert judged(lambda: int("x"), tmp_path).kind == "wrong"
    assert judged(lambda: int("x"), tmp_path, arguments=True).kind == "refused"


def test_what_is_slow_is_wrong_and_what_is_slow_once_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict, "SECONDS", 0.01)
    tries = iter((0.02, 0.0, 0.02, 0.02))
    assert judged(lambda: busy(next(tries)), tmp_path).kind == "done"
    assert "took" in judged(lambda: busy(next(tries)), tmp_path).why
    assert next(tries, None) is None


def test_the_page_says_the_counts():
    tally = Tally()
    for _ in range(1234):
        tally.add(one(Campaign("", st.none(), lambda _, __: None), None), None)
    shown = page.text({"none": "nothing"}, {"none": tally}, 60, 7)
    assert "| none | nothing | 1,234 | 1,234 | 0 | 0 |" in shown
    assert "60 s over all campaigns, seed 7" in shown
