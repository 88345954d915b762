"""The policy that holds for every hospital (`policy.toml`), as validated values.

What differs per hospital is in the registry; which encounters belong to which area is in `rules/`.
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
# A mistyped prefix would match nobody and ask those who must be left alone.
CidPrefixes = tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z][0-9]{0,2}[0-9A-Z]?$")], ...]


class SourcePolicy(Strict):
    """How long, and how much, the reading of one database of a hospital-day may take."""

    connect_seconds: Seconds
    statement_seconds: Seconds
    total_seconds: Seconds
    fetch_rows: Annotated[int, Field(ge=1, le=100_000)]
    max_rows: Annotated[int, Field(ge=1)]


class SendingPolicy(Strict):
    """How much goes out at a time."""

    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    requests_per_5_minutes: Annotated[int, Field(ge=1)]
    validity_days: Annotated[int, Field(ge=1, le=90)]


class EligibilityPolicy(Strict):
    """Whom not to ask, beyond what a contact or a rule file says. ICD-10 prefixes are without the dot."""

    adult_age: int
    shared_contact_limit: Annotated[int, Field(ge=1)]
    test_patient_words: Words
    obstetric_loss_cid: CidPrefixes
    psychiatric_cid: CidPrefixes
    custody_cid: CidPrefixes


class PlaceholderPolicy(Strict):
    """Contacts that front desks type when there is none."""

    email_locals: frozenset[str]
    email_domains: frozenset[str]
    phone_endings: frozenset[str]


class QuarantinePolicy(Strict):
    """The four cooldowns, in days between cohort days."""

    this_survey_after_invite: Days
    any_survey_after_invite: Days
    this_survey_after_answer: Days
    any_survey_after_answer: Days

    @property
    def after_invite(self) -> int:
        """For how many days an invitation matters at all."""
        return max(self.this_survey_after_invite, self.any_survey_after_invite)

    @property
    def after_answer(self) -> int:
        """For how many days an answer does."""
        return max(self.this_survey_after_answer, self.any_survey_after_answer)


class GatePolicy(Strict):
    """When a hospital-day looks too strange to be sent without somebody's word."""

    min_contact_share: Share
    min_rows: Annotated[int, Field(ge=1)]
    max_volume_ratio: Annotated[float, Field(gt=1)]
    volume_weeks: Annotated[int, Field(ge=1, le=12)]


class ReminderRule(Strict):
    """One wave of reminders (`[[reminder]]`): when it falls due, how long it may be late, in which channels.

    `channels` is the order of preference among those that can reach the person; every channel that contacts a person
    has its place.
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
        """The wave that the rule describes."""
        return Wave(self.days)


class FeedbackPolicy(Strict):
    """How fresh what Track.co knows must be, and how far back its delivery statuses are read."""

    max_answer_age_hours: Annotated[float, Field(gt=0, le=48)]
    status_days: Annotated[int, Field(ge=1, le=15)]


class NpsPolicy(Strict):
    """From how many answers on a score is shown, and believed."""

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


# The allow-list of what is sent to the vendor, per channel; the names are the original system's.
LineFields = Annotated[
    Mapping[Channel, tuple[LineField, ...]], AfterValidator(_one_per_channel), AfterValidator(_answers_can_come_back)
]
# The basis of the LGPD on which each channel is used, in the group's own words.
LegalBasis = Annotated[Mapping[Channel, Annotated[str, Field(min_length=1)]], AfterValidator(_one_per_channel)]


class Policy(Strict):
    """All of it; `version` is a digest of the file, kept with every decision."""

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
            raise ValueError(f"retention_days: the last reminder needs at least {self.reminding_days + 1}")
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
        """The rule of a wave of reminders. Raises KeyError when the policy has none."""
        return {rule.wave: rule for rule in self.reminders}[wave]
