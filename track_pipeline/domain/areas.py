"""The six care areas: their keys in asset names, the labels the survey knows, and who goes first.

Nothing else belongs here; which encounter belongs to which area is decided by the rule files.
"""

from enum import StrEnum
from typing import Final


class Area(StrEnum):
    """A care area; the value is its key in asset names, folders and `track status`."""

    AMBULATORIO = "ambulatorio"
    EXAMES = "exames"
    INTERNACAO = "internacao"
    MATERNIDADE = "maternidade"
    PRONTO_SOCORRO = "pronto_socorro"
    ONCOLOGIA = "oncologia"

    @property
    def label(self) -> str:
        """The area as the original system delivers it to Track.co (`area_pesquisa`)."""
        return "PRONTO SOCORRO GERAL" if self is Area.PRONTO_SOCORRO else self.name


AREAS: Final[tuple[Area, ...]] = tuple(Area)

# The place in the status of rows that no rule assigned to an area.
UNCLASSIFIED: Final = "unclassified"

# Whom one person hears from when several areas saw them on one day (design, section 6).
PRIORITY: Final[tuple[Area, ...]] = (
    Area.INTERNACAO,
    Area.MATERNIDADE,
    Area.ONCOLOGIA,
    Area.PRONTO_SOCORRO,
    Area.EXAMES,
    Area.AMBULATORIO,
)
