"""Many writers at once: threads in this process, and this file run as separate processes."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import polars as pl

from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.domain.claims import LINES, Claim
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE

DAY = date(2025, 3, 9)
ENCOUNTERS = 40
ROUNDS = 5
THREADS = 4


def now() -> datetime:
    return datetime.now(UTC)


def batch(first: int, person: str | None = None) -> pl.DataFrame:
    """Encounters `first` and on, each of a person of its own unless one is given."""
    numbers = pl.int_range(first, first + (1 if person else ENCOUNTERS), eager=True)
    return pl.DataFrame({"encounter_id": numbers}).select(
        hospital=pl.lit("HMS"),
        database=pl.lit("HMS"),
        encounter_id="encounter_id",
        unit=pl.lit("HMS"),
        area=pl.lit("exames"),
        setor=pl.lit(""),
        survey_uuid=pl.lit("survey"),
        channel=pl.lit("email"),
        cpf_key=pl.lit(person) if person else pl.format("cpf-{}", "encounter_id"),
        phone_key=pl.lit(None),
        email_key=pl.lit(None),
        extra=pl.lit(value=False),
    ).cast(LINES)  # fmt: skip


def claim_all(url: str) -> list[int]:
    """Claims and settles the same batches in several threads with a ledger each; returns what was claimed."""
    barrier = Barrier(THREADS)
    claim = Claim(INVITE, DAY, "run", "policy", "rules", now() - timedelta(days=7), None, most_reminders=2)

    def work(_: int) -> list[int]:
        barrier.wait()
        claimed = []
        with closing(open_ledger(url, clock=now)) as ledger:
            for round_number in range(ROUNDS):
                answer = ledger.sends.claim(batch(round_number * ENCOUNTERS), claim).filter(verdict="claimed")
                claimed += answer.get_column("encounter_id").to_list()
                ledger.sends.settle(answer.get_column("send_id"), SendState.SENT)
                ledger.counts.outcomes()
        return claimed

    with ThreadPoolExecutor(THREADS) as pool:
        return [number for claimed in pool.map(work, range(THREADS)) for number in claimed]


def test_threads_and_processes_never_claim_an_encounter_twice(ledger_url: str) -> None:
    command = [sys.executable, __file__, ledger_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        claimed = claim_all(ledger_url)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    claimed += json.loads(output)
    assert sorted(claimed) == list(range(ROUNDS * ENCOUNTERS))
    with closing(open_ledger(ledger_url, clock=now)) as ledger:
        assert ledger.sends.of_wave("HMS", DAY, INVITE).get_column("state").to_list() == ["sent"] * len(claimed)


def test_one_of_two_encounters_of_a_person_is_claimed(ledger_url: str) -> None:
    claim = Claim(INVITE, DAY, "run", "policy", "rules", now() - timedelta(days=7), None, most_reminders=2)
    with (
        closing(open_ledger(ledger_url, clock=now)) as first,
        closing(open_ledger(ledger_url, clock=now)) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        for number in range(20):
            person, barrier = f"person-{number}", Barrier(2)

            def work(ledger_and_encounter: tuple[Ledger, int], person: str = person, barrier: Barrier = barrier) -> str:
                ledger, encounter = ledger_and_encounter
                barrier.wait()
                return str(ledger.sends.claim(batch(encounter, person), claim).item(0, "verdict"))

            verdicts = pool.map(work, [(first, 2 * number), (second, 2 * number + 1)])
            assert sorted(verdicts) == ["claimed", "quarantine"]


def test_replacing_one_partition_at_once_leaves_one_of_the_replacements(ledger_url: str) -> None:
    rows = batch(0).select(
        "database", "encounter_id", "unit", "setor", "survey_uuid", "channel",
        *(pl.lit("").alias(name) for name in ("reason", "rule", "rules_version", "policy_version")),
        result=pl.lit("planned"),
    )  # fmt: skip
    with closing(open_ledger(ledger_url, clock=now)) as ledger:

        def work(_: int) -> None:
            ledger.encounters.record_plan("HMS", DAY, "exames", rows)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(8))) == [None] * 8
        assert ledger.counts.outcomes().get_column("count").to_list() == [ENCOUNTERS]


def test_a_run_is_dispatching_until_it_ends_whoever_asks(ledger_url: str) -> None:
    with closing(open_ledger(ledger_url, clock=now)) as first, closing(open_ledger(ledger_url, clock=now)) as second:
        with first.sends.dispatching("a run"), first.sends.dispatching("a run"):
            assert second.sends.is_dispatching("a run")
            assert first.sends.is_dispatching("a run")
            assert not second.sends.is_dispatching("another run")
        assert not second.sends.is_dispatching("a run")
        with suppress(RuntimeError), first.sends.dispatching("a run"):
            raise RuntimeError
        assert not first.sends.is_dispatching("a run")


def test_a_run_that_was_killed_is_not_dispatching_any_more(ledger_url: str) -> None:
    with closing(open_ledger(ledger_url, clock=now)) as ledger:
        command = [sys.executable, __file__, ledger_url, "until killed"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "dispatching\n"
            assert ledger.sends.is_dispatching("until killed")
            process.kill()
        deadline = time.monotonic() + 10
        while ledger.sends.is_dispatching("until killed"):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def dispatch_until_killed(url: str, run_id: str) -> None:
    with closing(open_ledger(url, clock=now)) as ledger, ledger.sends.dispatching(run_id):
        print("dispatching", flush=True)  # noqa: T201
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[2:]:
        dispatch_until_killed(*sys.argv[1:])
    else:
        print(json.dumps(claim_all(sys.argv[1])))  # noqa: T201
