"""How each kind of engine is asked, and what its answers mean. One module per engine."""

from llmfleet.errors import ConfigError
from llmfleet.worker.adapters.base import Adapter
from llmfleet.worker.adapters.llamacpp import LlamaCpp
from llmfleet.worker.adapters.openai import OpenAi
from llmfleet.worker.adapters.vllm import Vllm
from llmfleet.worker.engine import Engine

KINDS: dict[str, type[Adapter]] = {"vllm": Vllm, "simulated": Vllm, "llamacpp": LlamaCpp, "openai": OpenAi}

__all__ = ["KINDS", "Adapter", "adapter"]


def adapter(kind: str, url: str) -> Adapter:
    """Return the adapter for the engine of this kind at `url`.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"--engine is {kind!r}; known are {', '.join(KINDS)} (openai: anything that speaks its API)")
    return KINDS[kind](Engine(url))
