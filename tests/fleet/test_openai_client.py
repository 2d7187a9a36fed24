"""OpenAI's own client, unchanged but for its address, against a whole fleet with the simulated engine.
Proves the API's surface and what passes through queue and worker; the words are not a real model's.
"""

import openai
import pytest
from harness import fleet

MODEL = "openai-client"
ASK = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def whole(broker, tmp_path_factory, free_port):
    with fleet(tmp_path_factory.mktemp("fleet"), broker.url, free_port, MODEL) as made:
        made.gateway()
        _, engine = made.engine("--context", 512)
        made.worker(engine, name="a")
        yield made


@pytest.fixture
def client(whole):
    with openai.OpenAI(base_url=f"{whole.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_whole_answer(client):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=20)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_the_same_as_a_whole_answer(client):
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60)
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


def test_usage_comes_in_a_last_chunk_if_asked_for_and_only_then(client):
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=9, stream=True, stream_options=options, extra_body={"ignore_eos": True}
    )
    *chunks, last = stream
    assert last.choices == []
    assert last.usage.completion_tokens == 9
    assert all(chunk.usage is None for chunk in chunks)
    plain = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=9, stream=True)
    assert all(chunk.choices for chunk in plain)


def test_completions_take_text_and_token_ids(client):
    text = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=12)
    stream = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == text.choices[0].text
    assert client.completions.create(model=MODEL, prompt=[72, 73, 74], max_tokens=3).usage.prompt_tokens == 3


def test_a_stop_string_ends_the_answer_alike_in_both_ways(client):
    free = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60).choices[0].message.content
    stop = free.split()[4]
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60, stop=stop)
    stream = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60, stop=[stop, "\0"], stream=True)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content == free[: free.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_models_are_listed_with_their_length(client):
    models = {model.id: model for model in client.models.list()}
    assert models[MODEL].model_dump()["max_model_len"] == 512
    assert client.models.retrieve(MODEL).id == MODEL


def test_an_unknown_model_is_404(client):
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-17", messages=ASK)
    assert error.value.code == "model_not_found"
    assert MODEL in error.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_400(client, stream):
    long = [{"role": "user", "content": "word " * 2000}]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=MODEL, messages=long, stream=stream)
    assert error.value.code == "context_length_exceeded"


def test_fields_that_nobody_knows_go_to_the_engine(client):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=30, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 30
