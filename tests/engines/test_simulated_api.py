"""The simulated engine's answers and refusals over HTTP, in the shapes of vLLM 0.32.

Shapes were taken from vLLM's code and from recorded answers; no real vLLM runs here.
"""

import openai
import pytest
from talk import user

from llmfleet.engines.simulated import decode, encode

PROMPT = "Tell me about queues"


async def test_a_chat_stream_begins_with_the_role_and_ends_with_a_reason_usage_and_done(engine):
    talk = await engine()
    found = await talk.stream(
        "/v1/chat/completions", model="m", messages=user(PROMPT), stream_options={"include_usage": True}, max_tokens=40
    )
    first, *middle, last, usage = found.events
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {event["id"] for event in found.events} == {first["id"]}
    assert all(event["choices"][0]["finish_reason"] is None for event in middle)
    assert last["choices"][0]["finish_reason"] in ("stop", "length")
    assert usage["choices"] == []
    count = usage["usage"]["completion_tokens"]
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + count
    assert len(middle) + 1 == count
    assert found.done


async def test_a_stream_says_what_the_whole_answer_says(engine):
    talk = await engine()
    body = {"messages": user(PROMPT), "return_token_ids": True, "max_tokens": 300, "ignore_eos": True}
    found = await talk.stream("/v1/chat/completions", **body)
    _, answer = await talk.post("/v1/chat/completions", body)
    choice = answer["choices"][0]
    assert found.text == choice["message"]["content"]
    assert found.ids == choice["token_ids"]
    assert found.finish == choice["finish_reason"] == "length"
    assert found.events[0]["prompt_token_ids"] == answer["prompt_token_ids"]
    assert found.events[1].get("prompt_token_ids") is None
    assert answer["usage"]["completion_tokens"] == 300


async def test_a_chat_continues_by_token_ids_on_the_other_endpoint(engine):
    talk = await engine()
    body = {"messages": user(PROMPT), "return_token_ids": True, "max_tokens": 60, "ignore_eos": True}
    whole = await talk.stream("/v1/chat/completions", **body)
    prompt = whole.events[0]["prompt_token_ids"]
    rest = await talk.stream(
        "/v1/completions",
        prompt=prompt + whole.ids[:25],
        add_special_tokens=False,
        max_tokens=35,
        ignore_eos=True,
        return_token_ids=True,
    )
    assert rest.ids == whole.ids[25:]
    assert decode(whole.ids[:25]) + rest.text == whole.text
    assert rest.chunks[0]["prompt_token_ids"] == prompt + whole.ids[:25]
    assert rest.chunks[1]["prompt_token_ids"] is None


async def test_a_chat_prompt_is_what_tokenize_says(engine):
    talk = await engine(context=512)
    messages = [{"role": "system", "content": "Be brief."}, *user([{"type": "text", "text": PROMPT}])]
    _, answer = await talk.post("/v1/chat/completions", {"messages": messages, "return_token_ids": True})
    _, tokenized = await talk.post("/tokenize", {"messages": messages})
    assert tokenized["tokens"] == answer["prompt_token_ids"]
    assert tokenized["count"] == len(tokenized["tokens"]) == answer["usage"]["prompt_tokens"]
    assert tokenized["max_model_len"] == 512


async def test_a_text_gets_a_beginning_unless_special_tokens_are_off(engine):
    talk = await engine()
    plain = list(encode(PROMPT))
    for endpoint, key in (("/tokenize", "tokens"), ("/v1/completions", "prompt_token_ids")):
        for switched_on in (True, False):
            body = {"prompt": PROMPT, "add_special_tokens": switched_on, "return_token_ids": True}
            _, answer = await talk.post(endpoint, body)
            ids = (answer["choices"][0] if "choices" in answer else answer)[key]
            assert ids == ([256, *plain] if switched_on else plain)
    assert await talk.post("/detokenize", {"tokens": [256, *plain]}) == (200, {"prompt": PROMPT})


async def test_the_last_message_can_be_continued(engine):
    talk = await engine()
    whole = (await talk.post("/v1/chat/completions", {"messages": user(PROMPT), "max_tokens": 12}))[1]
    text = whole["choices"][0]["message"]["content"]
    messages = [*user(PROMPT), {"role": "assistant", "content": text}]
    status, rest = await talk.post(
        "/v1/chat/completions",
        {
            "messages": messages,
            "continue_final_message": True,
            "add_generation_prompt": False,
            "return_token_ids": True,
        },
    )
    assert status == 200
    assert decode(rest["prompt_token_ids"]).endswith(text)


async def test_stop_strings_and_ids_end_an_answer_and_are_named(engine):
    talk = await engine()
    whole = await talk.complete(PROMPT, max_tokens=80, ignore_eos=True)
    stop = whole["text"][40:52]
    cut = await talk.complete(PROMPT, max_tokens=80, ignore_eos=True, stop=[stop])
    assert (cut["finish_reason"], cut["stop_reason"]) == ("stop", stop)
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    number = whole["token_ids"][20]
    place = whole["token_ids"].index(number)
    cut = await talk.complete(PROMPT, max_tokens=80, ignore_eos=True, stop_token_ids=[number])
    assert (cut["finish_reason"], cut["stop_reason"]) == ("stop", number)
    assert cut["token_ids"] == whole["token_ids"][: place + 1]


async def test_several_prompts_and_copies_are_choices_of_one_answer(engine):
    talk = await engine()
    body = {"prompt": ["one", "two"], "n": 2, "max_tokens": 8, "ignore_eos": True}
    _, answer = await talk.post("/v1/completions", body)
    texts = [choice["text"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert answer["usage"] == {"prompt_tokens": 8, "total_tokens": 40, "completion_tokens": 32}
    found = await talk.stream("/v1/completions", **body)
    for index in range(4):
        assert "".join(chunk["text"] for chunk in found.chunks if chunk["index"] == index) == texts[index]


async def test_the_request_id_becomes_the_answers_id(engine):
    talk = await engine()
    _, answer = await talk.post("/v1/completions", {"prompt": "a"}, headers={"X-Request-Id": "abc"})
    assert answer["id"] == "cmpl-abc"


async def test_the_model_tells_its_length(engine):
    talk = await engine(model="some-model", context=777)
    async with talk.session.get(talk.url + "/v1/models") as response:
        model = (await response.json())["data"][0]
    assert (model["id"], model["max_model_len"], model["owned_by"]) == ("some-model", 777, "vllm")
    assert await talk.get("/health") == (200, "")


async def test_a_prompt_that_is_too_long_is_refused_in_vllms_words(engine):
    talk = await engine(context=100)
    status, answer = await talk.post("/v1/completions", {"prompt": "z" * 200, "max_tokens": 10})
    error = answer["error"]
    assert status == error["code"] == 400
    assert (error["type"], error["param"]) == ("BadRequestError", "input_tokens")
    assert error["message"] == (
        "This model's maximum context length is 100 tokens. However, you requested 10 output tokens and your prompt "
        "contains at least 91 input tokens, for a total of at least 101 tokens. Please reduce the length of the input "
        "prompt or the number of requested output tokens. (parameter=input_tokens, value=91)"
    )


async def test_without_a_limit_an_answer_may_fill_the_context(engine):
    talk = await engine(context=100)
    _, answer = await talk.post("/v1/chat/completions", {"messages": user("Hi"), "ignore_eos": True})
    assert answer["usage"]["total_tokens"] == 100


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"model": "other", "prompt": "a"}, 404, "The model `other` does not exist."),
        ({"prompt": ""}, 200, ""),
        ({"prompt": []}, 400, "non-empty"),
        ({"prompt": [1, 99999]}, 400, "Token id 99999 is out of vocabulary"),
        ({"prompt": "a", "max_tokens": 0}, 400, "max_tokens must be at least 1, got 0."),
        ({"prompt": "a", "max_tokens": 10**6}, 400, "max_tokens=1000000 cannot be greater than max_model_len=8192"),
        ({"prompt": "a", "n": 10**9}, 400, "n must be between"),
        ({"prompt": "a", "stop": [""]}, 400, "stop cannot contain an empty string."),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, 400, "Stream options can only be defined"),
        ({"prompt": "a", "temperature": 0.3, "seed": 1, "priority": 2, "user": "x"}, 200, ""),
        ({"prompt": 3}, 400, "$.prompt"),
        ([1], 400, "Expected `object`"),
    ],
)
async def test_completions_that_make_no_sense_are_refused(engine, body, status, says):
    talk = await engine()
    found, answer = await talk.post("/v1/completions", body)
    assert found == status
    if says:
        assert says in answer["error"]["message"]
        assert answer["error"]["code"] == status


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"content": "a"}]}, "role"),
        ({"messages": user([{"type": "image_url", "image_url": {"url": "x"}}])}, "At most 0 image(s)"),
        ({"messages": user("a"), "continue_final_message": True}, "Cannot set both"),
    ],
)
async def test_chats_that_make_no_sense_are_refused(engine, body, says):
    talk = await engine()
    status, answer = await talk.post("/v1/chat/completions", body)
    assert status == 400
    assert says in answer["error"]["message"]


async def test_what_is_no_json_and_what_is_nowhere_is_refused(engine):
    talk = await engine()
    for data in (b"", b"{", b"\xff"):
        async with talk.session.post(talk.url + "/v1/completions", data=data) as response:
            assert response.status == 400
            assert (await response.json())["error"]["type"] == "BadRequestError"
    assert (await talk.get("/nowhere"))[0] == 404
    assert (await talk.get("/v1/completions"))[0] == 405


async def test_openais_client_reads_the_answers(engine):
    talk = await engine()
    async with openai.AsyncOpenAI(base_url=talk.url + "/v1", api_key="none", max_retries=0) as client:
        whole = await client.chat.completions.create(model="m", messages=user(PROMPT), max_tokens=30)
        stream = await client.chat.completions.create(model="m", messages=user(PROMPT), max_tokens=30, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == whole.choices[0].message.content
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="other", messages=user(PROMPT))
