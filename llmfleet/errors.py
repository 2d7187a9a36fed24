"""What can go wrong, in words for the person who can change it.

The command line prints these without a traceback; everything else that is raised is a bug of ours.
"""


class LlmfleetError(Exception):
    """Something a user can mend. The message says what was found, what is allowed and what to do."""


class ConfigError(LlmfleetError):
    """A stack file or an argument is wrong; the message holds every mistake with its path."""


class LocalError(LlmfleetError):
    """A process of this machine did not start, a port is taken, a download failed."""


class QueueError(LlmfleetError):
    """The queue cannot be reached or refused an operation."""


class QueueFullError(QueueError):
    """The queue holds as much as it may."""


class MissingExtraError(LlmfleetError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'llmfleet[{extra}]'")
