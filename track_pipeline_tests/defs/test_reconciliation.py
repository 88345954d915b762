"""`reconciliation` in Dagster: the sends that it resolves, and the warnings of its checks."""

from datetime import timedelta

import dagster as dg

from track_pipeline.ports import DeliveryStatus, KnownDistribution, Unknown
from track_pipeline_tests.defs.conftest import DAY, Installation


def verdicts(installation: Installation) -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
    result = installation.run("reconcile", None)
    assert result.success
    return {check.check_name: (check.passed, check.severity) for check in result.get_asset_check_evaluations()}


def test_unknown_sends_that_track_has_become_sent_and_the_check_passes_again(installation: Installation) -> None:
    installation.sender.script = [Unknown("read_timeout", "no answer")]
    installation.run("daily", DAY)
    installation.now += timedelta(hours=1)
    unknown = installation.runtime.ledger.sends.unresolved()
    assert not unknown.is_empty()

    assert verdicts(installation)["no_unknown_send"] == (False, dg.AssetCheckSeverity.WARN)

    found = [DeliveryStatus(send_id, "sent", installation.now, "sent") for send_id in unknown.get_column("send_id")]
    installation.answers.listed = [KnownDistribution("d-9")]
    installation.answers.delivered = {"d-9": found}
    assert verdicts(installation)["no_unknown_send"][0]
    assert installation.runtime.ledger.sends.unresolved().is_empty()
