"""The surveys and templates of each unit (`TRACK_SURVEYS_FILE`), as validated values.

A unit or area that is not in the file has no survey: its encounters are excluded with the reason `no_survey`, and
never sent with the survey of another unit. The demo creates its own catalog (`demo.surveys`).
"""

from collections.abc import Mapping
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from track_pipeline.domain.areas import Area
from track_pipeline.domain.hospital import Code
from track_pipeline.domain.model import Strict, refuse_repeated
from track_pipeline.errors import ConfigError

# Track.co's template hashes are six case-sensitive letters or digits.
TemplateHash = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{6}$")]


class EmailTemplates(Strict):
    """E-mail templates of a unit. Track.co uses its default for a template that is left out."""

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
    """The surveys of all units. WhatsApp templates need `whatsapp_integration_uuid`, which is the organisation's."""

    whatsapp_integration_uuid: UUID | None = None
    units: Annotated[tuple[UnitSurveys, ...], Field(alias="unit")]

    @model_validator(mode="after")
    def _units_are_given_once(self) -> Self:
        refuse_repeated("unit", (unit.code for unit in self.units))
        return self

    def unit(self, code: str) -> UnitSurveys:
        """Return the entry of a unit. Raises ConfigError when it has none."""
        for unit in self.units:
            if unit.code == code:
                return unit
        raise ConfigError(f"surveys: unit {code} has no entry; add it to TRACK_SURVEYS_FILE")

    def survey_uuids(self) -> dict[tuple[str, Area], str]:
        """Return the survey uuid of each (unit code, area)."""
        return {(unit.code, area): str(uuid) for unit in self.units for area, uuid in unit.surveys.items()}
