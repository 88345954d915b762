"""Builders of synthetic people and what is decided about them: frames and requests with sensible defaults.

Only what several tests share belongs here. Nobody in it exists; every default encounter can be asked by e-mail
and by WhatsApp, and is of a person of its own.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import polars as pl

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import Hasher, KeyKind, keyed_hasher
from track_pipeline.domain.outcomes import PLANNED
from track_pipeline.domain.plan import PLAN, LedgerFacts, PlanRequest, eligible, identify, make_plan
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.schema import ENCOUNTERS, raw_schema

Row = dict[str, Any]

# A Monday without holidays around it.
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
    """A valid CPF of eleven digits that begins with `number` (up to nine digits)."""
    digits = [int(digit) for digit in f"{number:09d}"]
    for _ in range(2):
        weights = range(len(digits) + 1, 1, -1)
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))


def email_of(person: int) -> str:
    """The address of the default person of that number."""
    return f"pessoa{person}@exemplo.com.br"


def phone_of(person: int) -> str:
    """The mobile of the default person of that number, as E.164."""
    return f"+55279{81_000_000 + person}"


def key_of(kind: KeyKind, value: str, secret: str = SECRET) -> str:
    """The key of one normalised value, by the recipe: HMAC-SHA256 of `kind:value`, the first 32 hex digits."""
    return hmac.new(secret.encode(), f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()[:32]


def keys_of(person: int) -> Row:
    """The keys of the default person of that number: cpf_key, phone_key, email_key."""
    return {
        "cpf_key": key_of("cpf", cpf(person)),
        "phone_key": key_of("phone", f"27{phone_of(person)[-8:]}"),
        "email_key": key_of("email", email_of(person)),
    }


def survey_of(unit: str, area: Area | str) -> str:
    """The survey that `plan_request` gives a unit's area."""
    return str(uuid5(NAMESPACE_URL, f"tests/{unit}/{area}"))


def hospital(code: str = "HMS", **fields: Any) -> Hospital:
    """A hospital with one unit that has a survey for every area."""
    unit = {"code": code, "name": "Hospital Exemplo", "surveys": list(AREAS)}
    defaults = {"code": code, "his": "mv", "database": code, "time_zone": "America/Sao_Paulo", "unit": [unit]}
    return Hospital.model_validate(defaults | fields)


def encounters(*rows: Row) -> pl.DataFrame:
    """A frame of `ENCOUNTERS`; the n-th row is the n-th person's (`person` in a row says otherwise)."""
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
    """A raw batch of MV: inpatients of HMS who were discharged at noon of the day; the n-th row is the n-th person."""
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
    """A frame of `PLAN`; every row is planned by e-mail unless it says otherwise."""
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
    """A request for a plan of `day`, made on that day unless `today` is given, with a survey for everything."""
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
    """What the ledger knows; nothing, unless rows are given."""
    return LedgerFacts(
        pl.DataFrame(list(opted_out), schema=_OPTED_OUT),
        pl.DataFrame(list(contacted), schema=_CONTACTED),
        pl.DataFrame(list(asked), schema=_ASKED),
        pl.DataFrame(list(suppressed), schema=_ASKED),
        pl.DataFrame(list(consented), schema={"person_key": pl.String()}),
        pl.DataFrame(list(died), schema={"person_key": pl.String()}),
    )


def plan_of(frame: pl.DataFrame, request: PlanRequest | None = None, facts: LedgerFacts | None = None) -> pl.DataFrame:
    """The plan (`PLAN`) of encounters, from contacts to reasons."""
    request = request or plan_request()
    facts = facts or ledger_facts()
    return make_plan(eligible(identify(frame, request, HASHER), request, facts), request, facts)
