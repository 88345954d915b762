"""Deletion of personal data: by retention time, or on a person's request (LGPD, article 18).

Sends are never deleted, only the person keys on them: an encounter must not be contacted twice, and counts must stay.
"""

from collections.abc import Iterable
from datetime import date

import polars as pl
from sqlalchemy import delete, or_, select, update

from track_pipeline.adapters.ledger.database import Store, start_of
from track_pipeline.adapters.ledger.frames import fetch, insert_new, one_of
from track_pipeline.adapters.ledger.queries import PERSON
from track_pipeline.adapters.ledger.tables import answers, comments, consents, opt_outs, sends, sightings
from track_pipeline.domain.channels import OptOutChannel


class Erasure(Store):
    """The part of the ledger that deletes personal data."""

    def purge(self, before: date) -> dict[str, int]:
        """Delete sightings of cohort dates and comments of answers before a day; return the row counts by table."""
        earlier = select(answers.c.send_id).where(answers.c.answered_at < start_of(before))
        conditions = {sightings: sightings.c.cohort_date < before, comments: comments.c.send_id.in_(earlier)}
        with self._database.write() as connection:
            return {
                table.name: connection.execute(delete(table).where(condition)).rowcount
                for table, condition in conditions.items()
            }

    def sends_of_person(self, keys: Iterable[str]) -> pl.DataFrame:
        """Return the sends with any of the person keys: database, encounter_id, cpf_key, phone_key, email_key."""
        given = set(keys)
        columns = (sends.c.database, sends.c.encounter_id, *PERSON)
        with self._database.read() as connection:
            return fetch(connection, select(*columns).where(or_(*(one_of(connection, key, given) for key in PERSON))))

    def erase_person(self, keys: Iterable[str]) -> dict[str, int]:
        """Erase a person from the ledger and return the number of changed rows by table.

        The person's keys are the given ones and all other keys on sends with a given one. Deletes the comments on
        these sends, and the sightings and consents of these keys. The sends stay, without keys. All these keys are
        opted out of every channel permanently.
        """
        given = set(keys)
        with self._database.write() as connection:
            theirs = or_(*(one_of(connection, key, given) for key in PERSON))
            found = fetch(connection, select(sends.c.send_id, *PERSON).where(theirs))
            person = given.union(*(found.get_column(key.name).drop_nulls() for key in PERSON))
            send_ids = found.get_column("send_id")
            statements = {
                comments: delete(comments).where(one_of(connection, comments.c.send_id, send_ids)),
                sightings: delete(sightings).where(one_of(connection, sightings.c.person_key, person)),
                consents: delete(consents).where(one_of(connection, consents.c.person_key, person)),
                sends: update(sends)
                .where(one_of(connection, sends.c.send_id, send_ids))
                .values(dict.fromkeys((key.name for key in PERSON), None)),
            }
            refusals = pl.DataFrame({"person_key": sorted(person)}, schema={"person_key": pl.String}).with_columns(
                channel=pl.lit(OptOutChannel.ALL.value), source=pl.lit("erasure"), added_at=pl.lit(self._clock())
            )
            touched = {table.name: connection.execute(statement).rowcount for table, statement in statements.items()}
            return touched | {opt_outs.name: insert_new(connection, opt_outs, refusals)}
