"""Which survey and which templates a unit uses (`TRACK_SURVEYS_FILE`), as validated values.

A unit or area that is not in the file has no survey: its encounters are excluded by name, never sent with
somebody else's. The demo makes a catalog of its own (`demo.surveys`).
"""

from collections.abc import Mapping
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from track_pipeline.domain.areas import Area
from track_pipeline.domain.hospital import Code
from track_pipeline.domain.model import Strict
from track_pipeline.errors import ConfigError

# Track.co's template hashes are six case-sensitive letters or digits.
TemplateHash = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{6}$")]


class EmailTemplates(Strict):
    """E-mail templates of a unit; what is left out is left to Track.co's default."""

    invite: TemplateHash | None = None
    expired: TemplateHash | None = None
    thanks: TemplateHash | None = None


class WhatsAppTemplate(Strict):
    """A template registered with the WhatsApp provider; `variables` are in the order of its placeholders."""

    name: Annotated[str, StringConstraints(min_length=1)]
    language: str = "pt_BR"
    variables: tuple[str, ...] = ("customer.firstname", "interaction.area_pesquisa")
    id_provider: Annotated[str, StringConstraints(min_length=1)]


class UnitSurveys(Strict):
    """The surveys and templates of one unit."""

    code: Code
    surveys: Mapping[Area, UUID]
    email_templates: EmailTemplates = EmailTemplates()
    whatsapp_template: WhatsAppTemplate | None = None


class SurveyCatalog(Strict):
    """All units' surveys; `whatsapp_integration_uuid` is the organisation's, needed with WhatsApp templates."""

    whatsapp_integration_uuid: UUID | None = None
    units: Annotated[tuple[UnitSurveys, ...], Field(alias="unit")]

    @model_validator(mode="after")
    def _units_are_given_once(self) -> Self:
        codes = [unit.code for unit in self.units]
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        if repeated:
            raise ValueError(f"unit: code {', '.join(repeated)} is given twice")
        return self

    def unit(self, code: str) -> UnitSurveys:
        """The entry of a unit. Raises ConfigError when it has none."""
        for unit in self.units:
            if unit.code == code:
                return unit
        raise ConfigError(f"surveys: unit {code} has no entry; add it to TRACK_SURVEYS_FILE")

    def survey_uuids(self) -> dict[tuple[str, Area], str]:
        """(unit code, area) to survey uuid."""
        return {(unit.code, area): str(uuid) for unit in self.units for area, uuid in unit.surveys.items()}
