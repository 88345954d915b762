"""Synthetic encounters of one day of one database: people, times and codes.

A cohort has the encounters with that cohort date: visits attended, and stays and emergencies discharged, on the day.
`demo/front_desk.py` has the registration of people, `demo/his/` the tables.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

import polars as pl

from track_pipeline.demo.front_desk import register
from track_pipeline.demo.his.system import STAYS, Code, DatabaseProfile, Habit
from track_pipeline.demo.his.tables import BEDS, DOCTORS
from track_pipeline.demo.people import people, stream

_KINDS: Final = {"ambulatory": 35, "exam": 25, "emergency": 22, "inpatient": 14, "mother": 4}
# Mothers are in the ward that the rules name, if they name one.
_MOTHERS_WARD: Final = Habit(1, 0)

# Pneumonia, hypertension, appendicitis and other everyday reasons of a stay.
_EVERYDAY_CIDS: Final = ("J189", "I10", "K359", "N390", "A90", "S525", "I219", "E119")
# Depression, missed abortion, imprisonment, false labour, delivery, none typed.
_DELICATE_CIDS: Final = ("F329", "O021", "Z651", "O479", "O800", None)
_CIDS: Final = (*_EVERYDAY_CIDS * 10, *_DELICATE_CIDS)

_TWINS_SHARE: Final = 0.2
_KNOWN_SHARE: Final = 0.03
_OUTSIDER_SHARE: Final = 0.03
_CANCELLED_SHARE: Final = 0.03
_LATE_SHARE: Final = 0.02
_MIDNIGHT_SHARE: Final = 0.05

_TIMES: Final = dict.fromkeys(("attended_at", "discharged_at", "recorded_at", "cancelled_at"), pl.Datetime("us"))
_TEXTS: Final = ("kind", "cd_cid")
_FROM_THE_MOTHER: Final = (
    *("company", "doctor", "bed", "attended_at", "discharged_at", "recorded_at"),
    *("email", "ddi", "ddd", "number", "telephone"),
)


def cohort(profile: DatabaseProfile, seed: int, day: date, per_day: int, count: int) -> pl.DataFrame:
    """Return the first `count` of the `per_day` encounters of the cohort date `day` in a database.

    Columns: id, kind (ambulatory, exam, emergency, inpatient, mother, newborn), parent_id, company, doctor, bed;
    attended_at, discharged_at, recorded_at (when the discharge was typed), cancelled_at, all naive wall time;
    the columns of `register`; cd_cid and the code columns of the HIS. The rows of newborns follow their mother's.
    """
    key = (seed, profile.alias, day)
    kinds = _kinds(stream(*key, "kind"), count)
    persons = _persons(stream(*key, "person"), people(count, *key), *_known_people(seed, day, per_day))
    first_id = (day - date(2020, 1, 1)).days * 1_000_000
    drawn: dict[str, Sequence[Code | None]] = {
        "id": range(first_id, first_id + count),
        "kind": kinds,
        "company": _companies(stream(*key, "company"), profile.companies, count),
        "doctor": stream(*key, "doctor").choices((*DOCTORS, None), k=count),
        "bed": stream(*key, "bed").choices(BEDS, k=count),
        "cd_cid": _cids(stream(*key, "cd_cid"), profile, kinds),
        **{
            column: _codes(stream(*key, column), profile, column, habit, kinds)
            for column, habit in profile.system.habits.items()
        },
    }
    frame = pl.concat(
        [
            pl.DataFrame(drawn, schema={name: pl.String if name in _TEXTS else pl.Int64 for name in drawn}),
            pl.DataFrame(_times(stream(*key, "time"), kinds, day), schema=_TIMES, orient="row"),
            register(persons, profile.alias, *key),
        ],
        how="horizontal",
    )
    return _with_newborns(frame, profile.system.ward)


def _kinds(random: Random, count: int) -> list[str]:
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += random.choices(list(_KINDS), list(_KINDS.values()))
        if kinds[-1] == "mother":
            kinds += ["newborn"] * (2 if random.random() < _TWINS_SHARE else 1)
    return kinds[:count]


def _known_people(seed: int, day: date, per_day: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the people that all hospitals share: those in several hospitals on that day, and regular patients."""
    return people(max(40, per_day // 8), seed, "group", day), people(max(600, per_day // 5), seed, "group")


def _persons(random: Random, own: pl.DataFrame, of_day: pl.DataFrame, regulars: pl.DataFrame) -> pl.DataFrame:
    rows = list(range(own.height))
    for row in rows:
        luck = random.random()
        if luck < _KNOWN_SHARE:
            rows[row] = own.height + random.randrange(of_day.height)
        elif luck < 2 * _KNOWN_SHARE:
            rows[row] = own.height + of_day.height + random.randrange(regulars.height)
    return pl.concat([own, of_day, regulars])[rows]


def _companies(random: Random, companies: tuple[int, ...], count: int) -> list[int]:
    if not companies:
        return [1] * count
    outsider = max(companies) + 1
    return random.choices((*companies, outsider), (*[1] * len(companies), _OUTSIDER_SHARE * len(companies)), k=count)


def _cids(random: Random, profile: DatabaseProfile, kinds: list[str]) -> list[Code | None]:
    named = [str(code) for code in profile.named("cd_cid")]
    of_kind = {
        "mother": [code for code in named if code.startswith("O")],
        "newborn": [code for code in named if code.startswith("Z")],
    }
    return [random.choice(of_kind.get(kind, _CIDS)) for kind in kinds]


def _codes(random: Random, profile: DatabaseProfile, column: str, usual: Habit, kinds: list[str]) -> list[Code | None]:
    others = profile.others(column)
    named = profile.named(column) or others
    codes: list[Code | None] = []
    for kind in kinds:
        habit = _MOTHERS_WARD if (kind, column) == ("mother", profile.system.ward) else usual
        luck = random.random()
        if kind not in habit.kinds or luck < habit.missing:
            codes.append(None)
        else:
            codes.append(random.choice(named if luck < habit.missing + habit.named else others))
    return codes


def _times(random: Random, kinds: list[str], day: date) -> list[tuple[datetime | None, ...]]:
    """Return the four `_TIMES` per encounter, such that its kind gives it the cohort date `day`."""
    midnight = datetime.combine(day, time.min)
    rows: list[tuple[datetime | None, ...]] = []
    for kind in kinds:
        in_the_day = midnight + timedelta(minutes=random.randrange(7 * 60, 19 * 60))
        discharged: datetime | None = in_the_day
        if kind in STAYS:
            attended = in_the_day - timedelta(hours=random.randrange(20, 150))
        elif kind == "emergency":
            # A discharge at midnight (00:00) belongs to the day that begins.
            minutes = 0 if random.random() < _MIDNIGHT_SHARE else random.randrange(24 * 60)
            discharged = midnight + timedelta(minutes=minutes)
            attended = discharged - timedelta(minutes=random.randrange(30, 400))
        else:
            attended = in_the_day
            hours = random.choices((2, 24, None), (85, 5, 10))[0]
            discharged = None if hours is None else in_the_day + timedelta(hours=hours)
        late = kind in STAYS and random.random() < _LATE_SHARE
        recorded = midnight + timedelta(days=random.randint(1, 3), hours=15) if late else discharged
        cancelled = attended + timedelta(hours=1) if random.random() < _CANCELLED_SHARE else None
        rows.append((attended, discharged, recorded, cancelled))
    return rows


def _with_newborns(frame: pl.DataFrame, ward: str | None) -> pl.DataFrame:
    """Return the frame with newborns named after their mother, with her stay and contacts and without a CPF."""
    newborn, row = pl.col("kind") == "newborn", pl.int_range(pl.len())
    mother = pl.when(kind="mother").then(row).forward_fill()
    shared = _FROM_THE_MOTHER if ward is None else (*_FROM_THE_MOTHER, ward)
    return frame.with_columns(
        pl.when(newborn).then(pl.col("id").gather(mother)).alias("parent_id"),
        pl.when(newborn).then(pl.format("RN DE {}", pl.col("name").gather(mother))).otherwise("name").alias("name"),
        pl.when(newborn).then(None).otherwise("cpf").alias("cpf"),
        pl.when(newborn).then(0).otherwise("age").alias("age"),
        *(pl.when(newborn).then(pl.col(name).gather(mother)).otherwise(name).alias(name) for name in shared),
    )
