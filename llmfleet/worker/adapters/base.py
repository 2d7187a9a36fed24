"""What every engine's adapter offers."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator

from llmfleet.queue.messages import Order
from llmfleet.worker.chunks import Chunk
from llmfleet.worker.engine import Engine
from llmfleet.worker.plan import Plan


class Adapter(ABC):
    """One engine, asked in its own way, answering in OpenAI's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.max_model_len = 0
        """Longest prompt and answer together, tokens; 0 when the engine does not say."""

    @abstractmethod
    async def learn(self, model: str) -> None:
        """Find out what the engine serves.

        Raises:
            ConfigError: not this model.
            EngineFailedError: it does not answer.
        """

    @abstractmethod
    def stream(self, order: Order, plan: Plan) -> AsyncGenerator[list[Chunk], None]:
        """Generate an answer; yield its chunks, as many at a time as arrived together.

        The last chunk with choices has a finish reason, a chunk without choices has the usage. An answer that ends
        without a finish reason was cut, however politely.

        Raises:
            EngineFailedError: the engine is dead, died or refuses for now.
            RequestRefusedError: the engine refuses this request.
        """
