"""A ledger on each supported database: SQLite, and the real PostgreSQL of the parent conftest."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from track_pipeline.adapters.ledger import Ledger, open_ledger


@dataclass
class FakeClock:
    """A clock that changes only when a test moves it."""

    now: datetime = datetime(2025, 3, 10, 11, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Iterator[Ledger]:
    ledger = open_ledger(ledger_url, clock=clock)
    yield ledger
    ledger.close()
