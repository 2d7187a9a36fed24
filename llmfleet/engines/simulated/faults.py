"""Ways in which engines fail, on demand: from the command line or while it runs, by POST /_faults."""

from typing import Annotated, Literal, get_args

import msgspec

from llmfleet.errors import ConfigError

Kind = Literal["hang", "die", "error", "slow", "refuse"]
KINDS: tuple[str, ...] = get_args(Kind)


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One way to fail.

    hang: produce nothing more, keep the connection open and /health at 200, until the faults are removed
    die: the process is gone in mid-stream, as by kill -9
    error: 500, or in mid-stream an error event followed by [DONE]
    slow: every token takes `factor` times as long (of 10 ms where the engine is set to be as fast as it can)
    refuse: 503 to new requests
    """

    kind: Kind
    after_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Strikes a request once it has produced so many tokens. A running request is struck as well as a new one."""
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many requests it strikes; without it every one until the faults are removed."""
    factor: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How much slower `slow` is."""


class Faults:
    """The faults that are switched on."""

    def __init__(self, active: list[Fault] | None = None) -> None:
        self.active = list(active or ())

    def __bool__(self) -> bool:
        return bool(self.active)

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self.active.append(fault)

    def clear(self) -> None:
        """Switch all faults off."""
        for fault in self.active:
            fault.factor = 1.0  # running requests still hold the fault that slowed them
        self.active.clear()

    def refuses(self) -> bool:
        """Whether a request that has just arrived is refused."""
        return any(fault.kind == "refuse" and _takes(fault) for fault in self.active)

    def strike(self, produced: int, *, slowed: bool) -> Fault | None:
        """Return the fault that hits a running request, and count it.

        Args:
            produced: tokens of its answer so far
            slowed: whether `slow` has hit it already
        """
        for fault in self.active:
            if fault.kind == "refuse" or (fault.kind == "slow" and slowed):
                continue
            if produced >= fault.after_tokens and _takes(fault):
                return fault
        return None


def _takes(fault: Fault) -> bool:
    """Whether the fault has a request left to strike; if so, it has struck one."""
    if fault.times is None:
        return True
    if fault.times == 0:
        return False
    fault.times -= 1
    return True


def parse(text: str) -> Fault:
    """Return the fault that a command line names, e.g. "hang:after_tokens=5,times=1".

    Raises:
        ConfigError: the kind or a key is unknown, or a value does not fit.
    """
    kind, _, rest = text.partition(":")
    fields: dict[str, str] = {"kind": kind}
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition("=")
        fields[key.strip()] = value.strip()
    try:
        return msgspec.convert(fields, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"--fault {text}: {error}; allowed is KIND[:key=value,...] with KIND one of {', '.join(KINDS)} "
            "and the keys after_tokens, times, factor, e.g. hang:after_tokens=5,times=1"
        ) from error
