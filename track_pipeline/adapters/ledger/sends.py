"""The sends: claimed before the POST, settled after it, resolved by an operator when the outcome is unknown.

This module holds the SQL and the transactions; `domain.claims` decides which lines may be claimed.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, datetime
from secrets import token_hex

import polars as pl
from sqlalchemy import (
    Connection,
    and_,
    delete,
    select,
    update,
)

from track_pipeline.adapters.ledger.database import Store, matches
from track_pipeline.adapters.ledger.frames import fetch, insert_new, insert_rows, one_of, one_of_pairs
from track_pipeline.adapters.ledger.queries import (
    IS_ANSWERED,
    IS_INVITATION,
    OUTCOME_ORDER,
    PERSON,
    active_opt_outs,
    known_to_have_died,
    of_encounters,
    standing_invitations,
)
from track_pipeline.adapters.ledger.tables import decisions, encounters, extracts, sends
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.claims import LINES, Claim, ClaimVerdict, Known, judge
from track_pipeline.domain.encounter import LEDGER_ENCOUNTER_KEY
from track_pipeline.domain.identity import ENCOUNTER_PERSON_KEY, KEY_COLUMNS
from track_pipeline.domain.outcome_columns import outcome_kind
from track_pipeline.domain.outcomes import PLANNED, OutcomeKind
from track_pipeline.domain.sends import OPEN_STATES, SendState, Verdict
from track_pipeline.domain.waves import Wave


class Sends(Store):
    """The part of the ledger that stores sends."""

    def claim(self, lines: pl.DataFrame, claim: Claim) -> pl.DataFrame:
        """Claim the lines (`claims.LINES`) that may be sent, in one transaction, committed when this returns.

        Returns the lines in their order, with `verdict` (`ClaimVerdict`, see `claims.judge`) and, on claimed ones,
        `send_id` and `batch_id`. Claims of all processes run one at a time, so two claims never hold the same
        encounter or person. Raises LedgerError; then nothing may be sent.
        """
        if claim.wave.is_reminder:
            # The quarantine does not apply to a reminder: its invitation already respected it.
            claim = replace(claim, any_survey_since=None, this_survey_since=None, any_survey_days=0, this_survey_days=0)
        batch_id = token_hex(16)
        with self._database.write() as connection:
            verdicts = judge(lines, claim, _known(connection, lines, claim))
            is_claimed = verdicts == ClaimVerdict.CLAIMED.value
            now = self._clock()
            new_ids = iter(_new_ids(now, int(is_claimed.sum())))
            send_ids = [next(new_ids) if claimed else None for claimed in is_claimed]
            judged = lines.with_columns(
                verdicts.alias("verdict"),
                pl.Series("send_id", send_ids, dtype=pl.String),
                pl.when(is_claimed).then(pl.lit(batch_id)).alias("batch_id"),
            )
            rows = judged.filter(is_claimed).select("send_id", "batch_id", *LINES.names()).with_columns(
                pl.col("unit", "setor").fill_null(""),
                wave=pl.lit(claim.wave.key),
                cohort_date=pl.lit(claim.cohort_date),
                state=pl.lit(SendState.CLAIMED.value),
                reason=pl.lit(""),
                run_id=pl.lit(claim.run_id),
                policy_version=pl.lit(claim.policy_version),
                rules_version=pl.lit(claim.rules_version),
                claimed_at=pl.lit(now),
            )  # fmt: skip
            insert_rows(connection, sends, rows)
        return judged

    def dispatching(self, run_id: str) -> AbstractContextManager[None]:
        """Hold the run's lock while it claims, posts and settles, so that other processes leave its claims alone."""
        return self._database.under_way(run_id)

    def is_dispatching(self, run_id: str) -> bool:
        """Return whether a run still sends, on any machine; if not, its remaining claims are orphaned."""
        return self._database.is_under_way(run_id)

    def settle(
        self,
        send_ids: Iterable[str],
        state: SendState,
        *,
        reason: str = "",
        distribution_id: str | None = None,
    ) -> int:
        """Record the outcome of claims and return how many sends changed.

        `claimed` may change to any state and `unknown` to `sent` or `rejected`; `sent` and `rejected` never change.
        """
        values = {"state": state, "reason": reason, "settled_at": self._clock()}
        if distribution_id is not None:
            values["distribution_id"] = distribution_id
        settleable = (
            sends.c.state == SendState.CLAIMED if state == SendState.UNKNOWN else sends.c.state.in_(OPEN_STATES)
        )
        with self._database.write() as connection:
            which = one_of(connection, sends.c.send_id, send_ids)
            return connection.execute(update(sends).where(which, settleable).values(values)).rowcount

    def record_distribution(self, send_ids: Iterable[str], distribution_id: str) -> int:
        """Record the distribution of sends that have no distribution id yet; return how many changed."""
        with self._database.write() as connection:
            which = and_(one_of(connection, sends.c.send_id, send_ids), sends.c.distribution_id.is_(None))
            return connection.execute(update(sends).where(which).values(distribution_id=distribution_id)).rowcount

    def release(self, send_ids: Iterable[str]) -> int:
        """Delete claims that were certainly not sent, so that they may be claimed again; return how many."""
        with self._database.write() as connection:
            which = one_of(connection, sends.c.send_id, send_ids)
            return connection.execute(delete(sends).where(which, sends.c.state == SendState.CLAIMED)).rowcount

    def unresolved(
        self,
        hospital: str | None = None,
        cohort_date: date | None = None,
        *,
        area: str | None = None,
        channel: Channel | None = None,
        encounter_id: int | None = None,
        claimed_before: datetime | None = None,
    ) -> pl.DataFrame:
        """Return the claimed and unknown sends, all columns of the table, oldest first; None matches any value.

        They include claims of a running dispatch: check `claimed_at` before resolving.
        """
        wanted = {
            "hospital": hospital,
            "cohort_date": cohort_date,
            "area": area,
            "channel": channel,
            "encounter_id": encounter_id,
        }
        statement = select(sends).where(
            sends.c.state.in_(OPEN_STATES), *(matches(sends.c[name], value) for name, value in wanted.items())
        )
        if claimed_before is not None:
            statement = statement.where(sends.c.claimed_at < claimed_before)
        with self._database.read() as connection:
            return fetch(connection, statement.order_by(sends.c.claimed_at, sends.c.encounter_id, sends.c.send_id))

    def resolve(self, send_ids: Iterable[str], verdict: Verdict, reason: str, by: str) -> int:
        """Record an operator's verdict on sends that are claimed or unknown; return how many.

        `not_sent` deletes the send, so that it may be sent again. The journal keeps the operator and the reason.
        """
        now = self._clock()
        decision = {"step": "resolve", "result": verdict, "reason": reason, "rule": f"by {by}", "at": now}
        columns = (
            sends.c.hospital,
            sends.c.database,
            sends.c.encounter_id,
            sends.c.cohort_date,
            sends.c.send_id.label("version"),
        )
        with self._database.write() as connection:
            which = and_(one_of(connection, sends.c.send_id, send_ids), sends.c.state.in_(OPEN_STATES))
            found = fetch(connection, select(*columns).where(which))
            values = {name: pl.lit(value) for name, value in decision.items()}
            insert_new(connection, decisions, found.with_columns(**values))
            statement = (
                update(sends).where(which).values(state=SendState.SENT, reason=reason, settled_at=now)
                if verdict == Verdict.SENT
                else delete(sends).where(which)
            )
            return connection.execute(statement).rowcount

    def of_wave(self, hospital: str, cohort_date: date, wave: Wave, channel: Channel | None = None) -> pl.DataFrame:
        """Return the sends of a hospital-day and wave in any state, all columns of the table, in order of claiming."""
        statement = select(sends).where(
            sends.c.cohort_date == cohort_date,
            sends.c.hospital == hospital,
            sends.c.wave == wave.key,
            matches(sends.c.channel, channel),
        )
        with self._database.read() as connection:
            return fetch(connection, statement.order_by(sends.c.claimed_at, sends.c.encounter_id, sends.c.send_id))

    def invitations(self, hospital: str, cohort_date: date) -> pl.DataFrame:
        """Return the invitations of a hospital-day: database, encounter_id, area, survey_uuid, channel, state.

        Extra links are left out. Of several to one encounter, a sent one comes first, a rejected one last.
        """
        statement = select(
            sends.c.database, sends.c.encounter_id, sends.c.area, sends.c.survey_uuid, sends.c.channel, sends.c.state
        ).where(sends.c.cohort_date == cohort_date, sends.c.hospital == hospital, IS_INVITATION)
        with self._database.read() as connection:
            return fetch(
                connection, statement.order_by(OUTCOME_ORDER, sends.c.encounter_id, sends.c.database, sends.c.send_id)
            )

    def distributions(self, since: datetime) -> list[str]:
        """Return the distribution ids of sends claimed since an instant, each once."""
        statement = select(sends.c.distribution_id).where(
            sends.c.claimed_at >= since, sends.c.distribution_id.is_not(None)
        )
        with self._database.read() as connection:
            return list(connection.execute(statement.distinct().order_by(sends.c.distribution_id)).scalars())

    def messages(self, since: datetime, before: datetime) -> pl.DataFrame:
        """Return the sends by e-mail and WhatsApp claimed in a period, the end not included, oldest first.

        Columns: send_id, hospital, state, distribution_id (null if unknown).
        """
        columns = (sends.c.send_id, sends.c.hospital, sends.c.state, sends.c.distribution_id)
        statement = select(*columns).where(
            sends.c.claimed_at >= since, sends.c.claimed_at < before, sends.c.channel.in_(CONTACT_CHANNELS)
        )
        with self._database.read() as connection:
            return fetch(connection, statement.order_by(sends.c.claimed_at, sends.c.send_id))

    def known(self, send_ids: Iterable[str]) -> set[str]:
        """Return the ids that are sends of this ledger."""
        with self._database.read() as connection:
            which = one_of(connection, sends.c.send_id, send_ids)
            return set(connection.execute(select(sends.c.send_id).where(which)).scalars())

    def keys_of(self, send_ids: Iterable[str]) -> pl.DataFrame:
        """Return the person keys of sends: send_id, channel, cpf_key, phone_key, email_key.

        Ids that are not in the ledger are left out.
        """
        with self._database.read() as connection:
            which = one_of(connection, sends.c.send_id, send_ids)
            return fetch(connection, select(sends.c.send_id, sends.c.channel, *PERSON).where(which))


def _new_ids(now: datetime, count: int) -> list[str]:
    """Return `count` ids of 32 hex digits: 12 of the time, so that indexes grow at their end, and 20 random ones.

    The random digits make the ids impossible to guess.
    """
    moment, chance = f"{int(now.timestamp() * 1000):012x}", token_hex(10 * count)
    return [moment + chance[start : start + 20] for start in range(0, 20 * count, 20)]


def _person_keys(lines: pl.DataFrame) -> pl.Series:
    return lines.select(pl.concat_list(KEY_COLUMNS).explode().drop_nulls()).to_series()


def _known(connection: Connection, lines: pl.DataFrame, claim: Claim) -> Known:
    asked = _asked(connection, lines)
    keys = pl.concat([_person_keys(lines), _person_keys(asked)])
    return Known(
        asked=asked,
        opted_out=active_opt_outs(connection, keys),
        died=known_to_have_died(connection, pl.concat([keys, lines.select(ENCOUNTER_PERSON_KEY).to_series()])),
        invited=_invited(connection, lines, claim),
        withdrawn=_withdrawn(connection, lines, claim),
    )


def _asked(connection: Connection, lines: pl.DataFrame) -> pl.DataFrame:
    more = ("survey_uuid", "wave", "channel", "cohort_date", "extra", "state")
    columns = [sends.c[name] for name in (*LEDGER_ENCOUNTER_KEY, *more, *KEY_COLUMNS)]
    statement = select(*columns, IS_ANSWERED.label("answered")).where(of_encounters(connection, lines))
    return fetch(connection, statement)


def _invited(connection: Connection, lines: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    keys = {key: lines.get_column(key).drop_nulls() if not claim.wave.is_reminder else () for key in KEY_COLUMNS}
    return standing_invitations(connection, keys, (*LEDGER_ENCOUNTER_KEY, "survey_uuid", "cohort_date", "claimed_at"))


def _withdrawn(connection: Connection, lines: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    """Return the lines' encounters that the ledger's latest plan of the day no longer plans in the line's area.

    If the ledger has no extract of the hospital-day and area, nothing is withdrawn.
    """
    if claim.wave.is_reminder:
        return lines.clear().select(*LEDGER_ENCOUNTER_KEY, "area", extra_too=pl.lit(value=True))
    row, of_day = encounters.c, encounters.c.cohort_date == claim.cohort_date
    columns = [row[name] for name in (*LEDGER_ENCOUNTER_KEY, "area", "result", "held")]
    wanted = one_of_pairs(connection, row.hospital, row.encounter_id, lines.select("hospital", "encounter_id"))
    current = fetch(connection, select(*columns).where(of_day, wanted))
    extracted = fetch(
        connection,
        select(extracts.c.hospital, extracts.c.area).where(
            extracts.c.cohort_date == claim.cohort_date,
            one_of(connection, extracts.c.hospital, lines.get_column("hospital")),
        ),
    )
    rows = (
        lines.select(*LEDGER_ENCOUNTER_KEY, "area")
        .join(current, on=[*LEDGER_ENCOUNTER_KEY, "area"], how="left")
        .join(extracted.with_columns(extracted=True), on=["hospital", "area"], how="left")
    )
    gone = pl.col("result").is_null() & pl.col("extracted")
    excluded = pl.col("result") != PLANNED
    dropped = outcome_kind("held") == OutcomeKind.SUPPRESSED.value
    return rows.filter(gone | excluded | dropped).with_columns(extra_too=excluded.fill_null(value=True))
