"""The environment of a drill: a hospital's rows, the lake, the ledger, Track.co, and the actions of an operator.

All values come from the drill's seed. The drill reads the evidence with its own SQL, independent of the package.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import ANSWERS, Ledger, open_ledger
from track_pipeline.config.settings import load_settings
from track_pipeline.domain.areas import Area
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel, OptOutChannel
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.funnel import funnels
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import PLANNED
from track_pipeline.domain.sends import Verdict
from track_pipeline.services.daily.reminders import FRESH
from track_pipeline_tests.support.builders import DAY, cpf, encounters, key_of
from track_pipeline_tests.support.drills.invariants import End, Evidence, OptOut, Row, Send
from track_pipeline_tests.support.drills.remembering_track import RememberingTrack
from track_pipeline_tests.support.drills.worker import HOSPITAL

AREAS: Final = (Area.INTERNACAO, Area.PRONTO_SOCORRO)
_REFUSABLE: Final = tuple(OptOutChannel)
_HOUR_OF_DISCHARGE: Final = time(12)

Visit = dict[str, Any]


@dataclass
class Scene:
    """One hospital, one or two days, and all inputs of a run of the pipeline."""

    home: Path
    ledger_url: str
    chance: Random
    track: RememberingTrack
    hospital: Hospital
    days: tuple[date, ...]
    channels: tuple[Channel, ...]
    now: datetime
    batch_size: int
    visits: dict[date, list[Visit]] = field(default_factory=dict)
    people: dict[int, str] = field(default_factory=dict)
    opt_outs: list[OptOut] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    calm: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def lake(self) -> Lake:
        """The lake with extracts and plans."""
        return Lake(self.home)

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is an SQLite file."""
        return self.ledger_url.startswith("sqlite")

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger as the operator's commands do."""
        ledger = open_ledger(self.ledger_url, clock=lambda: self.now)
        yield ledger
        ledger.close()

    def engine(self) -> Engine:
        """Return an engine for the ledger's database that does not use the package."""
        url = make_url(self.ledger_url)
        return create_engine(url if self.is_sqlite else url.set(drivername="postgresql+psycopg"), poolclass=NullPool)

    # --- the hospital

    def extract(self) -> None:
        """Write the hospital's rows of every day to the lake, as an extract does."""
        with self.ledger() as ledger:
            for day, visits in self.visits.items():
                frame = encounters(*visits)
                for area in AREAS:
                    rows = frame.filter(pl.col("area") == area.label)
                    self.lake.write(rows, "extract", area, day, self.hospital.code)
                    found = rows.select(
                        "database", "encounter_id", "unit", "setor", "reason", "rule",
                        result=pl.lit(PLANNED), rules_version=pl.lit("rules"),
                    )  # fmt: skip
                    ledger.encounters.record_extract(self.hospital.code, day, area, found)
        self.people |= {
            visit["encounter_id"]: cpf(visit["person"]) for visits in self.visits.values() for visit in visits
        }

    def change_visits(self) -> None:
        """Remove, add and change rows (contact, area) as a hospital does. The change is not extracted yet."""
        chance = self.chance
        for day, visits in self.visits.items():
            kept = [visit for visit in visits if chance.random() > 0.1]
            for visit in kept:
                if chance.random() < 0.1:
                    visit["email"] = None if "email" not in visit else f"novo{visit['person']}@exemplo.com.br"
                if chance.random() < 0.1:
                    visit["area"] = chance.choice(AREAS).label
            newest = max(self.people)
            late = [_visit(chance, newest + place, day) for place in range(1, chance.randint(2, 6))]
            self.people |= {visit["encounter_id"]: cpf(visit["person"]) for visit in late}
            self.visits[day] = kept + late

    def opt_out_somebody(self) -> None:
        """Record an opt-out, from all channels or one, of a person whose line is not claimed yet."""
        claimed = {self.people[send.encounter] for send in self.sends() if send.state == "claimed"}
        person = self.chance.choice(sorted(set(self.people.values()) - claimed))
        channel = self.chance.choice(_REFUSABLE)
        secret = load_settings({}, None).person_key_secret
        with self.ledger() as ledger:
            ledger.people.opt_out(key_of("cpf", person, secret), channel, "a drill")
        self.opt_outs.append(OptOut(person, channel, len(self.track.accepted)))

    def somebody_answers(self) -> None:
        """Record answers to some sends of people without a claimed line, as if Track.co had just been read."""
        sends = self.sends()
        claimed = {send.encounter for send in sends if send.state == "claimed"}
        sent = [
            send for send in sends if send.state == "sent" and send.channel != "link" and send.encounter not in claimed
        ]
        answered = self.chance.sample(sent, len(sent) // 4)
        with self.ledger() as ledger:
            rows = [
                dict.fromkeys(ANSWERS) | {"send_id": send.send_id, "answered_at": self.now, "score": 9}
                for send in answered
            ]
            ledger.answers.record(pl.DataFrame(rows, schema=ANSWERS))
            for source in FRESH:
                ledger.answers.record_refresh(source, self.now)
        self.ends += [End(send.encounter, "answered", len(self.track.accepted)) for send in answered]

    def somebody_dies(self) -> None:
        """Add rows of yesterday with the death of some people."""
        secret = load_settings({}, None).person_key_secret
        people = self.chance.sample(sorted(set(self.people.values())), 3)
        encounters_of = [(encounter, cpf) for encounter, cpf in self.people.items() if cpf in people]
        rows = [
            {
                "person_key": key_of("cpf", cpf, secret),
                "database": self.hospital.code,
                "encounter_id": encounter,
                "died": True,
            }
            for encounter, cpf in encounters_of
        ]
        with self.ledger() as ledger:
            ledger.people.record_sightings(self.hospital.code, self.now.date() - timedelta(days=1), pl.DataFrame(rows))
        self.ends += [End(encounter, "died", len(self.track.accepted)) for encounter, _ in encounters_of]

    # --- the operator

    def resume(self) -> None:
        """Solve the captcha, renew the token and end the pause."""
        with self.ledger() as ledger:
            for scope in ledger.pauses.all().get_column("scope"):
                ledger.pauses.remove(scope)

    def reconcile(self) -> int:
        """Resolve every send of unknown outcome with what Track.co shows; return the number of these sends."""
        accepted = {line.send_id for line in self.track.accepted}
        with self.ledger() as ledger:
            unresolved = ledger.sends.unresolved().get_column("send_id")
            for send_id in unresolved:
                ledger.sends.resolve(
                    [send_id], Verdict.SENT if send_id in accepted else Verdict.NOT_SENT, "seen at Track.co", "a drill"
                )
        return unresolved.len()

    # --- the evidence

    def sends(self) -> list[Send]:
        """Return the current sends of the ledger."""
        with self.engine().connect() as connection:
            return [Send(*row) for row in _rows(connection, _SENDS)]

    def evidence(self) -> Evidence:
        """Return the current evidence."""
        with self.engine().connect() as connection, self.ledger() as ledger:
            return Evidence(
                accepted=list(self.track.accepted),
                refused=set(self.track.refused),
                sends=self.sends(),
                rows=[Row(row[0], str(row[1]), *row[2:]) for row in _rows(connection, _ENCOUNTERS)],
                funnels=funnels(ledger.counts.outcomes(), ledger.counts.extracted()),
                extracted=self._extracted(),
                people=dict(self.people),
                opt_outs=list(self.opt_outs),
                ends=list(self.ends),
                calm=set(self.calm),
                noted={(row[0], row[1]) for row in _rows(connection, _NOTES)},
                faults=list(self.faults),
            )

    def _extracted(self) -> dict[tuple[str, str], frozenset[int]]:
        """Return the encounters of each extract, read from the files."""
        found = {}
        for day in self.visits:
            for area in AREAS:
                path = self.lake.path("extract", area, day, self.hospital.code)
                found[str(day), area.value] = frozenset(pl.read_parquet(path).get_column("encounter_id"))
        return found


_SENDS: Final = (
    "SELECT send_id, encounter_id, survey_uuid, channel, wave, state, run_id, extra, CAST(cohort_date AS VARCHAR) "
    "FROM sends"
)
_ENCOUNTERS: Final = "SELECT encounter_id, cohort_date, area, result, reason, held FROM encounters"
_NOTES: Final = "SELECT encounter_id, step FROM decisions WHERE step LIKE 'reminder%'"


def _rows(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(statement))]


def build_scene(
    home: Path, ledger_url: str, chance: Random, track: RememberingTrack, rows: tuple[int, int] = (15, 40)
) -> Scene:
    """Build a hospital with repeated people, encounters that must be excluded, and lines that Track.co refuses."""
    days = (DAY, DAY + timedelta(days=1))[: chance.choice((1, 1, 2))]
    links = chance.choice(("off", "off", "no_contact", "all"))
    hospital = HOSPITAL.model_copy(update={"links": links})
    now = datetime.combine(days[-1] + timedelta(days=1), time(9), GROUP_TIME_ZONE)
    channels = CONTACT_CHANNELS if links == "off" else tuple(Channel)
    scene = Scene(home, ledger_url, chance, track, hospital, days, channels, now, chance.randint(3, 9))
    first = 1
    for day in days:
        count = chance.randint(*rows) // len(days)
        scene.visits[day] = [_visit(chance, encounter, day) for encounter in range(first, first + count)]
        first += count
    scene.extract()
    # The drill must know which lines the server refuses.
    track.indigestible, track.invalid = (
        frozenset(chance.sample(sorted(scene.people), chance.choice((0, 0, 1, 2)))) for _ in range(2)
    )
    for _ in range(chance.randint(0, 3)):
        scene.opt_out_somebody()
    return scene


def _visit(chance: Random, encounter: int, day: date) -> Visit:
    """Return a row of a hospital-day: of a new or returning person, perhaps without e-mail or contact, or deceased."""
    person = chance.randint(1, encounter) if encounter > 1 and chance.random() < 0.1 else encounter
    discharged = datetime.combine(day, _HOUR_OF_DISCHARGE, GROUP_TIME_ZONE)
    visit: Visit = {
        "encounter_id": encounter,
        "person": person,
        "area": chance.choice(AREAS).label,
        "attended_at": discharged - timedelta(hours=5),
        "discharged_at": discharged,
        "died": chance.random() < 0.03,
    }
    without = chance.random()
    if without < 0.4:
        visit["email"] = None
    if without < 0.05:
        visit["phone_number"] = None
    return visit
