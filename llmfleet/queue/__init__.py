"""The queue between gateways and workers: work orders, leases, reply frames, and one package per transport."""

from llmfleet.queue.messages import GatewayState, ModelDepth, Survey, WorkerState
from llmfleet.queue.nats.survey import survey

__all__ = ["GatewayState", "ModelDepth", "Survey", "WorkerState", "survey"]
