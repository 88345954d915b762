"""Imports of opt-outs and consents from CSV files. A file is imported whole, or not at all with an error per line.

Contacts become person keys (`people`) at once; they are neither stored nor repeated in messages.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.identity import Hasher
from track_pipeline.domain.policy import PlaceholderPolicy
from track_pipeline.errors import TrackPipelineError
from track_pipeline.services.operator.people import person_keys

_CONTACTS: Final = ("cpf", "phone", "email")
_CHANNELS: Final = tuple(channel.value for channel in OptOutChannel)

Line = Mapping[str, str]
T = TypeVar("T")


class BadFile(TrackPipelineError):  # noqa: N818 - describes the file
    """A file that was not imported; the message has one line per problem, without the values."""


@dataclass(frozen=True)
class Importer:
    """Imports of files into the ledger."""

    ledger: Ledger
    hasher: Hasher
    placeholders: PlaceholderPolicy

    def opt_outs(self, path: Path) -> int:
        """Import opt-outs; return the number of person keys that are newly opted out.

        Columns: cpf, phone, email (at least one filled), channel (all, email, whatsapp), source. Raises BadFile.
        """
        rows = self._read(path, ("channel", "source"), _opt_out_fields)
        return self.ledger.people.opt_out_many(
            pl.DataFrame(rows, schema=("person_key", "channel", "source"), orient="row")
        )

    def consents(self, path: Path) -> int:
        """Import consents to WhatsApp; return the number of person keys that had none before.

        Columns: cpf, phone, email (at least one filled), source, date (YYYY-MM-DD), text_version. Raises BadFile.
        """
        rows = self._read(path, ("source", "date", "text_version"), _consent_fields)
        schema = ("person_key", "source", "given_at", "text_version")
        frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(channel=pl.lit(Channel.WHATSAPP.value))
        return self.ledger.people.record_consents(frame)

    def _read(
        self, path: Path, required: tuple[str, ...], fields: Callable[[Line], tuple[object, ...]]
    ) -> list[tuple[object, ...]]:
        def keyed(line: Line) -> list[tuple[object, ...]]:
            rest = fields(line)
            given = {name: line[name].strip() or None for name in _CONTACTS if line.get(name)}
            return [(key, *rest) for key in person_keys(self.hasher, self.placeholders, **given)]

        return list(chain.from_iterable(read_whole(path, keyed, required, any_of=_CONTACTS)))


def read_whole(
    path: Path, parse: Callable[[Line], T], required: tuple[str, ...], any_of: tuple[str, ...] = ()
) -> list[T]:
    """Parse every line of a CSV in UTF-8 that has the required columns and one column of `any_of`.

    Raises BadFile when the file cannot be read, and when `parse` raises ValueError or TrackPipelineError for any line;
    the message has a line per problem.
    """
    parsed: list[T] = []
    problems: list[str] = []
    for number, line in _lines(path, required, any_of):
        try:
            parsed.append(parse(line))
        except (TrackPipelineError, ValueError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise BadFile(f"{path.name}: nothing was imported. Correct these lines:\n  " + "\n  ".join(problems))
    return parsed


def _lines(path: Path, required: tuple[str, ...], any_of: tuple[str, ...]) -> Iterator[tuple[int, Line]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            named = reader.fieldnames or ()
            if not set(required) <= set(named) or (any_of and not set(any_of) & set(named)):
                wanted = ", ".join([*required, *([f"and at least one of {', '.join(any_of)}"] if any_of else [])])
                raise BadFile(f"{path.name}: the first line must name the columns {wanted}")
            for line in reader:
                yield reader.line_num, {name: value for name, value in line.items() if isinstance(value, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{path.name}: cannot be read as a CSV in UTF-8 ({type(error).__name__})") from None


def _opt_out_fields(line: Line) -> tuple[object, ...]:
    channel = line["channel"].strip().lower()
    if channel not in _CHANNELS:
        raise ValueError(f"channel: write one of {', '.join(_CHANNELS)}")
    return channel, filled(line, "source")


def _consent_fields(line: Line) -> tuple[object, ...]:
    try:
        given_at = date.fromisoformat(line["date"].strip())
    except ValueError:
        raise ValueError("date: write it as 2026-11-23") from None
    return filled(line, "source"), given_at, filled(line, "text_version")


def filled(line: Line, name: str) -> str:
    """Return a column of a line without surrounding blanks. Raises ValueError when it is empty or not printable."""
    value = line[name].strip()
    if not value:
        raise ValueError(f"{name}: is empty")
    if not value.isprintable():
        raise ValueError(f"{name}: holds characters that cannot be printed; remove them")
    return value
