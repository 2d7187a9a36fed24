"""Every token follows from the ids before it; text is held back and cut as vLLM does it.

The comparison with a real vLLM was made by hand (its figures are in the project's notes); here only the rules are held.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfleet.engines.simulated import tokens
from llmfleet.engines.simulated.generate import Generation, Limits

PROMPT = tokens.encode(tokens.render([("user", "Tell me about queues é")]))
prompts = st.lists(st.integers(0, tokens.VOCABULARY - 1), min_size=1, max_size=20).map(tuple)


def run(prompt, **limits):
    """Return a finished generation and the text that each of its steps released."""
    generation = Generation(tuple(prompt), Limits(**limits))
    released = []
    while generation.finish is None:
        released.append(generation.step()[0])
    return generation, released


def test_a_generation_goes_on_the_same_wherever_it_is_cut():
    whole, _ = run(PROMPT, max_tokens=400, ignore_eos=True)
    for cut in range(400):
        rest, _ = run(PROMPT + tuple(whole.output_ids[:cut]), max_tokens=400 - cut, ignore_eos=True)
        assert rest.output_ids == whole.output_ids[cut:], f"cut behind token {cut}"


def test_the_long_answer_holds_what_is_hard_to_continue():
    whole, _ = run(PROMPT, max_tokens=400, ignore_eos=True)
    assert {piece for character in tokens.SPLIT for piece in character} <= set(whole.output_ids)
    assert tokens.encode(whole.text) != tuple(whole.output_ids)
    assert "\ufffd" not in whole.text


def test_different_prompts_get_different_answers():
    answers = {run(tokens.encode(f"Question {number}\n"), max_tokens=20)[0].text for number in range(50)}
    assert len(answers) == 50


def test_most_answers_end_by_themselves():
    ends = [run(tokens.encode(f"Question {number}\n"), max_tokens=2000)[0] for number in range(50)]
    assert {generation.finish for generation in ends} == {"stop"}
    assert all(generation.output_ids[-1] == tokens.EOS for generation in ends)
    assert all(generation.output_ids.count(tokens.EOS) == 1 for generation in ends)
    assert 30 < sum(len(generation.output_ids) for generation in ends) / 50 < 300


@given(prompts, st.integers(1, 80), st.booleans(), st.sampled_from([(), ("e",), (" the", ". ")]))
def test_what_is_released_adds_up_to_the_text(prompt, max_tokens, ignore_eos, stop):
    generation, released = run(prompt, max_tokens=max_tokens, ignore_eos=ignore_eos, stop=stop)
    assert "".join(released) == generation.text
    assert len(released) == len(generation.output_ids) <= max_tokens


@given(prompts, st.integers(1, 80), st.booleans(), st.sampled_from([(), (" t",)]), st.sampled_from([(), (46,)]))
def test_finishing_at_once_gives_what_steps_give(prompt, max_tokens, ignore_eos, stop, stop_ids):
    limits = {"max_tokens": max_tokens, "ignore_eos": ignore_eos, "stop": stop, "stop_token_ids": frozenset(stop_ids)}
    stepped, _ = run(prompt, **limits)
    at_once = Generation(prompt, Limits(**limits))
    assert at_once.finish_at_once() == len(stepped.output_ids)
    assert (at_once.output_ids, at_once.text) == (stepped.output_ids, stepped.text)
    assert (at_once.finish, at_once.stop_reason) == (stepped.finish, stepped.stop_reason)


@pytest.mark.parametrize("include_stop", [True, False])
def test_no_part_of_a_stop_string_is_released_too_early(include_stop):
    whole, _ = run(PROMPT, max_tokens=100, ignore_eos=True)
    stop = whole.text[120:131]
    generation, released = run(PROMPT, max_tokens=100, ignore_eos=True, stop=(stop,), include_stop=include_stop)
    place = whole.text.index(stop)
    assert generation.text == whole.text[: place + len(stop) if include_stop else place]
    assert (generation.finish, generation.stop_reason) == ("stop", stop)
    said = ""
    for text in released:
        said += text
        assert generation.text.startswith(said)


def test_text_that_was_held_back_comes_with_the_last_token():
    stop = "never to be seen " * 3
    generation, released = run(PROMPT, max_tokens=30, ignore_eos=True, stop=(stop,))
    assert len(generation.text) > len(stop)
    assert len(released[-1]) >= len(stop) - 1


def test_a_character_in_pieces_is_released_with_its_last_piece():
    whole, released = run(PROMPT, max_tokens=400, ignore_eos=True)
    for character in tokens.SPLIT:
        first = whole.output_ids.index(character[0])
        assert tuple(whole.output_ids[first : first + len(character)]) == character
        pieces = released[first : first + len(character)]
        assert pieces == [""] * (len(character) - 1) + [tokens.decode(character)]


def test_a_prompt_that_ends_inside_a_character_comes_back_as_text():
    # vLLM 0.32 does this; whoever continues a cut must step back to the last whole character.
    character = tokens.SPLIT[0]
    generation, _ = run((*tokens.encode("Say"), character[0]), max_tokens=1)
    assert generation.text == "Say" + tokens.decode(character)
    assert run(tokens.encode("Say é"), max_tokens=1)[0].text.isascii()


def test_a_cut_inside_a_character_at_the_limit_says_nothing_of_it():
    whole, _ = run(PROMPT, max_tokens=400, ignore_eos=True)
    first = next(n for n, number in enumerate(whole.output_ids) if number == tokens.SPLIT[0][0])
    generation, _ = run(PROMPT, max_tokens=first + 1, ignore_eos=True)
    assert generation.text == tokens.decode(whole.output_ids[:first])
