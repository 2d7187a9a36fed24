"""A real engine: llama.cpp with the weights of SmolLM2, two replicas, one killed in mid-stream. With `ubatch` 1 the
prefill runs the decode kernels, and the continued answer is the same to the bit; in general only the text is promised
to be whole. Two cores and a model of 135M parameters: says nothing about speed.
"""

import asyncio

import pytest
from harness import fleet, until
from streams import read_many
from tiny_gguf import write

from llmfleet.models import resolve

OPTIONS = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write(tmp_path_factory.mktemp("weights") / "tiny.gguf")


async def test_answers_of_a_real_model_go_on_after_a_kill(broker, tmp_path, free_port):
    weights = await asyncio.to_thread(resolve, "embedded://smollm2-135m")
    with fleet(tmp_path, broker.url, free_port, "tiny-kill") as made:
        made.gateway()
        engines = []
        for name in ("a", "b"):
            options = ("--model-path", weights, "--slots", 4, "--context", 512, "--ubatch", 1)
            engine, url = made.engine(*options, kind="llamacpp")
            engines.append(engine)
            made.worker(url, name=name, slots=4, kind="llamacpp")
        prompts = [
            "Say hello in French, German and Chinese.",
            "List five emoji.",
            "Why is the sky blue?",
            "Count to 20.",
        ]
        undisturbed = await read_many(made.url, "tiny-kill", prompts, **OPTIONS)
        running = asyncio.create_task(read_many(made.url, "tiny-kill", prompts, **OPTIONS))
        await asyncio.sleep(1.5)
        engines[0].kill()
        got = await running
        gateway = made.processes[0]
        assert until(lambda: gateway.said("goes to another worker"), 1)
        assert [item.error for item in got] == [None] * len(prompts)
        assert [item.tokens for item in got] == [OPTIONS["max_tokens"]] * len(prompts)
        assert [item.text for item in got] == [item.text for item in undisturbed]


async def test_a_prompt_too_long_is_told_in_openai_s_shape(weights, broker, tmp_path, free_port):
    with fleet(tmp_path, broker.url, free_port, "tiny-long") as made:
        made.gateway()
        _, url = made.engine("--model-path", weights, "--slots", 2, "--context", 64, kind="llamacpp")
        made.worker(url, name="a", slots=2, kind="llamacpp")
        for stream in (False, True):
            body = {"model": "tiny-long", "messages": [{"role": "user", "content": "word " * 400}], "stream": stream}
            status, answer, _ = await asyncio.to_thread(made.post, "/v1/chat/completions", body)
            assert status == 400
            assert answer["error"]["code"] == "context_length_exceeded"
