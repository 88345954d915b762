"""Comparison of ledger and Track.co: a send found there is sent; a missing send is reported and never sent again."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from track_pipeline.domain.sends import Verdict
from track_pipeline.ports import DeliveryStatus, KnownDistribution, NotSent, Refused, RefusedInPart, Unknown
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline_tests.support.builders import DAY
from track_pipeline_tests.support.installation import Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def lose_sight(office: Office) -> None:
    """Three lines of which nobody saw the outcome, half an hour ago."""
    office.plan({}, {}, {})
    office.track.script = [Unknown("read_timeout", "no answer")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    office.now += timedelta(minutes=30)


def track_has(office: Office, *send_ids: str, distribution: str = "d-9") -> None:
    office.reader.listed = [*(office.reader.listed or ()), KnownDistribution(distribution)]
    office.reader.delivered[distribution] = [DeliveryStatus(each, "sent", office.now, "sent") for each in send_ids]


def test_an_unknown_send_that_track_has_was_sent(office: Office) -> None:
    lose_sight(office)
    track_has(office, office.send_id(1), office.send_id(3))

    report = office.reconcile()

    assert (report.compared, report.confirmed, report.absent) == (3, {"HMS": 2}, {"HMS": 1})
    assert office.funnel() == {"sent": 2, "unknown": 1, "unknown:read_timeout": 1}
    sends = office.ledger.encounters.history("HMS", 1).sends
    assert [(send["state"], send["distribution_id"]) for send in sends] == [("sent", "d-9")]


def test_a_send_whose_distribution_nobody_saw_is_found_so_that_its_refusals_are_heard(office: Office) -> None:
    lose_sight(office)
    office.ledger.sends.resolve([office.send_id(1)], Verdict.SENT, "seen on the screen", by="operator")
    track_has(office, office.send_id(1))
    office.reconcile()
    office.reader.delivered["d-9"] = [DeliveryStatus(office.send_id(1), "unsubscribed", office.now, "sair")]

    office.refresh()

    assert not office.ledger.people.opt_outs().is_empty()


def test_a_distribution_that_track_cannot_tell_of_leaves_the_others_compared(office: Office) -> None:
    lose_sight(office)
    track_has(office, office.send_id(1), distribution="d-1")
    track_has(office, office.send_id(2), distribution="d-2")
    office.reader.failures = {"d-1": NotSent("http_500", "Track.co failed.")}

    report = office.reconcile()

    assert (report.confirmed, report.unreadable) == ({"HMS": 1}, 1)


def test_what_track_lacks_is_not_sent_again(office: Office) -> None:
    lose_sight(office)

    assert office.reconcile().absent == {"HMS": 3}

    office.dispatch()
    assert office.track.requests[1:] == []
    assert office.funnel() == {"unknown": 3, "unknown:read_timeout": 3}


def test_a_claim_that_may_be_on_its_way_is_left_alone(office: Office) -> None:
    lose_sight(office)
    track_has(office, office.send_id(1))
    office.now -= timedelta(minutes=20)

    assert office.reconcile().compared == 0


def test_track_and_ledger_that_agree_are_said_to(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()
    office.now += timedelta(hours=1)
    [distribution] = office.ledger.sends.distributions(office.now - timedelta(days=1))
    track_has(office, office.send_id(1), office.send_id(2), distribution=distribution)

    report = office.reconcile()

    assert report.agrees
    assert (report.compared, report.strangers) == (2, 0)


def test_a_planted_loss_and_a_planted_double_are_found(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()
    office.now += timedelta(hours=1)
    [distribution] = office.ledger.sends.distributions(office.now - timedelta(days=1))
    track_has(office, office.send_id(1), "nobody-knows", distribution=distribution)

    report = office.reconcile()

    assert not report.agrees
    assert (report.missing, report.strangers) == ({"HMS": 1}, 1)


def test_a_line_that_was_rejected_and_is_at_track_all_the_same_is_told(office: Office) -> None:
    office.plan({})
    office.track.script = [RefusedInPart("http_422", "no")]
    office.dispatch()
    office.now += timedelta(hours=1)
    track_has(office, office.send_id(1))

    assert office.reconcile().denied == {"HMS": 1}


def test_without_a_list_of_distributions_only_what_is_in_known_ones_is_compared(office: Office) -> None:
    lose_sight(office)
    office.reader.listed = None

    report = office.reconcile()

    assert (report.lists_distributions, report.confirmed, report.absent, report.missing) == (False, {}, {}, {})
    assert office.funnel()["unknown"] == 3


def test_a_distribution_of_which_track_does_not_tell_says_nothing_about_its_sends(office: Office) -> None:
    office.plan({})
    office.dispatch()
    office.now += timedelta(hours=1)
    [distribution] = office.ledger.sends.distributions(office.now - timedelta(days=1))
    office.reader.failures = {distribution: Refused("http_404", "not found")}

    report = office.reconcile()

    assert (report.compared, report.missing, report.unreadable) == (0, {}, 1)
    assert not report.agrees


def test_a_track_that_cannot_be_read_settles_nothing(office: Office) -> None:
    lose_sight(office)
    track_has(office, office.send_id(1))
    office.reader.failures = {"d-9": NotSent("unreachable", "no connection")}

    with pytest.raises(NotSent):
        office.reconcile()
    assert office.funnel()["unknown"] == 3
    assert office.ledger.sends.unresolved("HMS", DAY).height == 3
