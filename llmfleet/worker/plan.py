"""What a request asks of its engine, and whether its answer could be continued by another one.

An answer can be continued from its token ids when the ids say all there is to say. They do not when the engine holds
state of its own beside them: the automaton of a grammar, the counts of a penalty, a parser of tool calls, several
answers at once. Such a request is served all the same; if it is cut after something was sent, it ends with an error.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from llmfleet.queue.messages import Order

_decode = msgspec.json.Decoder(dict[str, Any]).decode

# Field: values with which the answer can still be continued.
_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "prompt_logprobs": (None,),
    "use_beam_search": (None, False),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "repeat_penalty": (None, 1),
    "dry_multiplier": (None, 0),
    "mirostat": (None, 0),
    "logits_processors": (None, []),
    "tools": (None, []),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "structured_outputs": (None,),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_choice": (None, []),
    "guided_grammar": (None,),
    "json_schema": (None,),
    "grammar": (None, ""),
    "min_tokens": (None, 0),
    "thinking_token_budget": (None,),
}

# What belongs to one way of asking only, and must not go along when a continuation asks by token ids.
_NOT_SAMPLING: Final = frozenset(
    {
        *_NEUTRAL,
        "messages",
        "prompt",
        "stream",
        "stream_options",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "add_generation_prompt",
        "continue_final_message",
        "chat_template",
        "chat_template_kwargs",
        "add_special_tokens",
        "include_stop_str_in_output",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "reasoning_effort",
        "documents",
    }
)


@dataclass(frozen=True)
class Plan:
    """How one order is to be served."""

    body: dict[str, Any]
    """The client's body."""
    chat: bool
    resumable: bool
    stops: tuple[str, ...]
    """Strings that end the answer, watched for by the worker: an engine that continues an answer cannot see one that
    began before the cut."""
    max_tokens: int | None
    """Most tokens of the whole answer, as the client asked."""
    answers: int
    """How many answers are expected: n for each prompt."""

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields that a continuation by token ids takes over: temperature, top_p, seed, ignore_eos ..."""
        return {key: value for key, value in self.body.items() if key not in _NOT_SAMPLING}


def plan(order: Order) -> Plan:
    """Read an order's body and decide how to serve it."""
    body = _decode(order.body)
    chat = order.path.endswith("/chat/completions")
    plain = all(body.get(key) in allowed for key, allowed in _NEUTRAL.items())
    prompts = 1
    if not chat:
        prompt = body.get("prompt")
        if isinstance(prompt, list) and not _is_ids(prompt):
            plain, prompts = False, len(prompt)
    stop = body.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    plain = plain and not (stops and body.get("include_stop_str_in_output"))
    most = body.get("max_completion_tokens") if chat else None
    most = body.get("max_tokens") if most is None else most
    answers = prompts * (body.get("n") or 1)
    return Plan(body, chat, plain, tuple(filter(None, stops)) if plain else (), most, answers)


def _is_ids(prompt: object) -> bool:
    return isinstance(prompt, list) and all(type(item) is int for item in prompt)
