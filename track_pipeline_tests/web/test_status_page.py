"""The status page, the health check and the metrics, over real HTTP, without personal data."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dagster as dg
import polars as pl
import pytest
import requests
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from track_pipeline.adapters.ledger.encounters import EXTRACTED
from track_pipeline.config.settings import load_settings
from track_pipeline.domain.waves import INVITE
from track_pipeline.hosting.instance import open_instance
from track_pipeline.logs.system_log import system_log
from track_pipeline.ports import Unknown
from track_pipeline.runtime import LedgerRuntime
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.web.app import app
from track_pipeline.web.sources import Sources
from track_pipeline_tests.support.builders import DAY, planned
from track_pipeline_tests.support.installation import AREA, Office

SCRIPT = "<script>alert(1)</script>"
PLANNED: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"result": "excluded", "reason": "no_contact", "channel": None, "decided_by": "no_contact"},
)


@dataclass
class Site:
    """An installation of two hospitals, of which one has been read, and where it is served."""

    office: Office
    sources: Sources
    url: str = ""

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=20)

    def extract(self, day: date) -> None:
        self.office.ledger.encounters.record_extract("HMS", day, AREA, pl.DataFrame(schema=EXTRACTED))

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Name to label values, in the order in which they are declared, to value."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        names = ("kind", "hospital", "area", "outcome")
        return {
            family.name: {
                tuple(sample.labels[name] for name in names if name in sample.labels): sample.value
                for sample in family.samples
            }
            for family in families
        }


@contextmanager
def served(sources: Sources, **options: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app(sources, **options), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = monotonic() + 20
    while not server.started and monotonic() < deadline:
        sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    office = Office(tmp_path)
    settings = load_settings({"TRACK_HOME": str(tmp_path), "TRACK_HOSPITALS": "HMS,HMC"}, None)
    with open_instance(tmp_path):
        site = Site(office, Sources(LedgerRuntime(settings, clock=lambda: office.now)))
        with served(site.sources) as site.url:
            yield site
    office.ledger.close()


def in_production(site: Site) -> None:
    site.sources.is_demo = False
    site.sources.daemons = lambda: {"SENSOR": True, "SCHEDULER": True}  # type: ignore[method-assign]


# --- the page


def test_the_page_shows_the_funnel_of_yesterdays_patients_and_who_is_missing(site: Site) -> None:
    site.office.plan(*PLANNED)
    site.office.dispatch()
    answer = site.get("/")
    assert answer.status_code == 200
    assert '<html lang="pt-BR">' in answer.text
    assert "Atendimentos de 10/03/2025" in answer.text
    row = answer.text.split("<td>Internação</td>")[1].split("</tr>")[0]
    numbers = [int(cell.split("<")[0]) for cell in row.split('">')[1:]]
    assert numbers == [3, 1, 2, 2, 0, 0, 0, 0, 0]
    assert "Hospitais ainda sem extração: HMC" in answer.text


def test_the_page_shows_what_is_wrong_and_links_to_dagster_where_its_address_is_known(site: Site) -> None:
    words = {"subject": "HMS: silent", "text": "Look at it.", "link": "/runs/1"}
    row = {"key": "silence|HMS|", "kind": "silence", "hospital": "HMS", "part": ""}
    site.office.ledger.alerts.open([row | words])
    text = site.get("/").text
    assert "Hospital sem extração: HMS: silent" in text
    assert "Look at it." in text
    assert "href=" not in text.split("</head>")[1]
    with served(site.sources, ui_url="https://dagster.example/") as url:
        linked = requests.get(url, timeout=20).text
    assert '<a href="https://dagster.example/runs/1">' in linked


def test_the_page_shows_the_last_runs(site: Site) -> None:
    @dg.op
    def breaks() -> None:
        raise dg.Failure("that is told elsewhere")

    @dg.job
    def daily() -> None:
        breaks()

    result = daily.execute_in_process(
        {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance=site.sources.instance,
        raise_on_error=False,
        tags={"dagster/partition": f"{DAY}|HMS"},
    )
    text = site.get("/").text
    for expected in (result.run_id[:8], "<td>daily</td>", f"<td>{DAY}|HMS</td>", "Falhou"):
        assert expected in text


def test_the_page_shows_the_end_of_the_log_as_text(site: Site) -> None:
    system_log(site.office.home).write_text(f"[2025-03-11 09:00:00] - HMS - * - INFO - {SCRIPT}\n")
    text = site.get("/").text
    assert SCRIPT not in text
    assert "HMS - * - INFO - &lt;script&gt;" in text


def test_an_empty_installation_has_a_page(site: Site) -> None:
    answer = site.get("/")
    assert answer.status_code == 200
    assert answer.text.count("Não foi possível ler") == 0


def test_a_part_that_cannot_be_read_hides_no_other(site: Site) -> None:
    site.office.ledger.close()
    ledger = site.office.home / "ledger.sqlite"
    ledger.unlink()
    ledger.mkdir()
    system_log(site.office.home).write_text("[2025-03-11 09:00:00] - HMS - * - INFO - here\n")
    text = site.get("/").text
    assert text.count("Não foi possível ler: the ledger") == 2
    assert "HMS - * - INFO - here" in text
    ledger.rmdir()
    assert "Não foi possível ler" not in site.get("/").text


def test_nobody_is_on_any_of_the_pages(site: Site) -> None:
    site.office.plan({}, {})
    site.office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        site.office.dispatch()
    people = planned({}, {}).select("patient_name", "email_address", "phone_e164", "cpf_digits")
    told = "".join(site.get(path).text for path in ("/", "/healthz", "/metrics"))
    values = {str(value) for row in people.rows() for value in row if value is not None and len(str(value)) > 3}
    keys = site.office.ledger.sends.of_wave("HMS", DAY, INVITE).select("email_key", "send_id").rows()
    assert values
    assert not [value for value in values | {str(key) for row in keys for key in row} if value in told]


# --- how it is served


def test_every_answer_forbids_scripts_frames_and_copies(site: Site) -> None:
    for path in ("/", "/healthz", "/metrics", "/static/status.css", "/missing"):
        headers = site.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';"), path
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_it_answers_for_the_names_that_it_was_given_and_no_other(site: Site) -> None:
    for path in ("/", "/healthz", "/metrics", "/static/status.css"):
        assert requests.get(site.url + path, headers={"Host": "elsewhere.example"}, timeout=20).status_code == 400, path
    with served(site.sources, hosts=("status",)) as url:
        assert requests.get(url, headers={"Host": "status:5000"}, timeout=20).status_code == 200
        assert requests.get(url, timeout=20).status_code == 400


def test_the_page_needs_nothing_that_the_policy_forbids(site: Site) -> None:
    text = site.get("/").text
    assert not [word for word in ("<script", "style=", "<style", "onclick", "http://", "https://") if word in text]
    style = site.get("/static/status.css")
    assert style.status_code == 200
    assert "prefers-color-scheme: dark" in style.text


def test_it_can_only_be_read(site: Site) -> None:
    for method in ("POST", "PUT", "DELETE"):
        for path in ("/", "/healthz", "/metrics"):
            assert requests.request(method, f"{site.url}{path}", timeout=20).status_code == 405


def test_files_beside_the_style_are_not_served(site: Site) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/templates/status.html"):
        assert site.get(path).status_code == 404


# --- /healthz


def test_a_demo_is_healthy_without_daemons(site: Site) -> None:
    site.extract(DAY)
    answer = site.get("/healthz")
    found = answer.json()
    assert (answer.status_code, found["healthy"]) == (200, True)
    assert found["ledger"]["last_extract"]["day"] == "2025-03-10"
    assert not any(found["dagster"]["daemons"].values())


def test_in_production_a_daemon_that_was_not_heard_of_is_ill(site: Site) -> None:
    in_production(site)
    assert site.get("/healthz").status_code == 200
    site.sources.daemons = lambda: {"SENSOR": False, "SCHEDULER": True}  # type: ignore[method-assign]
    assert site.get("/healthz").status_code == 503


@pytest.mark.parametrize(("days_old", "status"), [(0, 200), (1, 503)])
def test_in_production_extracts_that_stopped_coming_are_ill(site: Site, days_old: int, status: int) -> None:
    in_production(site)
    site.extract(DAY - timedelta(days=days_old))
    assert site.get("/healthz").status_code == status


def test_a_ledger_that_cannot_be_read_is_ill_and_gets_well(site: Site) -> None:
    site.office.ledger.close()
    ledger = site.office.home / "ledger.sqlite"
    ledger.unlink()
    ledger.mkdir()
    answer = site.get("/healthz")
    assert (answer.status_code, answer.json()["ledger"]["reachable"]) == (503, False)
    assert site.get("/metrics").status_code == 503
    ledger.rmdir()
    assert site.get("/healthz").status_code == 200


def test_a_dagster_that_cannot_be_read_is_ill_without_its_words(site: Site) -> None:
    def fails() -> dict[str, bool]:
        raise RuntimeError("postgresql://user:s3cret@host")

    site.sources.daemons = fails  # type: ignore[method-assign]
    answer = site.get("/healthz")
    assert answer.status_code == 503
    assert "RuntimeError" in answer.text
    assert "s3cret" not in answer.text


# --- /metrics


def test_outcomes_add_up_to_what_was_extracted(site: Site) -> None:
    site.office.plan(*PLANNED)
    site.office.dispatch()
    encounters = site.metrics()["track_encounters"]
    assert encounters[("HMS", "internacao", "sent")] == 2
    assert encounters[("HMS", "internacao", "excluded")] == 1
    assert sum(encounters.values()) == 3


def test_unknown_sends_open_alerts_and_extracts_are_counted(site: Site) -> None:
    site.extract(DAY)
    site.office.plan({}, {})
    site.office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        site.office.dispatch()
    row = {"key": "throttle||", "kind": "throttle", "hospital": "", "part": "", "subject": "", "text": "", "link": ""}
    site.office.ledger.alerts.open([row])
    found = site.metrics()
    assert found["track_unknown_sends"] == {("HMS",): 2, ("HMC",): 0}
    assert found["track_open_alerts"] == {("throttle", ""): 1}
    assert found["track_last_extract_timestamp_seconds"] == {("HMS",): site.office.now.timestamp()}


def test_the_metrics_are_of_the_installation_alone(site: Site) -> None:
    assert all(name.startswith("track_") for name in site.metrics())
