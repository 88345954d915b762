"""Decide which lines of a batch may be claimed, from the contents of the ledger. A function of frames alone.

This is the last check before a line is sent. The ledger makes the decision binding in one transaction.
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
    """The decision on one line of a batch. `judge` describes each value."""

    CLAIMED = "claimed"
    ALREADY = "already"
    ALREADY_ASKED = "already_asked"
    WITHDRAWN = "withdrawn"
    ANSWERED = "answered"
    DECEASED = "deceased"
    OPTED_OUT = "opted_out"
    TOO_MANY = "too_many"
    QUARANTINE = "quarantine"


# Two lines of one wave with equal values in these columns are the same send.
_SEND: Final = (*LEDGER_ENCOUNTER_KEY, "survey_uuid", "channel")

# The columns of a batch to be claimed. `extra` marks a link for the front desk, made in addition to the invitation.
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
    """The values that all lines of a batch share.

    cohort_date: the date of the partition.
    any_survey_since, this_survey_since: a person is in quarantine when an invitation to any survey, or to the survey
        of the line, was claimed at or after this instant. None: no such quarantine, as on reminders.
    any_survey_days, this_survey_days: a person is also in quarantine when the cohort date of the invitation is fewer
        than this many days before or after `cohort_date`, whatever the time of sending.
    most_reminders: the limit of reminders per encounter over all waves, equal to the number of waves in the policy.
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
    """The rows of the ledger that can change the decision on a batch.

    asked: sends of any wave to these encounters, columns hospital, database, encounter_id, survey_uuid, wave, channel,
        cohort_date, extra, state, cpf_key, phone_key, email_key, answered.
    opted_out: columns person_key, channel.
    died: column person_key.
    invited: standing invitations to these people, one row per key, columns person_key, hospital, database,
        encounter_id, survey_uuid, cohort_date, claimed_at.
    withdrawn: encounters of the cohort date that are no longer planned, columns hospital, database, encounter_id,
        area, extra_too. `extra_too`: the extra links are withdrawn as well.
    """

    asked: pl.DataFrame
    opted_out: pl.DataFrame
    died: pl.DataFrame
    invited: pl.DataFrame
    withdrawn: pl.DataFrame


def judge(lines: pl.DataFrame, claim: Claim, known: Known) -> pl.Series:
    """Return the verdict on each line (`LINES`), in the order of the lines. The first verdict that applies counts.

    already: the same send exists for this cohort date.
    already_asked: the same send exists for another cohort date, or the encounter has a send of this wave with another
        survey or channel.
    withdrawn: a later plan excludes the encounter.
    answered: a send of any wave to the encounter has an answer.
    deceased: the person has died.
    opted_out: the person opted out of the channel, or of all channels.
    too_many: the encounter has `most_reminders` reminders; reminders of unknown outcome count.
    quarantine: the person was invited recently for another encounter.

    For `deceased` and `opted_out`, the keys of a person are those of the line and of earlier sends to the encounter;
    for `quarantine`, those of the line. Extra lines can get only `already`, `already_asked` for the same send,
    `withdrawn`, `answered`, `deceased` and `opted_out`. Earlier lines of the batch count as sends.
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
    """Yield frames of line and verdict, in the order of priority. An empty frame of the ledger refuses no line."""
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
    """Return one row per line and key: the columns of the line and `person_key`. `more` adds keys."""
    keys = pl.concat_list(*KEY_COLUMNS, *more).list.drop_nulls().alias("person_key")
    return lines.with_columns(keys).explode("person_key").drop_nulls("person_key")


def _people(lines: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return each line with each key of its person, including the keys of earlier sends to the encounter."""
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
    """Return lines that repeat the send, encounter or person of an earlier line of the batch, with their verdict."""
    if _are_all_distinct(lines):
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


def _are_all_distinct(lines: pl.DataFrame) -> bool:
    """Whether no two lines share an encounter or a person key, as in most batches."""
    encounters = lines.select(LEDGER_ENCOUNTER_KEY).is_duplicated().any()
    return not encounters and not any(lines.get_column(key).drop_nulls().is_duplicated().any() for key in KEY_COLUMNS)
