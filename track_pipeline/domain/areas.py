"""The six care areas: keys in asset names, labels in the survey, and the priority among areas.

The rule files decide which encounter belongs to which area.
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
        """The value of `area_pesquisa` that Track.co receives, as in the original system."""
        return "PRONTO SOCORRO GERAL" if self is Area.PRONTO_SOCORRO else self.name


AREAS: Final[tuple[Area, ...]] = tuple(Area)

# The area under which the status counts rows that no rule assigned to an area.
UNCLASSIFIED: Final = "unclassified"

# A person is invited once a day: when several areas treated the person on one day, the first of these invites.
PRIORITY: Final[tuple[Area, ...]] = (
    Area.INTERNACAO,
    Area.MATERNIDADE,
    Area.ONCOLOGIA,
    Area.PRONTO_SOCORRO,
    Area.EXAMES,
    Area.AMBULATORIO,
)
