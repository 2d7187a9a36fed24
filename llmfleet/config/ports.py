"""Ports that parts of a fleet take on this machine; no two may take the same."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from llmfleet.config.mistakes import Mistake

_HIGHEST = 65535


@dataclass(frozen=True)
class Ports:
    """Ports that a part takes."""

    key: str
    """The field that says which: relative to the part, or in the whole file."""
    what: str
    """Who takes them, for a text."""
    numbers: range
    """At least one."""
    follow_from: frozenset[str] = frozenset()
    """Fields of the part that they follow from."""

    def below(self, path: str) -> "Ports":
        """Return the same with a key of the whole file."""
        return replace(self, key=f"{path}.{self.key}")


def single(key: str, what: str, number: int) -> Ports:
    """Return the one port that a field names."""
    return Ports(key, what, range(number, number + 1), frozenset({key}))


def port_mistakes(taken: Iterable[Ports]) -> Iterator[Mistake]:
    """Yield what is wrong with ports whose keys are those of the whole file."""
    taken = tuple(taken)
    for ports in taken:
        if ports.numbers[-1] > _HIGHEST:
            first, most = ports.numbers[0], _HIGHEST + 1 - len(ports.numbers)
            yield Mistake(
                ports.key, f"found {first}; {ports.what} needs {len(ports.numbers)} ports, so allowed: 1 to {most}"
            )
    for one, other in combinations(taken, 2):
        if one.what == other.what:
            continue  # two pools of one name, which is told already and makes their default ports equal
        if one.numbers[0] <= other.numbers[-1] and other.numbers[0] <= one.numbers[-1]:
            if one.numbers == other.numbers:
                found = f"{other.what} and {one.what} both take {_span(one.numbers)}"
            else:
                found = f"{other.what} takes {_span(other.numbers)}, {one.what} {_span(one.numbers)}"
            # A pool comes after the gateway and the queue: it is the easier to move.
            yield Mistake(other.key, f"{found};\nset {other.key} or {one.key} to another port")


def _span(numbers: range) -> str:
    return f"port {numbers[0]}" if len(numbers) == 1 else f"ports {numbers[0]}-{numbers[-1]}"
