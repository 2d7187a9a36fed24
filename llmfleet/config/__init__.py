"""The stack file: its vocabulary, its checks, and its mistakes in plain words."""

from llmfleet.config.engines import Engine, LlamaCppEngine, SimulatedEngine
from llmfleet.config.fleet import Budget, Fleet
from llmfleet.config.gateway import Gateway
from llmfleet.config.load import load_fleet
from llmfleet.config.mistakes import FleetError, Mistake
from llmfleet.config.model import Model, Profile
from llmfleet.config.pools import LocalPool, Pool
from llmfleet.config.queues import NatsQueue, Queue
from llmfleet.config.schedule import Schedule, Window

__all__ = [
    "Budget",
    "Engine",
    "Fleet",
    "FleetError",
    "Gateway",
    "LlamaCppEngine",
    "LocalPool",
    "Mistake",
    "Model",
    "NatsQueue",
    "Pool",
    "Profile",
    "Queue",
    "Schedule",
    "SimulatedEngine",
    "Window",
    "load_fleet",
]
