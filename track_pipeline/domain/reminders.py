"""Who of the invited is reminded on a day, through which channel, and why the others are not.

A function of frames and a date. Whether answers and opt-outs are fresh is a gate's business; that a reminder
leaves once, whatever is decided here, is the ledger's.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final, Literal

import polars as pl

from track_pipeline.domain.hospital import Channel, Hospital
from track_pipeline.domain.outcomes import Withheld
from track_pipeline.domain.policy import ReminderPolicy
from track_pipeline.domain.schema import UTC_TIME

Wave = Literal["reminder_7d", "reminder_14d"]

# Local days from the invitation to the reminder.
WAVE_DAYS: Final[dict[Wave, int]] = {"reminder_7d": 7, "reminder_14d": 14}
LAST_REMINDER: Final = max(WAVE_DAYS.values())

DUE: Final = "due"
DONE: Final = "done"
NOT_YET: Final = "not_yet"
WITHHELD: Final = "withheld"

# One row per encounter whose invitation was sent. Flags and `opted_out` say what is known now: `returned_since`
# is another encounter of the person after the invitation, `opted_out` the channels that any key of the person
# refuses (`all`, `email`, `whatsapp`). `reminded_<wave>_state`, `_channel` and `_at` are those of the ledger's send
# of that wave (`_at`: when it was claimed), null while there is none.
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
        "email_bounced": pl.Boolean(),
        "whatsapp_bounced": pl.Boolean(),
        "died_since": pl.Boolean(),
        "returned_since": pl.Boolean(),
        "reminded_7d_state": pl.String(),
        "reminded_14d_state": pl.String(),
        "reminded_7d_channel": pl.String(),
        "reminded_7d_at": UTC_TIME,
        "reminded_14d_at": UTC_TIME,
        "opted_out": pl.List(pl.String()),
    }
)

# What the plan of the invitation (`PLAN`) says of the same encounters, as long as the lake keeps it.
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

# What is decided on each candidate. `result` is one of DUE, DONE, NOT_YET and WITHHELD; `reason` is a `Withheld`
# on withheld rows and null on the others; `channel` and the personal columns are null on rows that are not due:
# nobody needs them there.
REMINDERS: Final = pl.Schema(
    {**CANDIDATES, **CONTACTS, "result": pl.String(), "reason": pl.String(), "channel": pl.String()}
)

_ENCOUNTER_KEY: Final = ("database", "encounter_id")
_ONLY_IF_DUE: Final = ("channel", "patient_name", "doctor_name", "email_address", "phone_e164", "cpf_digits")
_CONTACT_OF: Final[dict[Channel, str]] = {"email": "email_address", "whatsapp": "phone_e164"}
_OTHER: Final[dict[Wave, Wave]] = {"reminder_7d": "reminder_14d", "reminder_14d": "reminder_7d"}
_REMINDED: Final[dict[Wave, str]] = {"reminder_7d": "reminded_7d", "reminder_14d": "reminded_14d"}


def due_date(invited_local: date, wave: Wave) -> date:
    """The day a reminder falls due, given the hospital's calendar day on which the invitation was sent."""
    return invited_local + timedelta(days=WAVE_DAYS[wave])


def decide(
    candidates: pl.DataFrame,
    contacts: pl.DataFrame,
    wave: Wave,
    today: date,
    hospital: Hospital,
    policy: ReminderPolicy,
) -> pl.DataFrame:
    """Decides on every candidate (`CANDIDATES`) of a hospital: `REMINDERS`, in the order of the candidates.

    `contacts` (`CONTACTS`) may lack encounters; `today` is the hospital's calendar day. The first rule that holds
    gives the result. A flag that is unknown (null) counts as true: nobody is written to on a doubt. Raises polars'
    ComputeError when an encounter comes twice, in either frame.
    """
    frame = candidates.select(CANDIDATES.names()).join(
        contacts.select(CONTACTS.names()), on=_ENCOUNTER_KEY, how="left", validate="1:1", maintain_order="left"
    )
    frame = frame.with_columns(channel=_channel(wave, hospital, policy))
    # The first rule that holds has the word; a row that none of them holds back is due.
    rules = _rules(wave, today, hospital, policy)
    verdict = pl.coalesce(*(pl.when(holds).then(pl.lit(str(word))) for word, holds in rules.items()), pl.lit(DUE))
    is_reason = pl.col("verdict").is_in([reason.value for reason in Withheld])
    is_due = pl.col("verdict") == DUE
    return frame.with_columns(verdict=verdict).with_columns(
        *(pl.when(is_due).then(column).alias(column) for column in _ONLY_IF_DUE),
        result=pl.when(is_reason).then(pl.lit(WITHHELD)).otherwise("verdict"),
        reason=pl.when(is_reason).then("verdict"),
    ).select(pl.col(name).cast(kind) for name, kind in REMINDERS.items())  # fmt: skip


def _rules(wave: Wave, today: date, hospital: Hospital, policy: ReminderPolicy) -> dict[str, pl.Expr]:
    """What keeps a reminder from being due, in the order in which it is looked for."""
    invited_on = _local_day("invited_at", hospital)
    since_due = (pl.lit(today) - invited_on).dt.total_days() - WAVE_DAYS[wave]
    no_channel = pl.col("channel").is_null()
    refuses_all = pl.all_horizontal(_refuses(channel) for channel in hospital.channels)
    return {
        DONE: pl.col(f"{_REMINDED[wave]}_state").is_not_null(),
        Withheld.ANSWERED: _may_be("answered"),
        Withheld.OPTED_OUT: refuses_all | (no_channel & _one_contact(hospital, _refuses)),
        Withheld.DECEASED: _may_be("died_since"),
        Withheld.RETURNED: _may_be("returned_since"),
        Withheld.BOUNCED: no_channel & _one_contact(hospital, _bounced),
        Withheld.TRACKS_OWN: pl.lit(hospital.reminders == "track"),
        NOT_YET: since_due < 0,
        Withheld.LATE: since_due > policy.catch_up_days,
        Withheld.TOO_SOON: _other_wave_just_went(wave, today, hospital, policy),
        Withheld.NO_CONTACT: no_channel,
    }


def _channel(wave: Wave, hospital: Hospital, policy: ReminderPolicy) -> pl.Expr:
    """The first usable channel that the first reminder did not take, else the first usable one; null if none is."""
    order = policy.channels_7d if wave == "reminder_7d" else policy.channels_14d
    usable = {channel: _is_usable(channel) for channel in order if channel in hospital.channels}
    other_than_before = {
        channel: holds & (pl.col("reminded_7d_channel") != channel) for channel, holds in usable.items()
    }
    return pl.coalesce(
        pl.when(holds).then(pl.lit(channel)) for each in (other_than_before, usable) for channel, holds in each.items()
    )


def _is_usable(channel: Channel) -> pl.Expr:
    return pl.col(_CONTACT_OF[channel]).is_not_null() & ~_bounced(channel) & ~_refuses(channel)


def _one_contact(hospital: Hospital, holds: Callable[[Channel], pl.Expr]) -> pl.Expr:
    """Whether it holds of a channel by which the person could be reached at all."""
    return pl.any_horizontal(
        pl.col(_CONTACT_OF[channel]).is_not_null() & holds(channel) for channel in hospital.channels
    )


def _refuses(channel: Channel) -> pl.Expr:
    refused = pl.any_horizontal(pl.col("opted_out").list.contains(each) for each in ("all", channel))
    return refused.fill_null(value=True)


def _bounced(channel: Channel) -> pl.Expr:
    return _may_be(f"{channel}_bounced")


def _may_be(flag: str) -> pl.Expr:
    return pl.col(flag).fill_null(value=True)


def _other_wave_just_went(wave: Wave, today: date, hospital: Hospital, policy: ReminderPolicy) -> pl.Expr:
    """Whether the other wave's reminder reached somebody, or may have, less than `min_gap_days` ago."""
    other = _REMINDED[_OTHER[wave]]
    went = (pl.col(f"{other}_state") != "rejected").fill_null(value=False)
    days_ago = (pl.lit(today) - _local_day(f"{other}_at", hospital)).dt.total_days()
    return went & (days_ago < policy.min_gap_days).fill_null(value=True)


def _local_day(instant: str, hospital: Hospital) -> pl.Expr:
    return pl.col(instant).dt.convert_time_zone(hospital.time_zone).dt.date()
