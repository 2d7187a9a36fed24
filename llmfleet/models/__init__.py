"""Weights of models: where they come from, and on this machine once for all its processes."""

from llmfleet.models.progress import Progress, progress_shown
from llmfleet.models.resolve import resolve
from llmfleet.models.sources import DEFAULT, parse

__all__ = ["DEFAULT", "Progress", "parse", "progress_shown", "resolve"]
