"""Builders of frames and requests about invented people, with sensible defaults.

Only builders that several tests share belong here. Every default encounter is of a different person, who can be invited
by e-mail and by WhatsApp.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import polars as pl

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.domain.funnel import Funnel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import Hasher, KeyKind, keyed_hasher
from track_pipeline.domain.outcomes import PLANNED
from track_pipeline.domain.plan import PLAN, LedgerFacts, PlanRequest, eligible, identify, make_plan
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.schema import ENCOUNTERS, raw_schema

Row = dict[str, Any]

# A Monday with no holiday near it.
DAY = date(2025, 3, 10)
SECRET = "a secret of the tests"
HASHER: Hasher = keyed_hasher(SECRET)

_OPTED_OUT = pl.Schema({"person_key": pl.String(), "channel": pl.String()})
_CONTACTED = pl.Schema(
    {
        "person_key": pl.String(),
        "hospital": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "survey_uuid": pl.String(),
        "cohort_date": pl.Date(),
        "answered_on": pl.Date(),
    }
)
_ASKED = pl.Schema(
    {
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "area": pl.String(),
        "survey_uuid": pl.String(),
        "channel": pl.String(),
    }
)


def cpf(number: int) -> str:
    """Return a valid CPF of eleven digits that begins with `number` (up to nine digits)."""
    digits = [int(digit) for digit in f"{number:09d}"]
    for _ in range(2):
        weights = range(len(digits) + 1, 1, -1)
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))


def email_of(person: int) -> str:
    """Return the e-mail address of the default person with this number."""
    return f"pessoa{person}@exemplo.com.br"


def phone_of(person: int) -> str:
    """Return the mobile number of the default person with this number, as E.164."""
    return f"+55279{81_000_000 + person}"


def key_of(kind: KeyKind, value: str, secret: str = SECRET) -> str:
    """Return the key of one normalised value: HMAC-SHA256 of `kind:value`, the first 32 hex digits."""
    return hmac.new(secret.encode(), f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()[:32]


def keys_of(person: int) -> Row:
    """Return the keys of the default person with this number: cpf_key, phone_key, email_key."""
    return {
        "cpf_key": key_of("cpf", cpf(person)),
        "phone_key": key_of("phone", f"27{phone_of(person)[-8:]}"),
        "email_key": key_of("email", email_of(person)),
    }


def survey_of(unit: str, area: Area | str) -> str:
    """Return the survey that `plan_request` assigns to an area of a unit."""
    return str(uuid5(NAMESPACE_URL, f"tests/{unit}/{area}"))


def hospital(code: str = "HMS", **fields: Any) -> Hospital:
    """Return a hospital with one unit that has a survey for every area."""
    unit = {"code": code, "name": "Hospital Exemplo", "surveys": list(AREAS)}
    defaults = {"code": code, "his": "mv", "database": code, "time_zone": "America/Sao_Paulo", "unit": [unit]}
    return Hospital.model_validate(defaults | fields)


def encounters(*rows: Row) -> pl.DataFrame:
    """Return a frame of `ENCOUNTERS`. The n-th row is of the n-th person, unless the row gives `person`."""
    return pl.DataFrame([_encounter(place, row) for place, row in enumerate(rows, start=1)], schema=ENCOUNTERS)


def _encounter(place: int, row: Row) -> Row:
    person: int = row.get("person", place)
    defaults: Row = {
        "hospital": "HMS",
        "database": "HMS",
        "encounter_id": place,
        "unit": "HMS",
        "unit_name": "Hospital Exemplo",
        "area": Area.INTERNACAO.label,
        "setor": "INTERNACAO",
        "rule": "inpatient",
        "attended_at": datetime(2025, 3, 8, 12, tzinfo=UTC),
        "discharged_at": datetime(2025, 3, 10, 15, tzinfo=UTC),
        "patient_name": f"Pessoa Exemplo {person}",
        "doctor_name": "Doutora Exemplo",
        "email": email_of(person),
        "phone_country": "55",
        "phone_area": "27",
        "phone_number": phone_of(person).removeprefix("+5527"),
        "cpf": cpf(person),
        "age": 40,
        "died": False,
    }
    return defaults | {name: value for name, value in row.items() if name != "person"}


def raw_encounters(*rows: Row, day: date = DAY) -> pl.DataFrame:
    """Return a raw batch of MV: inpatients of HMS, discharged at noon of the day. The n-th row is the n-th person."""
    noon = datetime.combine(day, time(12))
    return pl.DataFrame([_raw(place, noon, row) for place, row in enumerate(rows, start=1)], schema=raw_schema("mv"))


def _raw(person: int, noon: datetime, row: Row) -> Row:
    defaults: Row = {
        "database": "HMS",
        "cd_atendimento": person,
        "dt_atendimento": noon,
        "dt_alta": noon,
        "tp_atendimento": "I",
        "nm_paciente": f"Pessoa Exemplo {person}",
        "email": email_of(person),
        "nr_ddi_celular": "55",
        "nr_ddd_celular": "27",
        "nr_celular": phone_of(person).removeprefix("+5527"),
        "nr_cpf": cpf(person),
    }
    return defaults | row


def planned(*rows: Row) -> pl.DataFrame:
    """Return a frame of `PLAN`. Each row is planned by e-mail, unless the row gives other values."""
    return pl.DataFrame([_planned(place, row) for place, row in enumerate(rows, start=1)], schema=PLAN)


def _planned(person: int, row: Row) -> Row:
    defaults: Row = {
        "hospital": "HMS",
        "database": "HMS",
        "encounter_id": person,
        "unit": "HMS",
        "unit_name": "Hospital Exemplo",
        "area": Area.INTERNACAO.value,
        "setor": "INTERNACAO",
        "rule": "inpatient",
        "attended_at": datetime(2025, 3, 8, 12, tzinfo=UTC),
        "discharged_at": datetime(2025, 3, 10, 15, tzinfo=UTC),
        "result": PLANNED,
        "decided_by": "inpatient",
        "channel": "email",
        "survey_uuid": survey_of("HMS", Area.INTERNACAO),
        "patient_name": f"Pessoa Exemplo {person}",
        "doctor_name": "Doutora Exemplo",
        "email_address": email_of(person),
        "phone_e164": phone_of(person),
        "cpf_digits": cpf(person),
    } | keys_of(person)
    return defaults | row


def plan_request(
    of: Hospital | None = None,
    *,
    day: date = DAY,
    today: date | None = None,
    policy: Policy | None = None,
    surveys: Mapping[tuple[str, Area], str] | None = None,
) -> PlanRequest:
    """Return a request for a plan of `day`, made on `today` or else on `day`, with a survey for every unit and area."""
    of = of or hospital()
    if surveys is None:
        surveys = {(unit.code, area): survey_of(unit.code, area) for unit in of.units for area in unit.surveys}
    return PlanRequest(of, day, today or day, policy or load_policy(), surveys)


def ledger_facts(
    opted_out: Iterable[Row] = (),
    contacted: Iterable[Row] = (),
    asked: Iterable[Row] = (),
    suppressed: Iterable[Row] = (),
    consented: Iterable[Row] = (),
    died: Iterable[Row] = (),
) -> LedgerFacts:
    """Return the facts of the ledger: the given rows, or empty frames."""
    return LedgerFacts(
        pl.DataFrame(list(opted_out), schema=_OPTED_OUT),
        pl.DataFrame(list(contacted), schema=_CONTACTED),
        pl.DataFrame(list(asked), schema=_ASKED),
        pl.DataFrame(list(suppressed), schema=_ASKED),
        pl.DataFrame(list(consented), schema={"person_key": pl.String()}),
        pl.DataFrame(list(died), schema={"person_key": pl.String()}),
    )


def plan_of(frame: pl.DataFrame, request: PlanRequest | None = None, facts: LedgerFacts | None = None) -> pl.DataFrame:
    """Return the plan (`PLAN`) of encounters, through all steps from contacts to reasons."""
    request = request or plan_request()
    facts = facts or ledger_facts()
    return make_plan(eligible(identify(frame, request, HASHER), request, facts), request, facts)


def closes(row: Mapping[str, Any]) -> bool:
    """Whether a row of `track status --json` adds up, as its funnel does."""
    return Funnel(**{each.name: row[each.name] for each in fields(Funnel)}).closes
