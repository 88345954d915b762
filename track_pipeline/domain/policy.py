"""The policy that holds for every hospital (`policy.toml`), as validated values.

What differs per hospital is in the registry; which encounters belong to which area is in `rules/`.
"""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from track_pipeline.domain.hospital import Channel
from track_pipeline.domain.model import Strict

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


class ReminderPolicy(Strict):
    """When a reminder still goes, and through which channel; every channel has its place in both orders."""

    # The waves are seven days apart: caught up for longer, both could be due on one day.
    catch_up_days: Annotated[int, Field(ge=0, le=6)]
    min_gap_days: Annotated[int, Field(ge=1, le=7)]
    channels_7d: tuple[Channel, ...]
    channels_14d: tuple[Channel, ...]

    @model_validator(mode="after")
    def _orders_are_complete(self) -> Self:
        for name in ("channels_7d", "channels_14d"):
            if sorted(getattr(self, name)) != sorted(get_args(Channel)):
                raise ValueError(f"{name}: name each channel once: {', '.join(get_args(Channel))}")
        return self


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


class LineFields(Strict):
    """The allow-list of what leaves the house, per channel; the names are the original system's."""

    email: tuple[LineField, ...]
    whatsapp: tuple[LineField, ...]
    link: tuple[LineField, ...]

    @model_validator(mode="after")
    def _answers_can_come_back(self) -> Self:
        for channel, needed in (("email", "email"), ("whatsapp", "phone"), ("link", "send_id")):
            missing = {"send_id", needed} - set(getattr(self, channel))
            if missing:
                raise ValueError(f"{channel}: {', '.join(sorted(missing))} must be among the fields")
        return self


class LegalBasis(Strict):
    """On what basis of the LGPD each channel is used, in the group's own words."""

    email: Annotated[str, Field(min_length=1)]
    whatsapp: Annotated[str, Field(min_length=1)]
    link: Annotated[str, Field(min_length=1)]


class Policy(Strict):
    """All of it; `version` is a digest of the file, kept with every decision."""

    version: str
    retention_days: Annotated[int, Field(ge=18, le=365)]
    source: SourcePolicy
    sending: SendingPolicy
    eligibility: EligibilityPolicy
    placeholders: PlaceholderPolicy
    quarantine: QuarantinePolicy
    gates: GatePolicy
    reminders: ReminderPolicy
    feedback: FeedbackPolicy
    nps: NpsPolicy
    line_fields: LineFields
    legal_basis: LegalBasis
