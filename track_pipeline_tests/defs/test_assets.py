"""Dagster shows exactly the partitions that were materialised, and shows no patient data on failures."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from track_pipeline.adapters.ledger.encounters import EXTRACTED
from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline_tests.defs.conftest import DAY, Installation, down

MADE, FAILED = "MATERIALIZED", "FAILED"
KEYS = [f"{DAY}|HMS", f"{DAY}|HAC"]


def keys(*paths: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(path.split("/")) for path in paths]


def test_one_area_alone_makes_its_own_partitions_and_no_other(installation: Installation) -> None:
    wanted = keys("extract/exames", "invitation/exames", "dispatch_email/exames")
    assert installation.run("daily", DAY, asset_selection=wanted).success

    for step in ("extract", "invitation", "dispatch_email"):
        assert installation.status(step, Area.EXAMES, KEYS) == {KEYS[0]: MADE, KEYS[1]: None}
    assert installation.status("dispatch_whatsapp", Area.EXAMES, KEYS) == dict.fromkeys(KEYS)
    assert installation.status("extract", Area.INTERNACAO, KEYS) == dict.fromkeys(KEYS)


def test_a_whole_hospital_day_makes_every_area_also_the_empty_ones(installation: Installation) -> None:
    result = installation.run("daily", DAY, "HAC")
    assert result.success
    for area in AREAS:
        for step in ("extract", "invitation", "dispatch_email", "dispatch_whatsapp", "survey_link"):
            assert installation.status(step, area, KEYS) == {KEYS[0]: None, KEYS[1]: MADE}
    [empty] = result.asset_materializations_for_node("extract")[
        AREAS.index(Area.ONCOLOGIA) : AREAS.index(Area.ONCOLOGIA) + 1
    ]
    assert empty.metadata["dagster/row_count"].value == 0


def test_three_days_of_two_hospitals_are_exactly_six_partitions(installation: Installation) -> None:
    days = [DAY - timedelta(days=age) for age in range(3)]
    for day in days:
        for code in ("HMS", "HAC"):
            only = keys("extract/internacao", "invitation/internacao")
            assert installation.run("daily", day, code, asset_selection=only).success
    wanted = {f"{day}|{code}" for day in days for code in ("HMS", "HAC")}
    others = {f"{day}|HMS" for day in (DAY - timedelta(days=3), DAY + timedelta(days=1))}
    shown = installation.status("invitation", Area.INTERNACAO, sorted(wanted | others))
    assert {key for key, status in shown.items() if status == MADE} == wanted


def test_a_hospital_that_is_down_fails_its_own_partition_alone(installation: Installation) -> None:
    installation.failures["HMS"] = down(transient=False)

    result = installation.run("daily", DAY, "HMS")
    assert not result.success
    assert installation.run("daily", DAY, "HAC").success

    assert installation.status("extract", Area.INTERNACAO, KEYS) == {KEYS[0]: FAILED, KEYS[1]: MADE}
    [failure] = [event.step_failure_data.user_failure_data for event in result.get_step_failure_events()][:1]
    assert failure is not None
    assert failure.description is not None
    assert "the listener refused" in failure.description
    assert installation.sender.requests
    assert {line["unidade"] for line in installation.sender.accepted} == {"Hospital São Francisco DF"}


@pytest.mark.parametrize("transient", [True, False])
def test_only_a_passing_fault_of_the_source_is_tried_again(*, transient: bool) -> None:
    with pytest.raises(dg.Failure) as caught, told_to_the_operator():
        raise down(transient=transient)
    assert caught.value.allow_retries is transient


def test_nothing_but_a_source_is_ever_tried_again() -> None:
    for error in (DispatchStopped("stopped"), ValueError("a value")):
        with pytest.raises(dg.Failure) as caught, told_to_the_operator():
            raise error
        assert not caught.value.allow_retries


def test_an_exception_that_quotes_a_patient_is_shown_without_its_text(installation: Installation) -> None:
    secret = "MARIA SEGREDO DE TESTE"
    installation.failures["HMS"] = ValueError(f"could not convert {secret!r}")

    result = installation.run("daily", DAY)

    told = [str(event) for event in result.all_events]
    told += [str(record) for record in installation.instance.all_logs(result.run_id)]
    assert not [text for text in told if "SEGREDO" in text]
    assert [text for text in told if "builtins.ValueError" in text]


def test_checks_are_recorded_for_the_partition_they_looked_at(installation: Installation) -> None:
    result = installation.run("daily", DAY)
    evaluations = result.get_asset_check_evaluations()
    names = {evaluation.check_name for evaluation in evaluations}
    assert names == {"volume", "funnel_closes", "no_duplicate_encounter", "contact_share", "ledger_agrees"}
    assert {evaluation.partition for evaluation in evaluations} == {f"{DAY}|HMS"}
    assert all(evaluation.passed for evaluation in evaluations if evaluation.check_name != "contact_share")


def test_running_it_again_sends_nothing(the_day_after: Installation) -> None:
    sent = len(the_day_after.sender.accepted)
    the_day_after.run("daily", DAY)
    assert sent == len(the_day_after.sender.accepted) > 0


def test_a_tripped_gate_fails_the_partition_and_an_operators_word_opens_it(installation: Installation) -> None:
    only = keys("dispatch_email/internacao")
    installation.run("daily", DAY, asset_selection=keys("extract/internacao", "invitation/internacao"))
    gates = installation.runtime.policy.gates.model_copy(update={"min_rows": 1})
    installation.runtime.policy = installation.runtime.policy.model_copy(update={"gates": gates})
    # A week before there was one encounter: three times as many are a doubt.
    one = pl.DataFrame([dict.fromkeys(EXTRACTED, "x") | {"encounter_id": 1}], schema=EXTRACTED)
    installation.runtime.ledger.encounters.record_extract("HMS", DAY - timedelta(days=7), "internacao", one)

    assert not installation.run("daily", DAY, asset_selection=only).success
    assert installation.sender.requests == []

    approval = {"approve_gates": ["volume"], "approval_reason": "seen with the front desk"}
    config = {"ops": {"dispatch_email__internacao": {"config": approval}}}
    job = installation.defs.resolve_job_def("daily")
    key = dg.MultiPartitionKey({"date": DAY.isoformat(), "hospital": "HMS"})
    done = job.execute_in_process(config, instance=installation.instance, partition_key=key, asset_selection=only)
    assert done.success
    assert installation.sender.accepted


def test_a_fortnight_in_dagster_reminds_each_wave_once(the_day_after: Installation) -> None:
    invited = len(the_day_after.sender.accepted)
    for wave, days in (("reminder_7d", 7), ("reminder_14d", 7)):
        the_day_after.now += timedelta(days=days)
        before = len(the_day_after.sender.accepted)
        assert the_day_after.run(wave, DAY).success
        assert the_day_after.run(wave, DAY).success
        assert 0 < len(the_day_after.sender.accepted) - before <= invited
        assert the_day_after.status(wave, Area.INTERNACAO, KEYS) == {KEYS[0]: MADE, KEYS[1]: None}


def test_the_report_of_a_day_has_its_funnel_and_hides_scores_of_few(the_day_after: Installation) -> None:
    job = the_day_after.defs.resolve_job_def("report")
    result = job.execute_in_process(instance=the_day_after.instance, partition_key=str(DAY))
    [report] = result.asset_materializations_for_node("daily_report")
    assert report.metadata["enviados"].value == len(the_day_after.sender.accepted)
    assert "| HMS |" in str(report.metadata["Funil do dia, por hospital"].value)
    assert "–" in str(report.metadata["Respostas dos últimos 30 dias, por hospital e área"].value)
    assert Path(str(report.metadata["page"].value)).is_file()
    pictures = [value for value in report.metadata.values() if "(data:image/png;base64," in str(value.value)]
    assert len(pictures) == 6
