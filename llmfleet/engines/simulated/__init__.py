"""A model server without a model: vLLM 0.32's surface, deterministic answers, faults on demand.

For tests, drills and benchmarks. `serve` is the process, `running` a server inside a test. What is not simulated:
logprobs, tools, structured output, penalties, sampling: temperature, seed and the like are
accepted and change nothing.
"""

from llmfleet.engines.simulated.engine import Options
from llmfleet.engines.simulated.faults import Fault
from llmfleet.engines.simulated.server import running, serve
from llmfleet.engines.simulated.tokens import decode, encode

__all__ = ["Fault", "Options", "decode", "encode", "running", "serve"]
