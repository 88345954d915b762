"""The verdict of an operator resolves exactly the named send, and no send that may still be in progress."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.domain.claims import LINES
from track_pipeline.domain.sends import Verdict
from track_pipeline.ports import Unknown
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.services.operator.resolution import NotResolved, resolve
from track_pipeline_tests.support.installation import Office
from track_pipeline_tests.support.ledger_lines import INVITATION, line


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def lose_answers(office: Office, *, sent: bool = False) -> None:
    """Encounter 1 is invited; unless it is `sent`, nobody sees what became of it."""
    office.plan({})
    if sent:
        office.dispatch()
        return
    office.track.script = [Unknown("timeout", "lost")]
    with pytest.raises(DispatchStopped):
        office.dispatch()


def claim(office: Office, database: str = "HMS") -> None:
    """A run claims encounter 1, and is killed."""
    lines = pl.DataFrame([line(1, database=database, cpf_key=database, email_key=None)], schema=LINES)
    office.ledger.sends.claim(lines, INVITATION)


@pytest.mark.parametrize(("verdict", "state"), [(Verdict.SENT, ["sent"]), (Verdict.NOT_SENT, [])])
def test_the_one_send_is_settled(office: Office, verdict: Verdict, state: list[str]) -> None:
    lose_answers(office)
    assert resolve(office.ledger, "HMS", 1, verdict, "looked it up") == 1
    assert [send["state"] for send in office.ledger.encounters.history("HMS", 1).sends] == state


def test_of_several_sends_one_has_to_be_named_and_the_others_stay(office: Office) -> None:
    claim(office)
    claim(office, "HSL")
    ours, theirs = office.ledger.sends.unresolved("HMS").sort("database").get_column("send_id")

    with pytest.raises(NotResolved, match=f"2 sends .*{ours}.*database HMS.*{theirs}.*database HSL"):
        resolve(office.ledger, "HMS", 1, Verdict.NOT_SENT, "looked it up")
    assert office.ledger.sends.unresolved("HMS").height == 2

    resolve(office.ledger, "HMS", 1, Verdict.NOT_SENT, "looked it up", theirs)
    assert office.ledger.sends.unresolved("HMS").get_column("send_id").to_list() == [ours]


def test_what_a_run_is_sending_at_this_moment_is_not_resolved(office: Office) -> None:
    office.plan({})
    refused: list[str] = []

    def while_it_is_sent() -> None:
        with pytest.raises(NotResolved, match="run is still sending it"):
            resolve(office.ledger, "HMS", 1, Verdict.NOT_SENT, "not listed")
        refused.append("once")

    office.track.on_request = while_it_is_sent
    office.dispatch()

    assert refused == ["once"]
    assert office.funnel() == {"sent": 1}


def test_what_is_settled_or_unheard_of_is_not_resolved(office: Office) -> None:
    lose_answers(office, sent=True)
    for encounter, send_id in ((1, None), (2, None), (1, "no such send")):
        with pytest.raises(NotResolved, match="no such send"):
            resolve(office.ledger, "HMS", encounter, Verdict.NOT_SENT, "looked it up", send_id)
