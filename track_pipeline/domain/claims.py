"""Decides which lines of a batch may be claimed, given what the ledger holds: a function of frames alone.

This is the last word before a line leaves. The ledger makes the decision binding in one transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

import polars as pl

from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.domain.encounter import LEDGER_ENCOUNTER_KEY
from track_pipeline.domain.identity import ENCOUNTER_PERSON_KEY, KEY_COLUMNS
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE, Wave


class ClaimVerdict(StrEnum):
    """The verdict on one line of a batch; see `judge` for what each means."""

    CLAIMED = "claimed"
    ALREADY = "already"
    ALREADY_ASKED = "already_asked"
    WITHDRAWN = "withdrawn"
    ANSWERED = "answered"
    DECEASED = "deceased"
    OPTED_OUT = "opted_out"
    TOO_MANY = "too_many"
    QUARANTINE = "quarantine"


# What makes two lines the same send (within a wave).
_SEND: Final = (*LEDGER_ENCOUNTER_KEY, "survey_uuid", "channel")

# The columns of a batch to be claimed; `extra` marks links made for the front desk beside the real invitation.
LINES: Final = pl.Schema(
    {
        "hospital": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "area": pl.String(),
        "setor": pl.String(),
        "survey_uuid": pl.String(),
        "channel": pl.String(),
        "cpf_key": pl.String(),
        "phone_key": pl.String(),
        "email_key": pl.String(),
        "extra": pl.Boolean(),
    }
)


@dataclass(frozen=True)
class Claim:
    """What all lines of a batch have in common.

    cohort_date: the day of the partition. any_survey_since, this_survey_since: a person invited to any survey, or
    to the line's own, at or after that instant is in quarantine; None for no such quarantine, as on reminders.
    any_survey_days, this_survey_days: so is one whose invitation is of a day that is fewer days away from this one,
    before or after, whatever the clock said when it was sent. most_reminders: how many reminders an encounter may get,
    whatever their waves; as many as the policy has waves.
    """

    wave: Wave
    cohort_date: date
    run_id: str
    policy_version: str
    rules_version: str
    any_survey_since: datetime | None
    this_survey_since: datetime | None
    most_reminders: int
    any_survey_days: int = 0
    this_survey_days: int = 0


@dataclass(frozen=True)
class Known:
    """What the ledger holds that bears on a batch.

    asked: sends of any wave to these encounters, columns hospital, database, encounter_id, survey_uuid, wave, channel,
    cohort_date, extra, state, cpf_key, phone_key, email_key, answered. opted_out: person_key, channel. died:
    person_key. invited: standing invitations to these people, columns person_key, hospital, database, encounter_id,
    survey_uuid, cohort_date, claimed_at; one row per key. withdrawn: encounters of the claim's day that are not
    planned any more, columns hospital, database, encounter_id, area, and extra_too (also links beside an invitation
    are not to be made).
    """

    asked: pl.DataFrame
    opted_out: pl.DataFrame
    died: pl.DataFrame
    invited: pl.DataFrame
    withdrawn: pl.DataFrame


def judge(lines: pl.DataFrame, claim: Claim, known: Known) -> pl.Series:
    """The verdict on each line (`LINES`), in their order; the first that applies.

    `already`: this very send exists. `already_asked`: it exists as a send of another day, or the encounter was asked
    in this wave by another survey or channel. `withdrawn`: a later plan excludes it. `answered`: a send of any wave to
    the encounter has an answer. `deceased`: the person has died. `opted_out`: the person refuses the channel, or all.
    `too_many`: the encounter had `most_reminders`, those of unknown outcome counted. `quarantine`: the person was
    invited not long ago, for another encounter. A person is who has one of the line's keys, or one that an earlier
    send to the encounter had. Extra lines are subject to `already`, `withdrawn`, `answered`, `deceased` and
    `opted_out` only. Earlier lines of the batch count as sends.
    """
    lines = lines.select(pl.col(name).cast(kind) for name, kind in LINES.items()).with_row_index("line")
    found = list(_refused(lines, claim, known))
    refused = pl.concat([_verdict(ClaimVerdict.ALREADY, lines.clear()), *found]).unique(
        "line", keep="first", maintain_order=True
    )
    within = _repeated_within(lines.join(refused, on="line", how="anti", maintain_order="left"), claim)
    verdicts = lines.select("line").join(pl.concat([refused, within]), on="line", how="left", maintain_order="left")
    return verdicts.get_column("verdict").fill_null(ClaimVerdict.CLAIMED.value)


def _refused(lines: pl.DataFrame, claim: Claim, known: Known) -> Iterator[pl.DataFrame]:
    """Line and verdict, the verdicts in the order in which they count. What is not known refuses nobody."""
    asked, regular = known.asked, _regular(lines)
    people = _people(lines, asked) if not (known.died.is_empty() and known.opted_out.is_empty()) else lines.clear()
    if not asked.is_empty():
        of_wave = asked.filter(pl.col("wave") == claim.wave.key)
        same = lines.join(of_wave, on=_SEND)
        yield _verdict(ClaimVerdict.ALREADY, same.filter(pl.col("cohort_date") == claim.cohort_date))
        yield _verdict(ClaimVerdict.ALREADY_ASKED, same)
        yield _verdict(
            ClaimVerdict.ALREADY_ASKED, regular.join(_standing(of_wave), on=LEDGER_ENCOUNTER_KEY, how="semi")
        )
    if not known.withdrawn.is_empty():
        yield _verdict(ClaimVerdict.WITHDRAWN, _withdrawn(lines, known.withdrawn))
    if not asked.is_empty():
        yield _verdict(ClaimVerdict.ANSWERED, lines.join(asked.filter("answered"), on=LEDGER_ENCOUNTER_KEY, how="semi"))
    if not known.died.is_empty():
        yield _verdict(ClaimVerdict.DECEASED, people.join(known.died, on="person_key", how="semi"))
    if not known.opted_out.is_empty():
        yield _verdict(ClaimVerdict.OPTED_OUT, _refused_by_person(people, known.opted_out))
    if not asked.is_empty():
        yield _verdict(
            ClaimVerdict.TOO_MANY, regular.join(_reminded_enough(asked, claim), on=LEDGER_ENCOUNTER_KEY, how="semi")
        )
    if not known.invited.is_empty():
        yield _verdict(ClaimVerdict.QUARANTINE, _invited_lately(regular, claim, known.invited))


def _verdict(verdict: ClaimVerdict, lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select("line", verdict=pl.lit(verdict.value))


def _regular(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(~pl.col("extra"))


def _standing(asked: pl.DataFrame) -> pl.DataFrame:
    return asked.filter(~pl.col("extra"), pl.col("state") != SendState.REJECTED.value)


def _reminded_enough(asked: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    reminders = _standing(asked).filter(pl.col("wave") != INVITE.key)
    return reminders.group_by(LEDGER_ENCOUNTER_KEY).len().filter(pl.col("len") >= claim.most_reminders)


def _by_person(lines: pl.DataFrame, *more: pl.Expr) -> pl.DataFrame:
    """One row per line and key, `more` of them given: `person_key` beside the line's columns."""
    keys = pl.concat_list(*KEY_COLUMNS, *more).list.drop_nulls().alias("person_key")
    return lines.with_columns(keys).explode("person_key").drop_nulls("person_key")


def _people(lines: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Every line with every key of its person, also those that the person had when earlier sends were made."""
    columns = ("line", "channel", "person_key")
    by_line = _by_person(lines, ENCOUNTER_PERSON_KEY).select(columns)
    if asked.is_empty():
        return by_line
    earlier = lines.select("line", "channel", *LEDGER_ENCOUNTER_KEY).join(
        asked.drop("channel"), on=LEDGER_ENCOUNTER_KEY
    )
    return pl.concat([by_line, _by_person(earlier).select(columns)]).unique(maintain_order=True)


def _refused_by_person(people: pl.DataFrame, opted_out: pl.DataFrame) -> pl.DataFrame:
    matches = people.join(opted_out, on="person_key", suffix="_refused")
    return matches.filter(
        (pl.col("channel_refused") == OptOutChannel.ALL.value) | (pl.col("channel_refused") == pl.col("channel"))
    )


def _withdrawn(lines: pl.DataFrame, withdrawn: pl.DataFrame) -> pl.DataFrame:
    matches = lines.join(withdrawn, on=[*LEDGER_ENCOUNTER_KEY, "area"])
    return matches.filter(~pl.col("extra") | pl.col("extra_too"))


def _invited_lately(lines: pl.DataFrame, claim: Claim, invited: pl.DataFrame) -> pl.DataFrame:
    matches = _by_person(lines).join(invited, on="person_key", suffix="_before")
    another = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_before") for name in LEDGER_ENCOUNTER_KEY)
    same_survey = pl.col("survey_uuid") == pl.col("survey_uuid_before")
    days_away = (pl.col("cohort_date") - pl.lit(claim.cohort_date)).dt.total_days().abs()

    def lately(since: datetime | None, days: int) -> pl.Expr:
        claimed = pl.lit(value=False) if since is None else pl.col("claimed_at") >= since.astimezone(UTC)
        return claimed | (days_away < days)

    any_survey = lately(claim.any_survey_since, claim.any_survey_days)
    this_survey = lately(claim.this_survey_since, claim.this_survey_days)
    return matches.filter(another, any_survey | (same_survey & this_survey))


def _repeated_within(lines: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    """Lines that an earlier one of the same batch stands in the way of."""
    if _are_strangers(lines):
        return lines.clear().select("line", verdict=pl.lit(""))
    same_send = lines.filter(~pl.struct(_SEND).is_first_distinct())
    regular = _regular(lines.join(same_send, on="line", how="anti", maintain_order="left"))
    same_encounter = regular.filter(~pl.struct(LEDGER_ENCOUNTER_KEY).is_first_distinct())
    rest = _by_person(regular.join(same_encounter, on="line", how="anti", maintain_order="left"))
    if claim.any_survey_since is not None:
        same_person = rest.filter(pl.col("line") > pl.col("line").min().over("person_key"))
    elif claim.this_survey_since is not None:
        same_person = rest.filter(pl.col("line") > pl.col("line").min().over("person_key", "survey_uuid"))
    else:
        same_person = rest.clear()
    return pl.concat(
        [
            _verdict(ClaimVerdict.ALREADY, same_send),
            _verdict(ClaimVerdict.ALREADY_ASKED, same_encounter),
            _verdict(ClaimVerdict.QUARANTINE, same_person.unique("line", maintain_order=True)),
        ]
    )


def _are_strangers(lines: pl.DataFrame) -> bool:
    """Whether all lines are of encounters and people of their own, as most batches are."""
    encounters = lines.select(LEDGER_ENCOUNTER_KEY).is_duplicated().any()
    return not encounters and not any(lines.get_column(key).drop_nulls().is_duplicated().any() for key in KEY_COLUMNS)
