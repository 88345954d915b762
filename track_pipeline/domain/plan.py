"""The plan of a hospital-day: which encounters are invited, through which channel, and why the others are excluded.

A function of its arguments alone: a replay with the same day, ledger and rules selects the same people.
The ledger checks opt-outs, quarantine and repeated sends again at the moment of sending.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from track_pipeline.domain.areas import AREAS, PRIORITY, Area
from track_pipeline.domain.channels import CONTACT_COLUMNS, Channel, OptOutChannel
from track_pipeline.domain.contacts import REASON_OF_VERDICT, Verdict, mark_shared
from track_pipeline.domain.eligibility import with_reason, with_reasons_of_people
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import KEY_COLUMNS, Hasher, with_cleaned_contacts, with_keys
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED, Exclusion
from track_pipeline.domain.policy import Policy, QuarantinePolicy
from track_pipeline.domain.schema import UTC_TIME

# One row per encounter of an area. `area` is the area's key. Contacts and keys are null on excluded rows, because they
# are not needed there. `decided_by` is the classification rule of a planned row, or the rule that excluded the row.
PLAN: Final = pl.Schema(
    {
        "hospital": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "unit_name": pl.String(),
        "area": pl.String(),
        "setor": pl.String(),
        "rule": pl.String(),
        "attended_at": UTC_TIME,
        "discharged_at": UTC_TIME,
        "result": pl.String(),
        "reason": pl.String(),
        "decided_by": pl.String(),
        "channel": pl.String(),
        "survey_uuid": pl.String(),
        "patient_name": pl.String(),
        "doctor_name": pl.String(),
        "email_address": pl.String(),
        "phone_e164": pl.String(),
        "cpf_digits": pl.String(),
        "cpf_key": pl.String(),
        "phone_key": pl.String(),
        "email_key": pl.String(),
    }
)
_CONTACT_COLUMNS: Final = ("patient_name", "doctor_name", "email_address", "phone_e164", "cpf_digits", *KEY_COLUMNS)
# Columns that only the first reasons need. They are dropped early, so that the frame of a large day takes less memory.
_JUDGED: Final = ("cid", "age", "died", "death_flag_missing")
_WEIGHED: Final = (*ENCOUNTER_KEY, "area", "discharged_at", "survey_uuid", *KEY_COLUMNS, "settled", "reason")


@dataclass(frozen=True)
class LedgerFacts:
    """The rows of the ledger about the people of a hospital-day.

    opted_out: person_key, channel (`all`, `email`, `whatsapp`).
    contacted: person_key, hospital, database, encounter_id, survey_uuid, cohort_date, answered_on; invitations
        of earlier days.
    asked: database, encounter_id, area, survey_uuid, channel; invitations of this hospital-day.
    suppressed: same columns; planned encounters of this hospital-day that were dropped at the moment of sending.
    consented: person_key; people with recorded consent to WhatsApp.
    died: person_key; people with a recorded death, from any encounter in any hospital.
    """

    opted_out: pl.DataFrame
    contacted: pl.DataFrame
    asked: pl.DataFrame
    suppressed: pl.DataFrame
    consented: pl.DataFrame
    died: pl.DataFrame


@dataclass(frozen=True)
class PlanRequest:
    """The inputs of a plan besides the encounters and the ledger.

    surveys: unit code and area to survey uuid.
    today: the hospital's calendar day when the plan is made.
    """

    hospital: Hospital
    day: date
    today: date
    policy: Policy
    surveys: Mapping[tuple[str, Area], str]


def identify(encounters: pl.DataFrame, request: PlanRequest, hasher: Hasher) -> pl.DataFrame:
    """Replace the typed contacts and the CPF of a hospital-day's `ENCOUNTERS` by usable contacts, verdicts and keys."""
    frame = with_cleaned_contacts(encounters, request.policy.placeholders)
    return with_keys(mark_shared(frame, request.policy.eligibility.shared_contact_limit), hasher)


def eligible(identified: pl.DataFrame, request: PlanRequest, ledger: LedgerFacts) -> pl.DataFrame:
    """Return the rows of `identify` that have an area, with the reasons that need no other area, day or contact.

    Rows without an area are read only for reasons that hold for the person, such as a death, and are then dropped.
    A separate step, so that a large day is not held in memory twice.
    """
    judged = with_reason(identified, request.policy.eligibility, request.hospital)
    judged = with_reasons_of_people(judged, ledger.died.get_column("person_key")).drop(_JUDGED)
    return judged.filter(pl.col("area").is_not_null()).with_columns(
        area=pl.col("area").replace_strict({area.label: area.value for area in AREAS}, return_dtype=pl.String)
    )


def make_plan(encounters: pl.DataFrame, request: PlanRequest, ledger: LedgerFacts) -> pl.DataFrame:
    """Decide on all encounters of a hospital-day that have an area. Returns `PLAN`, in the order of the input.

    `encounters` is the result of `eligible`. An encounter that was sent, or suppressed at the moment of sending, stays
    planned even when the rules have changed since: a recorded outcome is final.
    """
    frame = _with_survey(encounters, request)
    frame = _with_channel(frame, request.hospital, ledger)
    frame = _keep_what_is_settled(frame, ledger)
    return _as_plan(frame.with_columns(_reasons(frame, request, ledger)))


def _reasons(frame: pl.DataFrame, request: PlanRequest, ledger: LedgerFacts) -> pl.Series:
    """Return the `reason` of each row after a comparison with the other rows and the ledger."""
    # Only these columns are sorted and sorted back.
    frame = _by_priority(frame.select(_WEIGHED))
    if (request.today - request.day).days > request.hospital.max_age_days:
        frame = _exclude(frame, pl.lit(value=True), Exclusion.STALE)
    undecided = pl.col("reason").is_null()
    frame = _exclude(frame, _is_repeat(ENCOUNTER_KEY, undecided), Exclusion.DUPLICATE_ENCOUNTER)
    frame = _exclude(frame, _was_asked_before(ledger.contacted, request.hospital), Exclusion.ALREADY_ASKED)
    same_person = pl.any_horizontal(_is_repeat((key,), undecided & pl.col(key).is_not_null()) for key in KEY_COLUMNS)
    frame = _exclude(frame, same_person, Exclusion.SAME_PERSON)
    frame = _exclude(frame, _in_quarantine(ledger.contacted, request), Exclusion.QUARANTINE)
    frame = _exclude(frame, ~_in_sample(frame, request.hospital), Exclusion.SAMPLED_OUT)
    return frame.sort("_row").get_column("reason")


def _as_plan(frame: pl.DataFrame) -> pl.DataFrame:
    is_planned = pl.col("reason").is_null()
    only_planned = [pl.when(is_planned).then(column).alias(column) for column in ("channel", *_CONTACT_COLUMNS)]
    return frame.with_columns(
        *only_planned,
        result=pl.when(is_planned).then(pl.lit(PLANNED)).otherwise(pl.lit(EXCLUDED)),
        decided_by=pl.when(is_planned).then("rule").otherwise(pl.coalesce("decided_by", "reason")),
    ).select(pl.col(name).cast(kind) for name, kind in PLAN.items())


def _by_priority(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort the rows so that, among several encounters of one person, the encounter to invite for comes first."""
    order = {area.value: rank for rank, area in enumerate(PRIORITY)}
    priority = pl.col("area").replace_strict(order, return_dtype=pl.Int32)
    return frame.with_row_index("_row").sort(
        ~pl.col("settled"), priority, "discharged_at", *ENCOUNTER_KEY, nulls_last=True
    )


def _exclude(frame: pl.DataFrame, holds: pl.Expr, reason: Exclusion) -> pl.DataFrame:
    """Set `reason` on the rows where `holds` is true, if they have no reason and no recorded outcome."""
    applies = pl.col("reason").is_null() & ~pl.col("settled") & holds.fill_null(value=False)
    return frame.with_columns(reason=pl.when(applies).then(pl.lit(reason.value)).otherwise("reason"))


def _with_survey(frame: pl.DataFrame, request: PlanRequest) -> pl.DataFrame:
    surveys = pl.DataFrame(
        [(unit, area.value, uuid) for (unit, area), uuid in request.surveys.items()],
        schema={"unit": pl.String, "area": pl.String, "survey_uuid": pl.String},
        orient="row",
    )
    frame = frame.join(surveys, on=["unit", "area"], how="left", maintain_order="left")
    missing = pl.col("reason").is_null() & pl.col("survey_uuid").is_null()
    return frame.with_columns(reason=pl.when(missing).then(pl.lit(Exclusion.NO_SURVEY.value)).otherwise("reason"))


def may_get_whatsapp(hospital: Hospital, consented: pl.DataFrame) -> pl.Expr:
    """Whether a hospital may use WhatsApp for a person: consent is assumed, or recorded for a key of the person."""
    if hospital.whatsapp_consent == "assumed":
        return pl.lit(value=True)
    keys = consented.get_column("person_key").implode()
    return pl.any_horizontal(pl.col(key).is_in(keys) for key in KEY_COLUMNS).fill_null(value=False)


def _with_channel(frame: pl.DataFrame, hospital: Hospital, ledger: LedgerFacts) -> pl.DataFrame:
    """Add the first channel of the hospital with a usable contact, consent and no opt-out; else the reason."""
    channels: tuple[Channel, ...] = hospital.channels
    has_contact = {channel: pl.col(column).is_not_null() for channel, column in CONTACT_COLUMNS.items()}
    agreed = may_get_whatsapp(hospital, ledger.consented)
    usable = {channel: holds & agreed if channel.needs_consent else holds for channel, holds in has_contact.items()}
    if hospital.links == "no_contact":
        usable[Channel.LINK] = pl.lit(value=True)
        channels = (*channels, Channel.LINK)
    lacks_consent = pl.any_horizontal(
        pl.lit(value=False), *(has_contact[each] & ~usable[each] for each in channels if each.needs_consent)
    )
    refused = {channel: _opted_out(ledger.opted_out, channel) for channel in channels}
    first = pl.coalesce(pl.when(usable[each] & ~refused[each]).then(pl.lit(each.value)) for each in channels)
    without_opt_out = pl.any_horizontal(usable[name] for name in channels)
    verdicts = [pl.col(f"{kind}_verdict") for kind in ("email", "phone")]

    def one_is(verdict: Verdict) -> pl.Expr:
        return pl.any_horizontal(column == verdict for column in verdicts)

    reason = pl.coalesce(
        pl.when(without_opt_out).then(pl.lit(Exclusion.OPTED_OUT.value)),
        pl.when(lacks_consent).then(pl.lit(Exclusion.NO_CONSENT.value)),
        *(pl.when(one_is(verdict)).then(pl.lit(reason.value)) for verdict, reason in REASON_OF_VERDICT.items()),
        pl.lit(Exclusion.NO_CONTACT.value),
    )
    frame = frame.with_columns(channel=first)
    return frame.with_columns(
        reason=pl.coalesce("reason", pl.when(pl.col("channel").is_null()).then(reason)),
    )


def _opted_out(opted_out: pl.DataFrame, channel: Channel) -> pl.Expr:
    keys = opted_out.filter(pl.col("channel").is_in(OptOutChannel.refusing(channel))).get_column("person_key").implode()
    return pl.any_horizontal(pl.col(key).is_in(keys) for key in KEY_COLUMNS).fill_null(value=False)


def _keep_what_is_settled(frame: pl.DataFrame, ledger: LedgerFacts) -> pl.DataFrame:
    """Mark rows that have a recorded outcome (`settled`) and set the channel and survey of that outcome.

    A row of an encounter that was sent for another area gets the reason `already_asked`.
    """
    outcomes = pl.concat(
        outcome.select(
            *ENCOUNTER_KEY,
            pl.col("area").alias("_area"),
            pl.col("channel").alias("_channel"),
            pl.col("survey_uuid").alias("_survey"),
            pl.lit(left).alias("_left"),
        )
        for outcome, left in ((ledger.asked, True), (ledger.suppressed, False))
    ).unique(subset=ENCOUNTER_KEY, keep="first", maintain_order=True)
    here = (pl.col("_area") == pl.col("area")).fill_null(value=False)
    frame = frame.join(outcomes, on=ENCOUNTER_KEY, how="left", maintain_order="left").with_columns(
        settled=here & ~_is_repeat(ENCOUNTER_KEY, here)
    )
    settled = pl.col("settled")
    left_elsewhere = pl.col("_left").fill_null(value=False) & ~here
    return frame.with_columns(
        channel=pl.when(settled).then("_channel").otherwise("channel"),
        survey_uuid=pl.when(settled).then("_survey").otherwise("survey_uuid"),
        reason=pl.when(~settled).then(
            pl.coalesce("reason", pl.when(left_elsewhere).then(pl.lit(Exclusion.ALREADY_ASKED.value)))
        ),
    )


def _was_asked_before(contacted: pl.DataFrame, hospital: Hospital) -> pl.Expr:
    """Whether the same encounter was invited on another cohort date, because its deciding date was corrected since."""
    asked = contacted.filter(pl.col("hospital") == hospital.code).select(pl.struct(ENCOUNTER_KEY)).to_series()
    return pl.struct(ENCOUNTER_KEY).is_in(asked.implode())


def _is_repeat(columns: tuple[str, ...], among: pl.Expr) -> pl.Expr:
    """Whether a row of `among` has the same values in `columns` as an earlier row of `among`."""
    return among & ~pl.when(among).then(pl.struct(columns)).is_first_distinct()


def _in_quarantine(contacted: pl.DataFrame, request: PlanRequest) -> pl.Expr:
    """Whether a person key of the row was invited, or answered, within a cooldown that covers the cohort date."""
    policy: QuarantinePolicy = request.policy.quarantine
    since_invite = (pl.lit(request.day) - pl.col("cohort_date")).dt.total_days()
    since_answer = (pl.lit(request.day) - pl.col("answered_on")).dt.total_days()
    any_survey = (since_invite < policy.any_survey_after_invite) | (since_answer < policy.any_survey_after_answer)
    this_survey = (since_invite < policy.this_survey_after_invite) | (since_answer < policy.this_survey_after_answer)
    people = contacted.filter(any_survey.fill_null(value=False)).get_column("person_key").implode()
    pairs = contacted.filter(this_survey.fill_null(value=False)).select(
        pl.concat_str("person_key", "survey_uuid", separator="|")
    ).to_series().implode()  # fmt: skip
    return pl.any_horizontal(
        pl.col(key).is_in(people) | pl.concat_str(key, "survey_uuid", separator="|").is_in(pairs) for key in KEY_COLUMNS
    )


def _in_sample(frame: pl.DataFrame, hospital: Hospital) -> pl.Expr:
    """Whether the encounter is in the sample. Depends on its key alone, so that a replay selects the same people."""
    if hospital.sample >= 1:
        return pl.lit(value=True)
    keys = frame.select(ENCOUNTER_KEY).iter_rows()
    draws = pl.Series([_draw(hospital.code, *key) for key in keys], dtype=pl.Float64)
    return pl.lit(draws < hospital.sample)


def _draw(hospital: str, database: str, encounter_id: int) -> float:
    digest = hashlib.sha256(f"{hospital}:{database}:{encounter_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
