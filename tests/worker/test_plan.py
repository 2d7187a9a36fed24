"""Which answers can be continued, and what a continuation takes over from the request. Pure logic."""

import json

import pytest

from llmfleet.queue.messages import VERSION, Order
from llmfleet.worker.plan import plan


def planned(path: str = "/v1/chat/completions", **body: object):
    return plan(Order(VERSION, "r", 1, "m", path, True, False, 0, 1e12, "g", json.dumps(body).encode()))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"temperature": 0.7, "top_p": 0.9, "seed": 1, "ignore_eos": True},
        {"n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False},
        {"response_format": {"type": "text"}, "tools": []},
        {"stop": ["x"]},
    ],
)
def test_plain_requests_can_be_continued(body):
    assert planned(**body).resumable


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"frequency_penalty": 0.5},
        {"presence_penalty": -1},
        {"repetition_penalty": 1.1},
        {"logprobs": True},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "a"}},
        {"stop": "x", "include_stop_str_in_output": True},
        {"min_tokens": 5},
    ],
)
def test_requests_with_state_beside_the_tokens_cannot(body):
    assert not planned(**body).resumable


def test_completions_of_several_prompts_expect_as_many_answers():
    several = planned("/v1/completions", prompt=["a", "b"], n=2)
    assert (several.resumable, several.answers) == (False, 4)
    assert planned("/v1/completions", prompt=[1, 2, 3]).resumable


def test_stop_strings_are_watched_by_us_only_where_we_may_continue():
    assert planned(stop="x").stops == ("x",)
    assert planned(stop=["x", ""]).stops == ("x",)
    assert planned(stop="x", n=2).stops == ()


def test_a_continuation_takes_over_the_sampling_and_nothing_else():
    body = {
        "temperature": 0.5,
        "seed": 3,
        "some_vendor_field": 1,
        "messages": [],
        "max_tokens": 9,
        "stop": "x",
        "stream": True,
        "tools": [],
    }
    assert planned(**body).sampling == {"temperature": 0.5, "seed": 3, "some_vendor_field": 1}
    assert planned(max_completion_tokens=7, max_tokens=9).max_tokens == 7
