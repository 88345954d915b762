"""CSV files that people bring: opt-outs and consents. A file is taken whole, or not at all with an error per line.

Contacts are turned into person keys at once and never kept or repeated. How a person is known is `people`'s.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.identity import Hasher
from track_pipeline.errors import TrackPipelineError
from track_pipeline.policy import PlaceholderPolicy
from track_pipeline.services.people import NoSuchContact, person_keys

_CONTACTS: Final = ("cpf", "phone", "email")
_CHANNELS: Final = ("all", "email", "whatsapp")

Line = Mapping[str, str]


class BadFile(TrackPipelineError):  # noqa: N818 - read as what was brought
    """A file that was not taken; the message has one line per problem, without the values."""


@dataclass(frozen=True)
class Importer:
    """Takes files into the ledger."""

    ledger: Ledger
    hasher: Hasher
    placeholders: PlaceholderPolicy

    def opt_outs(self, path: Path) -> int:
        """Columns: cpf, phone, email (at least one filled), channel (all, email, whatsapp), source.

        Returns how many person keys are newly opted out. Raises BadFile.
        """
        rows = self._read(path, ("channel", "source"), _opt_out_fields)
        return self.ledger.opt_out_many(pl.DataFrame(rows, schema=("person_key", "channel", "source"), orient="row"))

    def consents(self, path: Path) -> int:
        """Columns: cpf, phone, email (at least one filled), source, date (YYYY-MM-DD), text_version.

        Returns how many person keys had no consent to WhatsApp before. Raises BadFile.
        """
        rows = self._read(path, ("source", "date", "text_version"), _consent_fields)
        schema = ("person_key", "source", "given_at", "text_version")
        frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(channel=pl.lit("whatsapp"))
        return self.ledger.record_consents(frame)

    def _read(
        self, path: Path, required: tuple[str, ...], fields: Callable[[Line], tuple[object, ...]]
    ) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        problems: list[str] = []
        for number, line in self._lines(path, required):
            try:
                rest = fields(line)
                given = {name: line[name].strip() or None for name in _CONTACTS if line.get(name)}
                keys = person_keys(self.hasher, self.placeholders, **given)
                rows += [(key, *rest) for key in keys]
            except (NoSuchContact, ValueError) as error:
                problems.append(f"line {number}: {error}")
        if problems:
            raise BadFile(f"{path.name}: nothing was taken, mend these lines:\n  " + "\n  ".join(problems))
        return rows

    def _lines(self, path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, Line]]:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restval="")
                missing = [name for name in required if name not in (reader.fieldnames or ())]
                if missing or not set(_CONTACTS) & set(reader.fieldnames or ()):
                    wanted = ", ".join([*required, "and at least one of cpf, phone, email"])
                    raise BadFile(f"{path.name}: the first line must name the columns {wanted}")
                for line in reader:
                    yield reader.line_num, {name: value for name, value in line.items() if isinstance(value, str)}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadFile(f"{path.name}: cannot be read as a CSV in UTF-8 ({type(error).__name__})") from None


def _opt_out_fields(line: Line) -> tuple[object, ...]:
    channel = line["channel"].strip().lower()
    if channel not in _CHANNELS:
        raise ValueError(f"channel: write one of {', '.join(_CHANNELS)}")
    return channel, _filled(line, "source")


def _consent_fields(line: Line) -> tuple[object, ...]:
    try:
        given_at = date.fromisoformat(line["date"].strip())
    except ValueError:
        raise ValueError("date: write it as 2026-11-23") from None
    return _filled(line, "source"), given_at, _filled(line, "text_version")


def _filled(line: Line, name: str) -> str:
    value = line[name].strip()
    if not value:
        raise ValueError(f"{name}: is empty")
    return value
