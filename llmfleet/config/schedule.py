"""When how many replicas are wanted."""

from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from llmfleet.config.part import Part, Whole, mistake
from llmfleet.config.wording import NAME, TIME, TIME_OR_MIDNIGHT
from llmfleet.words import nearest, shown

DAY = 24 * 60
"""Minutes of a day."""


class Window(Part):
    """A part of every day; one that ends before it starts crosses midnight."""

    name: Annotated[str, Field(pattern=NAME)] = Field(examples=["peak"])
    """Unique in the schedule."""
    start: Annotated[str, Field(pattern=TIME)] = Field(examples=['"08:00"'])
    """First minute, "HH:MM" in the schedule's time zone."""
    end: Annotated[str, Field(pattern=TIME_OR_MIDNIGHT)] = Field(examples=['"20:00"'])
    """First minute after it, "HH:MM"; "24:00" is midnight."""
    replicas: Annotated[Whole, Field(ge=0, le=100_000)] = Field(examples=["4"])
    """Replicas of each model that are wanted over all pools."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start == self.end:
            raise mistake(f'found {shown(self.end)}, the same as start; a whole day is "00:00" to "24:00"', "end")
        return self

    @property
    def start_minute(self) -> int:
        """Minutes since midnight."""
        return _minutes(self.start)

    @property
    def end_minute(self) -> int:
        """Minutes since midnight, 0 for "24:00"."""
        return _minutes(self.end) % DAY

    def holds(self, minute: int) -> bool:
        """Say whether a minute of the day lies in the window."""
        return (minute - self.start_minute) % DAY < self.minutes

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        return (self.end_minute - self.start_minute) % DAY or DAY


class Schedule(Part):
    """Replicas by the time of day; outside all windows the pools' own counts hold."""

    timezone: str = Field(examples=["America/New_York"])
    """Name in the IANA database, e.g. America/New_York."""
    windows: tuple[Window, ...] = Field(min_length=1)
    """Windows that do not overlap; gaps are allowed."""

    @field_validator("timezone")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError) as error:
            near = nearest(name, available_timezones())
            hint = f"did you mean {near}?" if near else "allowed: IANA names like America/New_York"
            raise mistake(f"found {shown(name)}, no known time zone; {hint}") from error
        return name


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
