"""A drill: a hospital-day and faults from a seed, runs as real processes, the work of an operator, and a judgement.

The seed determines the faults, so a drill replays exactly, except for faults that depend on timing (two runs at once, a
kill by the clock). `invariants` contains the checks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Final

from track_pipeline_tests.support.drills.faults import Fault, Round, faults_of, faults_of_reminders
from track_pipeline_tests.support.drills.invariants import (
    Evidence,
    violations,
    violations_of_calm,
    violations_of_reconciled,
    violations_of_reminded,
)
from track_pipeline_tests.support.drills.remembering_track import RememberingTrack
from track_pipeline_tests.support.drills.scene import AREAS, Scene, build_scene
from track_pipeline_tests.support.drills.worker import Order, Report, start

# One of this many seeds uses PostgreSQL for its ledger; one of these many continues to the first or second reminder.
# Some seeds do both.
POSTGRESQL_EVERY: Final = 10
REMINDERS_EVERY: Final = {"reminder_7d": 3, "reminder_14d": 9}

# A check that returns the violations in the evidence.
Law = Callable[[Evidence], list[str]]

_LONGEST_RUN: Final = 60.0


@dataclass
class Drill:
    """A running drill: its scene, and a story of its rounds that explains a failure."""

    scene: Scene
    rounds: int = 0
    story: list[str] = field(default_factory=list)

    def play(self, round_: Round, what: str, *laws: Law) -> list[Report]:
        """Run the pipeline once, in `round_.workers` processes; judge, and return the reports of the processes.

        `laws`: checks in addition to `violations`.
        """
        scene, track = self.scene, self.scene.track
        for act in round_.before:
            act()
        track.script.extend(round_.script)
        workers = [self._start(round_, place) for place in range(round_.workers)]
        ends = [_end_of(*worker, None if place else round_.kill_after) for place, worker in enumerate(workers)]
        track.finish()
        for act in round_.after:
            act()
        reports = [report for report in ends if report is not None]
        scene.faults += [fault for report in reports for fault in report.faults]
        told = "; ".join(error for report in reports for error in report.errors) or "nothing"
        ended = f"{len(reports)} of {len(ends)} runs reached their end"
        self.story.append(f"{self.rounds}. {what}: {ended}, told {told}; {len(track.accepted)} lines accepted by now")
        self.rounds += 1
        self.judge(violations, *laws)
        return reports

    def play_calm(self, hours: float) -> list[Report]:
        """Run the pipeline without faults, after the operator has removed what stopped it."""
        self.scene.resume()
        self.scene.calm.add(self._run_id(0))
        return self.play(Round(self.scene, hours=hours), "a calm run", violations_of_calm)

    def judge(self, *laws: Law) -> None:
        """Raise AssertionError, with the story, when the evidence violates a law."""
        seen = self.scene.evidence()
        broken = [violation for law in laws for violation in law(seen)]
        if broken:
            raise AssertionError("\n".join([*broken[:20], "The story:", *self.story]))

    def _run_id(self, worker: int) -> str:
        return f"round-{self.rounds}-{worker}"

    def _start(self, round_: Round, worker: int) -> tuple[BaseProcess, Pipe]:
        scene, track = self.scene, self.scene.track
        order = Order(
            home=scene.home,
            ledger_url=scene.ledger_url,
            api_url=f"{round_.scheme}://127.0.0.1:{round_.port or track.port}",
            token=round_.token,
            now=scene.now + timedelta(hours=round_.hours),
            run_id=self._run_id(worker),
            hospital=scene.hospital,
            days=scene.days,
            areas=AREAS,
            channels=scene.channels,
            wave=track.wave,
            plans=round_.plans,
            batch_size=scene.batch_size,
            read_seconds=round_.read_seconds,
            requests=round_.requests,
            budget_seconds=round_.budget_seconds,
            # Only the first process has the trouble.
            trouble=None if worker else round_.trouble,
        )
        return start(order)


def _end_of(process: BaseProcess, pipe: Pipe, kill_after: float | None) -> Report | None:
    """Return the report of a run; None when the run died before its report."""
    try:
        assert pipe.recv() == "ready"
        if kill_after is not None:
            process.join(kill_after)
            process.kill()
        assert pipe.poll(_LONGEST_RUN), "a run hangs"
        report = pipe.recv()
    except EOFError:
        report = None
    finally:
        process.join(0 if report is None else _LONGEST_RUN)
        process.kill()
        process.join()
        pipe.close()
    assert report is None or isinstance(report, Report)
    return report


def play_drill(seed: int, home: Path, ledger_url: str) -> None:
    """Play the drill of a seed. Raises AssertionError with the violations and the story of the rounds."""
    chance = Random(seed)
    with RememberingTrack() as track:
        drill = Drill(build_scene(home, ledger_url, chance, track))
        faults = faults_of(drill.scene)
        place = -(seed // POSTGRESQL_EVERY) if is_on_postgresql(seed) else seed
        _go_wrong(drill, faults[place % len(faults)], faults)
        _clear_up(drill)
        for wave, every in REMINDERS_EVERY.items():
            if seed % every == 0:
                _remind(drill, wave, seed // every)


def is_on_postgresql(seed: int) -> bool:
    """Whether the ledger of the drill of a seed is on PostgreSQL."""
    return seed % POSTGRESQL_EVERY == POSTGRESQL_EVERY - 1


def _go_wrong(drill: Drill, first: Fault, faults: tuple[Fault, ...]) -> None:
    """Play one or two rounds with one or two faults each, `first` in the first round."""
    chance = drill.scene.chance
    for number in range(chance.randint(1, 2)):
        wrong = [chance.choice(faults) if number else first, *chance.sample(faults, chance.choice((0, 0, 1)))]
        round_ = Round(drill.scene, hours=number / 2)
        for fault in wrong:
            fault(round_)
        drill.play(round_, " and ".join(fault.__name__ for fault in wrong))


def _clear_up(drill: Drill) -> None:
    """Play a calm run, resolve unknown outcomes at Track.co, and play another calm run if there were any."""
    drill.play_calm(hours=2)
    if drill.scene.reconcile():
        drill.play_calm(hours=2.5)
    drill.judge(violations_of_reconciled)


def _remind(drill: Drill, wave: str, place: int) -> None:
    """Play the reminders a week later: rounds with faults, beginning with fault number `place`, then a calm run."""
    scene = drill.scene
    scene.now += timedelta(days=7)
    scene.track.wave = wave
    scene.somebody_answers()
    scene.somebody_dies()
    faults = faults_of_reminders(scene)
    _go_wrong(drill, faults[place % len(faults)], faults)
    drill.play_calm(hours=2)
    drill.judge(lambda seen: violations_of_reminded(seen, wave))
