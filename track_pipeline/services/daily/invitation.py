"""Invitation of one hospital-day: which extracted encounters are planned, and why the others are excluded."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED, Area
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import ENCOUNTER_PERSON_KEY, KEY_COLUMNS, Hasher
from track_pipeline.domain.outcomes import PLANNED, Exclusion
from track_pipeline.domain.plan import LedgerFacts, PlanRequest, eligible, identify, make_plan
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.logs.system_log import about
from track_pipeline.services.daily.extraction import EXTRACT

logger = logging.getLogger(__name__)

INVITATION: Final = "invitation"


@dataclass(frozen=True)
class Planner:
    """Plans from extracts, policy and ledger."""

    lake: Lake
    ledger: Ledger
    rules: Mapping[str, RuleSet]
    policy: Policy
    surveys: Mapping[tuple[str, Area], str]
    hasher: Hasher
    clock: Callable[[], datetime]

    def invite(self, hospital: Hospital, day: date, areas: Sequence[Area] = AREAS) -> dict[Area, pl.DataFrame]:
        """Plan a hospital-day, write the plans (`PLAN`) of the chosen areas to lake and ledger, and return them.

        A person is invited once a day, so all extracted areas are planned together. Raises NotInLake when a chosen
        area has not been extracted.
        """
        request = self._request(hospital, day)
        # Taken before the extracts are read: an extract that is written in between is not part of this plan.
        made_of = {area: self.lake.digest(EXTRACT, area, day, hospital.code) for area in areas}
        identified = self._identified(hospital, day, areas, request)
        self.ledger.people.record_sightings(hospital.code, day, _sightings(identified))
        facts = self._facts(hospital, day, identified)
        # The same name is used again so that the earlier frame of a large day is freed.
        identified = eligible(identified, request, facts)
        plan = make_plan(identified, request, facts)
        plans = {area: plan.filter(pl.col("area") == area.value) for area in areas}
        for area, rows in plans.items():
            self.lake.write(rows, INVITATION, area, day, hospital.code, made_of=made_of[area])
            self._record(hospital, day, area, rows)
            planned = rows.filter(pl.col("result") == PLANNED).height
            with about(area=area):
                logger.info("plan of %s: %d planned, %d excluded", day, planned, rows.height - planned)
        return plans

    def as_if_unsent(self, hospital: Hospital, day: date, encounters: pl.DataFrame) -> pl.DataFrame:
        """Return the plan (`PLAN`) of encounters (`ENCOUNTERS`, of all areas and of none), as if none had an outcome.

        A sent line is planned only if these rules and this policy plan it. Nothing is written.
        """
        request = self._request(hospital, day)
        identified = identify(encounters, request, self.hasher)
        facts = self._facts(hospital, day, identified)
        unsent = replace(facts, asked=facts.asked.clear(), suppressed=facts.suppressed.clear())
        return make_plan(eligible(identified, request, facts), request, unsent)

    def _request(self, hospital: Hospital, day: date) -> PlanRequest:
        return PlanRequest(hospital, day, self.clock().astimezone(hospital.zone).date(), self.policy, self.surveys)

    def _identified(self, hospital: Hospital, day: date, areas: Sequence[Area], request: PlanRequest) -> pl.DataFrame:
        """Return all extracted encounters, also those in no area: all of them count for a shared contact."""
        read = {area: self.lake.read if area in areas else self.lake.find for area in AREAS}
        frames = [read[area](EXTRACT, area, day, hospital.code) for area in AREAS]
        frames.append(self.lake.find(EXTRACT, UNCLASSIFIED, day, hospital.code))
        encounters = pl.concat(frame for frame in frames if frame is not None)
        return identify(encounters, request, self.hasher)

    def _facts(self, hospital: Hospital, day: date, identified: pl.DataFrame) -> LedgerFacts:
        keys = pl.concat(identified.get_column(column).drop_nulls() for column in KEY_COLUMNS).unique()
        contacted = self.ledger.people.recent_contacts(keys, cohort_from=day - self._cooldowns(), cohort_before=day)
        was_known = pl.col("answered_on") <= self.clock().astimezone(hospital.zone).date()
        return LedgerFacts(
            # A plan repeated for the same instant is the same; the claim checks all opt-outs.
            opted_out=self.ledger.people.opted_out(keys, known_at=self.clock()),
            contacted=contacted.with_columns(answered_on=pl.when(was_known).then("answered_on")),
            asked=self.ledger.sends.invitations(hospital.code, day),
            suppressed=self.ledger.encounters.suppressed(hospital.code, day),
            consented=self.ledger.people.consented(keys, Channel.WHATSAPP),
            died=self.ledger.people.died(keys),
        )

    def _cooldowns(self) -> timedelta:
        """Return how old an invitation can be whose person is still in quarantine.

        The quarantine after an answer starts at the answer, and an answer can come until the last reminder expires,
        which may itself have been sent late.
        """
        quarantine, policy = self.policy.quarantine, self.policy
        until_answer = policy.reminding_days + policy.sending.validity_days + 1
        return timedelta(days=max(quarantine.after_invite, quarantine.after_answer + until_answer))

    def _record(self, hospital: Hospital, day: date, area: Area, plan: pl.DataFrame) -> None:
        self.ledger.encounters.record_plan(
            hospital.code,
            day,
            area,
            plan.select(
                "database",
                "encounter_id",
                "unit",
                "setor",
                "survey_uuid",
                "channel",
                "result",
                "reason",
                rule="decided_by",
                rules_version=pl.lit(self.rules[hospital.code].version),
                policy_version=pl.lit(self.policy.version),
            ),
        )


def _sightings(identified: pl.DataFrame) -> pl.DataFrame:
    """Return the people of the day: person_key, database, encounter_id, died; one row per key.

    A person who returns or dies gets no reminder of an older encounter. Cancelled encounters did not take place and are
    left out. A death is also recorded under a key of the encounter, which does not change with its contacts.
    """
    died = pl.col("died") | pl.col("reason").eq_missing(pl.lit(Exclusion.DECEASED.value))
    took_place = identified.filter(pl.col("reason").ne_missing(pl.lit(Exclusion.CANCELLED.value)))
    return (
        took_place.with_columns(died=died, encounter_key=pl.when(died).then(ENCOUNTER_PERSON_KEY))
        .unpivot([*KEY_COLUMNS, "encounter_key"], index=["database", "encounter_id", "died"], value_name="person_key")
        .select("person_key", "database", "encounter_id", "died")
    )
