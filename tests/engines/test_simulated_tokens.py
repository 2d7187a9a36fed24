"""The simulated tokenizer keeps every text and behaves like real ones where that breaks programs.

It does not prove anything about a real tokenizer; the habits copied are in the module's docstring.
"""

from hypothesis import given
from hypothesis import strategies as st

from llmfleet.engines.simulated import tokens


@given(st.text())
def test_a_text_survives_encoding_and_decoding(text):
    for special in tokens.SPECIAL:
        text = text.replace(special, "")
    assert tokens.decode(tokens.encode(text)) == text


def test_known_words_are_one_token_and_unknown_ones_their_bytes():
    assert len(tokens.encode(" the worker")) == 2
    assert tokens.encode("Zürich") == tuple("Zürich".encode())


def test_special_tokens_have_ids_of_their_own_and_no_text():
    assert tokens.encode("a<|im_end|>b") == (ord("a"), tokens.EOS, ord("b"))
    assert tokens.decode([ord("a"), tokens.EOS, ord("b")]) == "ab"


def test_generated_pieces_of_a_character_are_not_what_encoding_gives():
    for character in tokens.SPLIT:
        text = tokens.decode(character)
        assert "\ufffd" not in text
        assert tokens.encode(text) != character
        assert all(tokens.decode(character[:cut]).endswith("\ufffd") for cut in range(1, len(character)))


def test_a_chat_becomes_turns_between_markers():
    assert tokens.render([("system", "Be brief."), ("user", "Hi")]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokens.render([("assistant", "One")], add_generation_prompt=False, open_end=True) == (
        "<|im_start|>assistant\nOne"
    )
