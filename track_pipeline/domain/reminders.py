"""Decide which invited people get a reminder on a day, through which channel, and why the others get none.

Functions of frames and a date. The service checks that answers and opt-outs are fresh; the ledger's claim ensures that
a reminder is sent once.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

import polars as pl

from track_pipeline.domain.channels import CONTACT_CHANNELS, CONTACT_COLUMNS, Channel, OptOutChannel
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import Withheld
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.schema import UTC_TIME
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import Wave

DUE: Final = "due"
DONE: Final = "done"
NOT_YET: Final = "not_yet"
WITHHELD: Final = "withheld"

# The reminders of an encounter in the ledger, oldest first. `at` is the time of the claim. For several sends of one
# wave, the ledger gives the send that decides the outcome (`funnel.TELLING`).
REMINDED: Final = pl.Struct(
    {"wave": pl.String(), "state": pl.String(), "channel": pl.String(), "at": UTC_TIME},
)
# One row per encounter whose invitation was sent, with its current state. `returned_since`: the person had another
# encounter after the invitation. `opted_out`: the opt-outs (`OptOutChannel`) of any key of the person.
# `<channel>_bounced`: a message through that channel was not delivered.
CANDIDATES: Final = pl.Schema(
    {
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "setor": pl.String(),
        "survey_uuid": pl.String(),
        "invite_channel": pl.String(),
        "invited_at": UTC_TIME,
        "cpf_key": pl.String(),
        "phone_key": pl.String(),
        "email_key": pl.String(),
        "answered": pl.Boolean(),
        **{f"{channel}_bounced": pl.Boolean() for channel in CONTACT_CHANNELS},
        "died_since": pl.Boolean(),
        "returned_since": pl.Boolean(),
        "reminders": pl.List(REMINDED),
        "opted_out": pl.List(pl.String()),
    }
)

# Columns of the same encounters from the plan of the invitation (`PLAN`), available as long as the lake keeps the plan.
CONTACTS: Final = pl.Schema(
    {
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit_name": pl.String(),
        "area": pl.String(),
        "attended_at": UTC_TIME,
        "discharged_at": UTC_TIME,
        "patient_name": pl.String(),
        "doctor_name": pl.String(),
        "email_address": pl.String(),
        "phone_e164": pl.String(),
        "cpf_digits": pl.String(),
    }
)

# The decision on each candidate. `result` is one of DUE, DONE, NOT_YET and WITHHELD; `reason` is a `Withheld`
# on withheld rows and null on the others; `channel` and the personal columns are null on rows that are not due.
REMINDERS: Final = pl.Schema(
    {**CANDIDATES, **CONTACTS, "result": pl.String(), "reason": pl.String(), "channel": pl.String()}
)

_ONLY_IF_DUE: Final = ("channel", "patient_name", "doctor_name", "email_address", "phone_e164", "cpf_digits")


def due_date(invited_local: date, wave: Wave) -> date:
    """Return the day on which a reminder is due, from the day of the invitation in the hospital's calendar."""
    return invited_local + timedelta(days=wave.days)


def decide(
    candidates: pl.DataFrame,
    contacts: pl.DataFrame,
    wave: Wave,
    today: date,
    hospital: Hospital,
    policy: Policy,
) -> pl.DataFrame:
    """Decide on every candidate (`CANDIDATES`) of a hospital. Returns `REMINDERS`, in the order of the candidates.

    `contacts` (`CONTACTS`) may lack encounters; `today` is the hospital's calendar day. The first rule that holds
    gives the result. An unknown flag (null) counts as true, so that no reminder is sent in doubt. Raises polars'
    ComputeError when an encounter stands twice in either frame.
    """
    frame = candidates.select(CANDIDATES.names()).join(
        contacts.select(CONTACTS.names()), on=ENCOUNTER_KEY, how="left", validate="1:1", maintain_order="left"
    )
    frame = frame.with_columns(channel=_channel(wave, hospital, policy))
    rules = _rules(wave, today, hospital, policy)
    verdict = pl.coalesce(*(pl.when(holds).then(pl.lit(str(result))) for result, holds in rules.items()), pl.lit(DUE))
    is_reason = pl.col("verdict").is_in([reason.value for reason in Withheld])
    is_due = pl.col("verdict") == DUE
    return frame.with_columns(verdict=verdict).with_columns(
        *(pl.when(is_due).then(column).alias(column) for column in _ONLY_IF_DUE),
        result=pl.when(is_reason).then(pl.lit(WITHHELD)).otherwise("verdict"),
        reason=pl.when(is_reason).then("verdict"),
    ).select(pl.col(name).cast(kind) for name, kind in REMINDERS.items())  # fmt: skip


def _rules(wave: Wave, today: date, hospital: Hospital, policy: Policy) -> dict[str, pl.Expr]:
    """Return the conditions that prevent a reminder, by result, in the order in which they are checked."""
    invited_on = _local_day(pl.col("invited_at"), hospital)
    since_due = (pl.lit(today) - invited_on).dt.total_days() - wave.days
    no_channel = pl.col("channel").is_null()
    refuses_all = pl.all_horizontal(_refuses(channel) for channel in hospital.channels)
    return {
        DONE: _of_wave(wave).list.len() > 0,
        Withheld.ANSWERED: _may_be("answered"),
        Withheld.OPTED_OUT: refuses_all | (no_channel & _one_contact(hospital, _refuses)),
        Withheld.DECEASED: _may_be("died_since"),
        Withheld.RETURNED: _may_be("returned_since"),
        Withheld.BOUNCED: no_channel & _one_contact(hospital, _bounced),
        Withheld.TRACKS_OWN: pl.lit(hospital.reminders == "track"),
        NOT_YET: since_due < 0,
        Withheld.LATE: since_due > policy.reminder(wave).catch_up_days,
        Withheld.TOO_SOON: _another_wave_just_left(wave, today, hospital, policy),
        Withheld.NO_CONTACT: no_channel,
    }


def _of_wave(wave: Wave) -> pl.Expr:
    return pl.col("reminders").list.filter(pl.element().struct.field("wave") == wave.key)


def _of_other_waves(wave: Wave) -> pl.Expr:
    return pl.col("reminders").list.filter(pl.element().struct.field("wave") != wave.key)


def _channel(wave: Wave, hospital: Hospital, policy: Policy) -> pl.Expr:
    """The first usable channel other than that of the previous reminder, else the first usable one; null if none is."""
    usable = {
        channel: _is_usable(channel) for channel in policy.reminder(wave).channels if channel in hospital.channels
    }
    before = _of_other_waves(wave).list.last().struct.field("channel")
    other_than_before = {channel: holds & (before != channel.value) for channel, holds in usable.items()}
    return pl.coalesce(
        pl.when(holds).then(pl.lit(channel.value))
        for each in (other_than_before, usable)
        for channel, holds in each.items()
    )


def _is_usable(channel: Channel) -> pl.Expr:
    return pl.col(CONTACT_COLUMNS[channel]).is_not_null() & ~_bounced(channel) & ~_refuses(channel)


def _one_contact(hospital: Hospital, holds: Callable[[Channel], pl.Expr]) -> pl.Expr:
    """Whether `holds` is true for a channel of the hospital for which the person has a contact."""
    return pl.any_horizontal(
        pl.col(CONTACT_COLUMNS[channel]).is_not_null() & holds(channel) for channel in hospital.channels
    )


def _refuses(channel: Channel) -> pl.Expr:
    refused = pl.any_horizontal(pl.col("opted_out").list.contains(each) for each in OptOutChannel.refusing(channel))
    return refused.fill_null(value=True)


def _bounced(channel: Channel) -> pl.Expr:
    return _may_be(f"{channel}_bounced")


def _may_be(flag: str) -> pl.Expr:
    return pl.col(flag).fill_null(value=True)


def _another_wave_just_left(wave: Wave, today: date, hospital: Hospital, policy: Policy) -> pl.Expr:
    """Whether a reminder of another wave was or may have been sent less than `min_days_between_reminders` ago."""
    left = pl.element().struct.field("state") != SendState.REJECTED.value
    others = _of_other_waves(wave).list.filter(left)
    last = others.list.last().struct.field("at")
    days_ago = (pl.lit(today) - _local_day(last, hospital)).dt.total_days()
    return (others.list.len() > 0) & (days_ago < policy.min_days_between_reminders).fill_null(value=True)


def _local_day(instant: pl.Expr, hospital: Hospital) -> pl.Expr:
    return instant.dt.convert_time_zone(hospital.time_zone).dt.date()
