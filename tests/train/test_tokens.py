"""Tokens of texts: characters and byte pairs, there and back, and what is none of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnlayers.errors import TNLayersError
from tnlayers.train.sonnets import SONNETS
from tnlayers.train.text import load_text
from tnlayers.train.tokens import BytePairs, Characters, tokens_from_json


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_characters_come_back(given):
    tokens = tokens_from_json(Characters.of(given).to_json())
    encoded = tokens.encode(given)
    assert tokens.decode(encoded) == given
    assert (encoded.min() >= 0) & (encoded.max() < tokens.vocabulary)


def test_an_unknown_character_is_refused_by_name():
    with pytest.raises(TNLayersError, match=r"'Q', 'é': not among the 5 characters .*' bert'.*bpe-512"):
        Characters.of("to be better".replace("o", "")).encode("Qé bet")


def test_byte_pairs_come_back_and_know_every_text():
    pytest.importorskip("tokenizers")
    found = load_text("sonnets", tokens="bpe-300")
    assert found.code.vocabulary == 300
    assert len(found.train) < 0.8 * found.train.characters
    assert found.train.characters + found.test.characters == len(SONNETS)
    for words in (SONNETS, "Grüße, 世界! \U0001f600", " two  blanks\n\n"):
        assert found.code.decode(found.code.encode(words)) == words
    twin = tokens_from_json(found.code.to_json())
    assert np.array_equal(twin.encode(SONNETS[3861:]), found.test.tokens)
    again = load_text("sonnets", tokens="bpe-300")
    assert again.code.to_json() == found.code.to_json()
    split = found.hold_out(100)
    assert split.train.characters + split.validation.characters == found.train.characters


@pytest.mark.parametrize("form", ["bpe-256", "bpe-99999", "bpe", "words"])
def test_other_tokens_are_refused(form):
    with pytest.raises(TNLayersError, match=form):
        load_text("sonnets", tokens=form)


@pytest.mark.parametrize(
    "given",
    ["", "[]", "{}", '{"kind": "characters", "symbols": "ba"}', '{"kind": "bpe", "tokenizer": "{}"}', "a" * 9999],
)
def test_damaged_tokens_are_refused(given):
    with pytest.raises(TNLayersError, match="tokens") as found:
        tokens_from_json(given)
    assert len(str(found.value)) < 600


def test_byte_pairs_without_the_package(monkeypatch):
    monkeypatch.setattr("tnlayers.train.tokens.find_spec", lambda name: None)
    with pytest.raises(TNLayersError, match=r"pip install tnlayers\[text\]"):
        BytePairs.of(SONNETS, 300)
