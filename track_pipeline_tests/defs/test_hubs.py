"""Several hubs of one group in one Dagster: no shared asset keys, and jobs and sensors that see only their own hub."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from track_pipeline.config.settings import load_settings
from track_pipeline.definitions import build_defs
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.ports import Refused
from track_pipeline.services.alerting.alerting import Alerting
from track_pipeline.services.insight.status import status
from track_pipeline_tests.defs.conftest import DAY, MORNING, Installation, down
from track_pipeline_tests.support.fake_channel import FakeChannel
from track_pipeline_tests.support.production import SCRIPTS, WEBSERVER, Process, Webserver, free_port, listens, wait

STEPS = ("extract", "invitation", "dispatch_email", "dispatch_whatsapp", "survey_link")
KEYS = [f"{DAY}|HMS", f"{DAY}|HAC"]


@pytest.fixture
def es(installation: Installation) -> Iterator[Installation]:
    yield from hub(installation, "es", "HMS")


@pytest.fixture
def ne(installation: Installation) -> Iterator[Installation]:
    yield from hub(installation, "ne", "HAC")


def hub(installation: Installation, name: str, hospital: str) -> Iterator[Installation]:
    """A hub with the ledger and the Dagster of an installation."""
    made = Installation(installation.settings.home, installation.instance, TRACK_HUB=name, TRACK_HOSPITALS=hospital)
    yield made
    made.runtime.close()


def keys_of(**environ: str) -> set[tuple[str, ...]]:
    """The keys of all assets and checks (with the check's name last), part by part."""
    graph = build_defs(load_settings(environ, None)).resolve_asset_graph()
    assets = {tuple(key.path) for key in graph.get_all_asset_keys()}
    return assets | {(*check.asset_key.path, check.name) for check in graph.asset_check_keys}


def test_the_keys_of_a_hub_are_those_of_one_installation_behind_its_name() -> None:
    single = keys_of()
    assert ("extract", "exames") in single
    for name, hospitals in (("es", "HMS,HMC"), ("ne", "HAC")):
        assert keys_of(TRACK_HUB=name, TRACK_HOSPITALS=hospitals) == {(name, *key) for key in single}


def test_every_asset_of_a_hub_depends_on_its_own_alone(es: Installation) -> None:
    depended_on = {dep.asset_key for spec in es.defs.resolve_all_asset_specs() for dep in spec.deps}
    assert depended_on
    assert depended_on <= {spec.key for spec in es.defs.resolve_all_asset_specs()}


@pytest.mark.dagster_on_disk
def test_what_a_hub_makes_is_made_in_that_hub_alone(es: Installation, ne: Installation) -> None:
    swept = MORNING.replace(hour=9, minute=15)
    assert KEYS[1] in {request.partition_key for request in ne.tick("sweep", swept)}

    result = ne.run("daily", DAY, "HAC")

    assert result.success
    assert KEYS[1] not in {request.partition_key for request in ne.tick("sweep", swept)}
    for area in AREAS:
        for step in STEPS:
            assert ne.status(step, area, KEYS[1:]) == {KEYS[1]: "MATERIALIZED"}
            assert es.status(step, area, KEYS[:1]) == {KEYS[0]: None}
    evaluated = {(each.asset_key.path[0], each.check_name) for each in result.get_asset_check_evaluations()}
    names = ("volume", "funnel_closes", "no_duplicate_encounter", "contact_share", "ledger_agrees")
    assert evaluated == {("ne", name) for name in names}
    rows = status(ne.runtime.ledger, (DAY, DAY))
    assert rows
    assert all(row.closes for row in rows)
    assert ne.sender.accepted
    report = ne.defs.resolve_job_def("report").execute_in_process(instance=ne.instance, partition_key=str(DAY))
    for result, name in (
        (ne.run("read_answers", None), "answers"),
        (ne.run("reconcile", None), "reconciliation"),
        (report, "daily_report"),
    ):
        assert result.success
        [made] = result.get_asset_materialization_events()
        assert made.asset_key == dg.AssetKey(["ne", name])


def test_a_wave_is_reminded_in_its_hub_and_when_its_own_answers_are_read(es: Installation, ne: Installation) -> None:
    ne.run("daily", DAY, "HAC")
    due = MORNING + timedelta(days=7, hours=3)
    es.now = ne.now = due
    repository = ne.defs.get_repository_def()

    def asked() -> list[str | None]:
        context = dg.build_sensor_context(
            instance=ne.instance, repository_def=repository, resources={"runtime": ne.runtime}
        )
        ticked = repository.get_sensor_def("reminder_7d_fresh_answers").evaluate_tick(context)
        return [request.partition_key for request in ticked.run_requests or []]

    es.run("read_answers", None)
    assert asked() == []
    ne.run("read_answers", None)
    assert asked() == [KEYS[1]]
    assert ne.run("reminder_7d", DAY, "HAC").success
    assert ne.status("reminder_7d", Area.INTERNACAO, KEYS[1:]) == {KEYS[1]: "MATERIALIZED"}


def see(hub: Installation, result: dg.ExecuteInProcessResult, **changes: str) -> None:
    """Lets the sensor of a run's outcome see it, as the daemon would."""
    event = result.get_run_success_event() if result.success else result.get_run_failure_event()
    name = "alert_recovered_runs" if result.success else "alert_failed_runs"
    run = result.dagster_run._replace(**changes)
    context = dg.build_run_status_sensor_context(name, event, hub.instance, run, resources={"runtime": hub.runtime})
    hub.defs.get_repository_def().get_sensor_def(name)(context if result.success else context.for_run_failure())


def listen(hub: Installation) -> FakeChannel:
    """A channel for what a hub tells people."""
    channel = FakeChannel()
    # Where the runtime keeps what it makes when first asked.
    hub.runtime.__dict__["alerting"] = Alerting(hub.runtime.ledger, channel)
    return channel


def test_assets_of_a_hub_that_fail_by_hand_are_told_until_the_whole_job_is_mended(ne: Installation) -> None:
    channel = listen(ne)
    steps = [dg.AssetKey(["ne", step, "internacao"]) for step in STEPS[:3]]

    def run(assets: list[dg.AssetKey]) -> None:
        see(ne, ne.run("daily", DAY, "HAC", asset_selection=assets), job_name="__ASSET_JOB")

    ne.failures["HAC"] = down(transient=False)
    run(steps)
    assert channel.titles == [f"track: HAC {DAY} daily: the run failed"]
    del ne.failures["HAC"]
    run(steps[:1])
    assert len(channel.titles) == 1
    run(steps[1:])
    assert channel.titles[1:] == [f"Over: HAC {DAY} daily: the run failed"]


def test_what_one_hub_cannot_read_is_not_over_because_another_can(es: Installation, ne: Installation) -> None:
    channel = listen(ne)
    listen(es)
    ne.answers.failures["answers"] = Refused("http_400", "refused")
    see(ne, ne.run("read_answers", None))
    assert channel.titles == ["track: ne read_answers: the run failed"]

    see(es, es.run("read_answers", None))
    assert ne.runtime.ledger.alerts.all().height == 1

    ne.answers.failures.clear()
    see(ne, ne.run("read_answers", None))
    assert channel.titles[1:] == ["Over: ne read_answers: the run failed"]


@pytest.fixture
def web(es: Installation, ne: Installation, tmp_path: Path) -> Iterator[Webserver]:
    """The web interface over a code server per hub."""
    environ = os.environ | {"NO_PROXY": "*", "TRACK_HOME": str(es.settings.home)}
    locations = []
    with ExitStack() as stack:

        def start(program: str, *arguments: str, **own: str) -> None:
            process = Process([SCRIPTS / program, *arguments], environ | own, tmp_path / "processes.log")
            process.start()
            stack.callback(process.end)

        for hub in (es, ne):
            port, settings = free_port(), hub.settings
            own = {"TRACK_HUB": settings.hub, "TRACK_HOSPITALS": ",".join(settings.hospitals)}
            start("dagster", *f"api grpc -h 127.0.0.1 -p {port} -m track_pipeline.definitions".split(), **own)
            locations.append({"host": "127.0.0.1", "port": port, "location_name": settings.hub})
        for location in locations:
            wait("the code server listens", lambda port=location["port"]: listens(port))
        workspace = {"load_from": [{"grpc_server": location} for location in locations]}
        (tmp_path / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
        port = free_port()
        web = Webserver(port)
        start(WEBSERVER, *f"-h 127.0.0.1 -p {port} -w workspace.yaml".split())
        wait("the code locations are loaded", lambda: "daily" in web.jobs())
        yield web


@pytest.mark.dagster_on_disk
@pytest.mark.xdist_group("end_to_end")
def test_the_web_interface_shows_and_backfills_every_hubs_assets_with_its_own_hospitals(web: Webserver) -> None:
    nodes = web.ask(
        "{ assetNodes { assetKey { path } repository { location { name } } "
        "partitionKeysByDimension { name partitionKeys } } }"
    )["assetNodes"]
    assert {(node["repository"]["location"]["name"], node["assetKey"]["path"][0]) for node in nodes} == {
        ("es", "es"),
        ("ne", "ne"),
    }
    for hub, hospital in (("es", "HMS"), ("ne", "HAC")):
        key = {"path": [hub, "extract", "internacao"]}
        [node] = [node for node in nodes if node["assetKey"] == key]
        dimensions = {each["name"]: each["partitionKeys"] for each in node["partitionKeysByDimension"]}
        assert dimensions["hospital"] == [hospital]
        asked = web.ask(
            """mutation ($backfill: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $backfill) {
              __typename } }""",
            backfill={"assetSelection": [key], "partitionNames": [f"{DAY}|{hospital}"], "fromFailure": False},
        )
        assert asked["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"
