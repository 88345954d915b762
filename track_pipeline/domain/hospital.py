"""The registry of hospitals (`hospitals.toml`): code, database, units, channels and send window of each.

Only values that differ between hospitals belong here. `policy.toml` holds the values of all hospitals; `rules/`
decides which encounters are invited. A validation error names the file, the hospital and the field.
"""

from datetime import time
from functools import cache
from itertools import combinations
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from track_pipeline.domain.areas import Area
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.his.table import EmailSource, His, UnitColumn, system
from track_pipeline.domain.model import Strict, refuse_repeated
from track_pipeline.errors import ConfigError

# Windows treats files with these names, with any suffix, as devices.
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))})


def _no_device(code: str) -> str:
    if code in _DEVICES:
        raise ValueError(f"{code} cannot name a file on Windows; choose another code")
    return code


# A code is part of partition keys, file names and environment names, so it contains none of their separators.
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,23}$"), AfterValidator(_no_device)]


def _contacts_person(channel: Channel) -> Channel:
    if not channel.contacts_person:
        raise ValueError(f"name only channels that contact a person: {', '.join(CONTACT_CHANNELS)}")
    return channel


ContactChannel = Annotated[Channel, AfterValidator(_contacts_person)]


@cache
def is_time_zone(name: str) -> bool:
    """Whether the name is an IANA time zone. Cached, because listing all zones is slow."""
    return name in available_timezones()


def _without_zone(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("write the time as 08:00:00, without a time zone; the time zone of the hospital applies")
    return value


LocalTime = Annotated[time, AfterValidator(_without_zone)]


class SendWindow(Strict):
    """The days and times at which a hospital may send, in its own time zone. Weekdays are 0 (Monday) to 6."""

    start: LocalTime = time(8)
    end: LocalTime = time(20)
    weekdays: Annotated[frozenset[Annotated[int, Field(ge=0, le=6)]], Field(min_length=1)] = frozenset(range(6))
    holidays: bool = False

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        return self


class Unit(Strict):
    """A site inside a hospital's database that has its own surveys."""

    code: Code
    name: Annotated[str, StringConstraints(min_length=1)]
    companies: tuple[int, ...] = ()
    surveys: frozenset[Area]


class Hospital(Strict):
    """One source database and one partition key."""

    code: Code
    his: His
    database: Code
    driver: Literal["thin", "thick"] = "thin"
    time_zone: str
    unit_column: UnitColumn | None = None
    email_source: EmailSource | None = None
    channels: tuple[ContactChannel, ...] = (Channel.EMAIL, Channel.WHATSAPP)
    links: Literal["off", "no_contact", "all"] = "off"
    minors: Literal["exclude", "guardian_contact"] = "exclude"
    reminders: Literal["ours", "track"] = "ours"
    whatsapp_consent: Literal["assumed", "required"] = "assumed"
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_age_days: Annotated[int, Field(ge=1, le=30)] = 7
    send_window: SendWindow = SendWindow()
    units: Annotated[tuple[Unit, ...], Field(alias="unit", min_length=1)]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not is_time_zone(self.time_zone):
            raise ValueError(f"time_zone: {self.time_zone!r} is not an IANA time zone")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError("channels: name each channel once, at least one")
        self._check_units()
        sources = system(self.his).email_sources
        if sources and self.email_source not in (None, *sources):
            raise ValueError(f"email_source: write one of {', '.join(sources)}, the sources of a {self.his} database")
        return self

    def _check_units(self) -> None:
        companies = [company for unit in self.units for company in unit.companies]
        repeated = {company for company in companies if companies.count(company) > 1}
        if repeated:
            raise ValueError(f"unit: overlapping units, companies {sorted(repeated)} belong to more than one")
        if self.unit_column is None and (companies or len(self.units) > 1):
            raise ValueError("unit: companies are given but unit_column is not; add unit_column")
        if self.unit_column is not None and not all(unit.companies for unit in self.units):
            raise ValueError("unit: unit_column is given, so every unit needs companies")
        expected = system(self.his).columns.unit
        if self.unit_column not in (None, expected):
            raise ValueError(f"unit_column: write {expected}, the column of a {self.his} database")

    @property
    def zone(self) -> ZoneInfo:
        """The hospital's time zone."""
        return ZoneInfo(self.time_zone)


class Registry(Strict):
    """All hospitals, in the order of the file."""

    hospitals: Annotated[tuple[Hospital, ...], Field(alias="hospital", min_length=1)]

    @model_validator(mode="after")
    def _codes_are_unique(self) -> Self:
        refuse_repeated("hospital", (hospital.code for hospital in self.hospitals))
        refuse_repeated("unit", (unit.code for hospital in self.hospitals for unit in hospital.units))
        return self

    @model_validator(mode="after")
    def _encounters_have_one_hospital(self) -> Self:
        for one, other in combinations(self.hospitals, 2):
            mine, theirs = ({each for unit in hospital.units for each in unit.companies} for hospital in (one, other))
            if one.database == other.database and not (mine and theirs and mine.isdisjoint(theirs)):
                raise ValueError(
                    f"hospital: {one.code} and {other.code} both read the database {one.database}; give them "
                    "companies that do not overlap"
                )
        return self

    @property
    def codes(self) -> tuple[str, ...]:
        """Hospital codes, in the order of the file."""
        return tuple(hospital.code for hospital in self.hospitals)

    def hospital(self, code: str) -> Hospital:
        """Return the hospital with this code. Raises ConfigError when there is none."""
        for hospital in self.hospitals:
            if hospital.code == code:
                return hospital
        raise ConfigError(f"no hospital {code!r} in the registry; there are: {', '.join(self.codes)}")

    def only(self, codes: tuple[str, ...]) -> "Registry":
        """Return a registry of these hospitals only (`TRACK_HOSPITALS`), or of all when `codes` is empty."""
        if not codes:
            return self
        wanted = {self.hospital(code).code for code in codes}
        return self.model_copy(update={"hospitals": tuple(each for each in self.hospitals if each.code in wanted)})
