"""The policy of all hospitals (`policy.toml`), as validated values.

The registry (`hospitals.toml`) holds the settings of each hospital; `rules/` assigns encounters to areas.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.model import Strict
from track_pipeline.domain.waves import Wave

T = TypeVar("T")

Days = Annotated[int, Field(ge=0, le=3650)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Words = tuple[str, ...]
# The pattern refuses mistyped prefixes: they would match no encounter, so that excluded patients would be invited.
CidPrefixes = tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z][0-9]{0,2}[0-9A-Z]?$")], ...]


class SourcePolicy(Strict):
    """Limits of time and rows for reading one database of a hospital-day."""

    connect_seconds: Seconds
    statement_seconds: Seconds
    total_seconds: Seconds
    fetch_rows: Annotated[int, Field(ge=1, le=100_000)]
    max_rows: Annotated[int, Field(ge=1)]


class SendingPolicy(Strict):
    """The size of a batch, the budget of requests, and the validity of a survey."""

    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    requests_per_5_minutes: Annotated[int, Field(ge=1)]
    validity_days: Annotated[int, Field(ge=1, le=90)]


class EligibilityPolicy(Strict):
    """Values of the exclusions in `eligibility`, and the limit for shared contacts. ICD-10 prefixes have no dot."""

    adult_age: int
    shared_contact_limit: Annotated[int, Field(ge=1)]
    test_patient_words: Words
    obstetric_loss_cid: CidPrefixes
    psychiatric_cid: CidPrefixes
    custody_cid: CidPrefixes


class PlaceholderPolicy(Strict):
    """Contacts that front desks type when a patient gives none."""

    email_locals: frozenset[str]
    email_domains: frozenset[str]
    phone_endings: frozenset[str]


class QuarantinePolicy(Strict):
    """The four cooldowns, in days between cohort dates, or from an answer to a cohort date."""

    this_survey_after_invite: Days
    any_survey_after_invite: Days
    this_survey_after_answer: Days
    any_survey_after_answer: Days

    @property
    def after_invite(self) -> int:
        """The longest cooldown after an invitation, in days."""
        return max(self.this_survey_after_invite, self.any_survey_after_invite)

    @property
    def after_answer(self) -> int:
        """The longest cooldown after an answer, in days."""
        return max(self.this_survey_after_answer, self.any_survey_after_answer)


class GatePolicy(Strict):
    """Limits beyond which a hospital-day needs the approval of an operator before it is sent."""

    min_contact_share: Share
    min_rows: Annotated[int, Field(ge=1)]
    max_volume_ratio: Annotated[float, Field(gt=1)]
    volume_weeks: Annotated[int, Field(ge=1, le=12)]


class ReminderRule(Strict):
    """One wave of reminders (`[[reminder]]`): the day it is due, how many days it may be late, and its channels.

    `channels` is the order of preference and must contain every channel that contacts a person.
    """

    days: Annotated[int, Field(ge=1, le=90)]
    channels: tuple[Channel, ...]
    catch_up_days: Annotated[int, Field(ge=0, le=30)]

    @model_validator(mode="after")
    def _order_is_complete(self) -> Self:
        if sorted(self.channels) != sorted(CONTACT_CHANNELS):
            raise ValueError(f"channels: name each channel once: {', '.join(CONTACT_CHANNELS)}")
        return self

    @property
    def wave(self) -> Wave:
        """The wave of the rule."""
        return Wave(self.days)


class FeedbackPolicy(Strict):
    """The maximum age of what is known from Track.co, and how many days back its delivery statuses are read."""

    max_answer_age_hours: Annotated[float, Field(gt=0, le=48)]
    status_days: Annotated[int, Field(ge=1, le=15)]


class NpsPolicy(Strict):
    """The minimum of answers for showing a score, and for a score that is not preliminary."""

    min_answers_shown: Annotated[int, Field(ge=2)]
    min_answers_firm: Annotated[int, Field(ge=2)]


LineField = Literal[
    "send_id",
    "name",
    "email",
    "phone",
    "cpf",
    "cd_atendimento",
    "unidade",
    "area_pesquisa",
    "setor",
    "medico",
    "data_atendimento",
    "data_saida_alta",
]


def _one_per_channel(given: Mapping[Channel, T]) -> Mapping[Channel, T]:
    if missing := [channel for channel in Channel if channel not in given]:
        raise ValueError(f"{', '.join(missing)}: missing; every channel needs an entry")
    return given


def _answers_can_come_back(given: Mapping[Channel, tuple[LineField, ...]]) -> Mapping[Channel, tuple[LineField, ...]]:
    for channel, fields in given.items():
        if missing := {"send_id", channel.line_field} - set(fields):
            raise ValueError(f"{channel}: {', '.join(sorted(missing))} must be among the fields")
    return given


# The allow-list of fields that are sent to Track.co, per channel; the names are those of the original system.
LineFields = Annotated[
    Mapping[Channel, tuple[LineField, ...]], AfterValidator(_one_per_channel), AfterValidator(_answers_can_come_back)
]
# The legal basis under the LGPD for the use of each channel, in the words of the group.
LegalBasis = Annotated[Mapping[Channel, Annotated[str, Field(min_length=1)]], AfterValidator(_one_per_channel)]


class Policy(Strict):
    """The whole policy. `version` is a digest of the file and is stored with every decision."""

    version: str
    retention_days: Annotated[int, Field(ge=1, le=365)]
    source: SourcePolicy
    sending: SendingPolicy
    eligibility: EligibilityPolicy
    placeholders: PlaceholderPolicy
    quarantine: QuarantinePolicy
    gates: GatePolicy
    min_days_between_reminders: Annotated[int, Field(ge=1, le=90)]
    reminders: Annotated[tuple[ReminderRule, ...], Field(alias="reminder")] = ()
    feedback: FeedbackPolicy
    nps: NpsPolicy
    line_fields: LineFields
    legal_basis: LegalBasis

    @model_validator(mode="after")
    def _waves_do_not_overlap(self) -> Self:
        for rule, following in pairwise(self.reminders):
            gap = following.days - rule.days
            if gap < self.min_days_between_reminders:
                raise ValueError(
                    f"reminder: {rule.days} and {following.days} days are fewer than min_days_between_reminders apart, "
                    "or not in ascending order"
                )
            if rule.catch_up_days >= gap:
                raise ValueError(
                    f"reminder: after {rule.days} days, catch_up_days must be less than {gap}, or both could be due "
                    "on one day"
                )
        return self

    @model_validator(mode="after")
    def _contacts_last_until_the_last_reminder(self) -> Self:
        if self.retention_days < self.reminding_days + 1:
            raise ValueError(
                f"retention_days: write at least {self.reminding_days + 1}; the last reminder needs the contacts"
            )
        return self

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves of reminders, in ascending order."""
        return tuple(rule.wave for rule in self.reminders)

    @property
    def reminding_days(self) -> int:
        """The days after an invitation in which a reminder may still be sent; 0 without reminders."""
        return max((rule.days + rule.catch_up_days for rule in self.reminders), default=0)

    def reminder(self, wave: Wave) -> ReminderRule:
        """Return the rule of a wave of reminders. Raises KeyError when the policy has none."""
        return {rule.wave: rule for rule in self.reminders}[wave]
