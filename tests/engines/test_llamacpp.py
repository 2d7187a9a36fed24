"""llama.cpp's server as we start it, on a model with random weights: options, readiness, the ways it ends.

Random weights prove nothing about the quality of answers; the local fleet's own test asks a real model.
"""

import asyncio
import signal
import socket
import sys

import pytest
from programs import fails, program
from talk import user
from tiny_gguf import write

from llmfleet.engines import llamacpp
from llmfleet.errors import LocalError, MissingExtraError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write(tmp_path_factory.mktemp("weights") / "tiny.gguf")


async def test_it_serves_the_model_under_its_name_with_slots_of_the_context_asked_for(weights, free_port):
    arguments = ("llamacpp", "--model-path", weights, "--model", "tiny", "--slots", 3, "--context", 512)
    async with program(free_port(), *arguments) as (_, talk):
        _, models = await talk.get("/v1/models")
        assert '"id":"tiny"' in models
        async with talk.session.get(talk.url + "/slots") as response:
            assert [slot["n_ctx"] for slot in await response.json()] == [512, 512, 512]
        assert "llamacpp:requests_processing" in (await talk.get("/metrics"))[1]
        status, answer = await talk.post("/v1/chat/completions", {"messages": user("Hello"), "max_tokens": 5})
        assert status == 200
        assert answer["usage"]["completion_tokens"] == 5
        status, answer = await talk.post("/v1/chat/completions", {"messages": user("x" * 600)})
        assert (status, answer["error"]["type"]) == (400, "exceed_context_size_error")


async def test_the_chat_template_of_the_file_is_used(weights, free_port):
    async with program(free_port(), "llamacpp", "--model-path", weights, "--model", "tiny") as (_, talk):
        _, answer = await talk.post("/apply-template", {"messages": user("Hello")})
        assert answer["prompt"] == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


async def test_with_ubatch_1_an_answer_goes_on_the_same_wherever_it_is_cut(weights, free_port):
    arguments = ("llamacpp", "--model-path", weights, "--model", "tiny", "--ubatch", 1)
    async with program(free_port(), *arguments) as (_, talk):

        async def ids(prompt, number):
            body = {"prompt": prompt, "n_predict": number, "temperature": 0, "return_tokens": True, "ignore_eos": True}
            status, answer = await talk.post("/completion", body)
            assert status == 200, answer
            return answer["tokens"]

        prompt = list(range(60, 90))
        whole = await ids(prompt, 40)
        assert len(whole) == 40
        for cut in range(1, 40, 3):
            assert await ids(prompt + whole[:cut], 40 - cut) == whole[cut:], f"cut behind token {cut}"


async def test_sigterm_ends_it_at_once_with_exit_code_0_even_in_mid_stream(weights, free_port):
    async with program(free_port(), "llamacpp", "--model-path", weights, "--model", "tiny") as (process, talk):
        body = {"messages": user("Hello"), "max_tokens": 1900, "ignore_eos": True}
        streaming = asyncio.create_task(talk.stream("/v1/chat/completions", **body))
        await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
            found = await streaming
        assert found.finish is None
        assert not found.done


async def test_a_taken_port_is_told(weights, free_port):
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        said = await fails("llamacpp", "--listen", f"127.0.0.1:{port}", "--model", "m", "--model-path", weights)
    assert f"cannot listen on 127.0.0.1:{port}: another process listens there" in said


async def test_a_file_that_is_cut_short_is_told(weights, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(weights.read_bytes()[:100_000])
    said = await fails("llamacpp", "--listen", "127.0.0.1:0", "--model", "m", "--model-path", broken)
    assert f"llama.cpp cannot serve {broken}" in said


def test_what_is_no_gguf_file_is_told(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(LocalError, match=r"model\.gguf cannot be read: No such file or directory; `llmfleet weights`"):
        llamacpp.check(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(LocalError, match=r"model\.gguf is no GGUF file"):
        llamacpp.check(path)


def test_a_missing_wheel_is_told_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmfleet\[local\]'"):
        llamacpp.parameters(llamacpp.Options(tmp_path, "m"), "127.0.0.1", 0)
