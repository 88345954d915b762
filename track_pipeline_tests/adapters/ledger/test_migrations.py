import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from track_pipeline.adapters.ledger import LedgerError, open_ledger
from track_pipeline.adapters.ledger.database import HEAD, open_database
from track_pipeline.adapters.ledger.migrate import config
from track_pipeline.adapters.ledger.tables import UtcDateTime, answers, metadata
from track_pipeline.errors import ConfigError


def now() -> datetime:
    return datetime.now(UTC)


def test_migrations_make_exactly_the_tables_of_the_code(ledger_url: str) -> None:
    with closing(open_database(ledger_url)) as database, database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_answers_of_the_first_ledger_are_carried_over(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("track_pipeline.adapters.ledger.migrate.upgrade", lambda c: command.upgrade(config(c), "0001"))
        with closing(open_database(ledger_url)) as database, database.write() as connection:
            values = {"send_id": "s1", "answered_at": datetime(2025, 3, 10, 11, tzinfo=UTC)}
            connection.execute(text("INSERT INTO answers VALUES (:send_id, :answered_at)"), values)
    with closing(open_database(ledger_url)) as database, database.read() as connection:
        answer = connection.execute(select(answers)).one()
    assert (answer.send_id, answer.score, answer.interaction_id) == ("s1", None, None)
    assert answer.received_at == answer.answered_at


def test_the_newest_migration_is_the_one_that_opening_looks_for() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_opening_again_keeps_what_is_there(ledger_url: str) -> None:
    with closing(open_ledger(ledger_url, clock=now)) as ledger:
        ledger.pauses.add("all", "holiday", "cli")
    with closing(open_ledger(ledger_url, clock=now)) as ledger:
        assert ledger.pauses.all().get_column("scope").to_list() == ["all"]


def test_many_may_open_a_new_ledger_at_once(ledger_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: open_ledger(ledger_url, clock=now), range(8)))
    for number, ledger in enumerate(ledgers):
        assert ledger.pauses.add(f"hospital:{number}", "test", "cli")
    assert ledgers[0].pauses.all().height == 8
    for ledger in ledgers:
        ledger.close()


def test_a_ledger_of_a_newer_version_is_refused(ledger_url: str) -> None:
    with closing(open_database(ledger_url)) as database, database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer version"):
        open_ledger(ledger_url, clock=now)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_sqlite_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "ledger.sqlite"
    before = os.umask(0)
    try:
        with closing(open_ledger(f"sqlite:///{path}", clock=now)) as ledger:
            ledger.pauses.add("all", "holiday", "cli")
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir() if file.suffix != ".lock"}
    finally:
        os.umask(before)
    assert modes == {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, "ledger.sqlite-shm": 0o600}


def test_sqlite_in_a_place_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"ledger\.sqlite.*right to write"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}", clock=now)


def test_an_unreachable_server_is_named_without_the_password() -> None:
    url = "postgresql://someone:s3cret@127.0.0.1:1/track?application_name=s3cret"
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1/track.*refused") as error:
        open_ledger(url, clock=now)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "postgresql+asyncpg://h/d", "track"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///<file>"):
        open_ledger(url, clock=now)


def test_repr_shows_where_and_no_secret(ledger_url: str) -> None:
    secret = ledger_url.replace("postgres:@", "postgres:s3cret@")
    with closing(open_ledger(secret, clock=now)) as ledger:
        assert repr(ledger).startswith("<Ledger ")
        assert "s3cret" not in repr(ledger)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        UtcDateTime().process_bind_param(datetime(2025, 1, 1), None)  # type: ignore[arg-type]  # noqa: DTZ001


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://track:p@marked@127.0.0.1/track",
        "postgresql://track:p@marked:w0rd@127.0.0.1/track",
        "postgresql://track:marked@127.0.0.1:54x32/track",
        "postgresql://track:p@marked/x@127.0.0.1/track",
        "marked@@//:",
    ],
)
def test_a_password_that_is_not_encoded_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger(url, clock=now)
    assert "marked" not in str(caught.value)
    assert "w0rd" not in str(caught.value)
