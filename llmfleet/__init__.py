"""llmfleet: serve open LLMs on the cheapest GPUs of many clouds through one queue, and lose no request."""

__version__ = "0.1.0"
