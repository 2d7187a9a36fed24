"""Mistakes that no part shows alone: names given twice, unknown models, ports that collide, windows that overlap."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from llmfleet.config.mistakes import Mistake
from llmfleet.config.overlaps import overlap
from llmfleet.config.ports import Ports, port_mistakes
from llmfleet.config.schedule import Window
from llmfleet.words import choices, shown


@dataclass(frozen=True)
class Facts:
    """What must agree, as far as it is known. Keys of the mappings are positions in the file."""

    models: Mapping[int, str]
    """Names of the models."""
    known_models: frozenset[str]
    """Names that a pool may ask for; also of models that have other mistakes."""
    pools: Mapping[int, str]
    """Names of the pools."""
    asked: Mapping[int, tuple[str, ...]]
    """Models that pools ask for."""
    ports: tuple[Ports, ...]
    windows: Mapping[int, Window]


def conflicts(facts: Facts) -> list[Mistake]:
    """Return every mistake between parts."""
    return [
        *_twice("models", facts.models),
        *_alike(facts.models),
        *_twice("pools", facts.pools),
        *_unknown_models(facts),
        *port_mistakes(facts.ports),
        *_twice("schedule.windows", {index: window.name for index, window in facts.windows.items()}),
        *_overlaps(facts.windows),
    ]


def _twice(where: str, names: Mapping[int, str]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for index, name in names.items():
        if (other := first.setdefault(name, index)) != index:
            yield Mistake(f"{where}[{index}].name", f"{shown(name)} is the name of {where}[{other}] too; rename one")


def _alike(names: Mapping[int, str]) -> Iterator[Mistake]:
    """Tell names of models that would be the same name of a file or a process."""
    first: dict[str, tuple[int, str]] = {}
    for index, name in names.items():
        other, other_name = first.setdefault(re.sub(r"[^a-z0-9._]", "-", name.lower()), (index, name))
        if other_name != name:
            text = f"{shown(name)} and {shown(other_name)} of models[{other}] make the same file name; rename one"
            yield Mistake(f"models[{index}].name", text)


def _unknown_models(facts: Facts) -> Iterator[Mistake]:
    known = sorted(facts.known_models)
    for index, names in facts.asked.items():
        for position, name in enumerate(names):
            where = f"pools[{index}].models[{position}]"
            if name in names[:position]:
                yield Mistake(where, f"{shown(name)} is in the list twice; remove one")
            elif known and name not in facts.known_models:
                yield Mistake(where, f"no model {shown(name)} in the fleet; {choices(name, known)}")


def _overlaps(windows: Mapping[int, Window]) -> Iterator[Mistake]:
    for (index, one), (_, other) in combinations(windows.items(), 2):
        if text := overlap(one, other):
            yield Mistake(f"schedule.windows[{index}]", text)
