"""Windows of a schedule that overlap, and how to part them."""

from llmfleet.config.schedule import DAY, Window


def overlap(one: Window, other: Window) -> str | None:
    """Return that two windows overlap, by how long, and what to change; None when they do not."""
    # On a line of three days, as a window may cross midnight.
    shared = sum(
        max(0, min(one.start_minute + one.minutes, start + other.minutes) - max(one.start_minute, start))
        for start in (other.start_minute - DAY, other.start_minute, other.start_minute + DAY)
    )
    if not shared:
        return None
    found = f"{_named(one)} and {_named(other)} overlap by {_length(shared)};"
    return f"{found}\n{_remedy(one, other, shared)}"


def _remedy(one: Window, other: Window, shared: int) -> str:
    if shared == one.minutes or shared == other.minutes:
        inner, outer = (one, other) if shared == one.minutes else (other, one)
        if inner.minutes == outer.minutes:
            return f"remove {one.name} or {other.name}"
        if inner.start_minute == outer.start_minute:
            return f"start {outer.name} at {inner.end} or remove {inner.name}"
        if inner.end_minute == outer.end_minute:
            return f"end {outer.name} at {inner.start} or remove {inner.name}"
        return f"end {outer.name} at {inner.start} and add a window from {inner.end}, or remove {inner.name}"
    early = one if one.holds(other.start_minute) else other
    late = other if early is one else one
    if late.holds(early.start_minute):  # they share both ends: one takes what the other leaves
        return f"let {late.name} last from {early.end} to {early.start}"
    return f"end {early.name} at {late.start} or start {late.name} at {early.end}"


def _named(window: Window) -> str:
    return f"{window.name} ({window.start}-{window.end})"


def _length(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))
