"""The demo's survey catalog: one invented survey per unit and area, invented templates for all."""

from uuid import NAMESPACE_URL, uuid5

from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.surveys import SurveyCatalog

_NAMESPACE = uuid5(NAMESPACE_URL, "track_pipeline/demo")
DEMO_ORGANIZATION = str(uuid5(_NAMESPACE, "organization"))


def demo_catalog(registry: Registry) -> SurveyCatalog:
    """Return surveys for the units and areas that have one in the registry; the same on every run."""
    return SurveyCatalog.model_validate(
        {
            "whatsapp_integration_uuid": uuid5(_NAMESPACE, "whatsapp"),
            "unit": [
                {
                    "code": unit.code,
                    "surveys": {area: uuid5(_NAMESPACE, f"{unit.code}/{area}") for area in sorted(unit.surveys)},
                    "email_templates": {"invite": "Demo01", "expired": "Demo02", "thanks": "Demo03"},
                    "whatsapp_template": {"name": "pesquisa_demo", "id_provider": "HX" + "0" * 32},
                }
                for hospital in registry.hospitals
                for unit in hospital.units
            ],
        }
    )
