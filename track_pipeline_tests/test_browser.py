"""The web interface in a real Chromium: a finished demo, a failed partition and a missing one.

It opens `track ui`, alone and behind the proxy of deploy/; pages of other sites try to act through both. Pictures are
stored in `test-output/`, among them those of the README.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import dagster as dg
import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.defs.naming import Names
from track_pipeline.defs.partitions import partition_key
from track_pipeline.demo.run import DemoResult, run_demo
from track_pipeline.demo.stage import Moment, Stage
from track_pipeline.domain.areas import Area
from track_pipeline.hosting.instance import open_instance
from track_pipeline_tests.conftest import unavailable
from track_pipeline_tests.support.production import Process, Webserver, free_port, wait
from track_pipeline_tests.support.proxy import PASSWORD, USER, proxy, upstream

HOSPITALS = ("HMS", "HAC", "OTO_ING")
# A Tuesday; the demo is of the Monday before.
NOW = "2026-03-10T09:00:00-03:00"
ELSEWHERE = "elsewhere.example"
PICTURES = Path(__file__).parent.parent / "test-output"

pytestmark = pytest.mark.xdist_group("browser")


class Screen:
    """A Chromium that looks at one web interface."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver, self.url = driver, url

    def open(self, path: str, *words: str) -> None:
        """Opens a page, of the web interface or a file, and waits until all the words are on it."""
        self._driver.get(path if path.startswith("file:") else self.url + path)
        try:
            wait(f"{path} shows {words}", lambda: all(word in self.text for word in words), seconds=40)
        except AssertionError:
            self.photograph("not-as-expected")
            raise

    @property
    def text(self) -> str:
        try:
            return self._driver.find_element(By.TAG_NAME, "body").text
        except WebDriverException:
            return ""

    def pictures(self) -> int:
        """Images on the page that hold their own data and have been drawn."""
        widths = self._driver.execute_script(
            "return [...document.images].filter(each => each.src.startsWith('data:')).map(each => each.naturalWidth)"
        )
        return sum(width > 0 for width in widths)

    def photograph(self, name: str) -> None:
        PICTURES.mkdir(exist_ok=True)
        picture = PICTURES / f"{name}.png"
        assert self._driver.save_screenshot(str(picture))
        assert picture.stat().st_size > 10_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        unavailable("Chromium and its driver (Debian: chromium, chromium-driver) are not installed")
    options = Options()
    options.binary_location = str(programs[0])
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,950", "--no-proxy-server"):
        options.add_argument(argument)
    # Another site, whose name leads to this machine.
    options.add_argument(f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1")
    options.accept_insecure_certs = True
    driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    yield driver
    driver.quit()


class Installation:
    """A demo of two hospitals; the day before it failed in one of them, and a third was never run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        values = {"TRACK_HOME": str(home), "TRACK_DEMO_VOLUME": "120", "TRACK_NOW": NOW, "TRACK_HOSPITALS": "HMS,HAC"}
        settings = load_settings(values, None)
        self.demo: DemoResult = run_demo(settings, lambda _: None)
        self.failed_day = self.demo.day - timedelta(days=1)
        self.failures = self._fail(settings, self.failed_day)

    def _fail(self, settings: Settings, day: date) -> list[str]:
        """A day on which nobody answers at Track.co's address."""
        unreachable = Moment(settings.model_copy(update={"api_url": f"http://127.0.0.1:{free_port()}"}))
        with open_instance(self.home) as instance, closing(Stage(unreachable, instance)) as stage:
            names = Names(settings.hub)
            steps = [*names.keys_of("extract"), *names.keys_of("invitation")]
            steps.append(names.key_of("dispatch_email", Area.INTERNACAO))
            return stage.run("daily", partition_key(day, "HAC"), steps)

    @contextmanager
    def web(self) -> Iterator[str]:
        """`track ui`, which knows of three hospitals."""
        port = free_port()
        environ = os.environ | {
            "TRACK_HOME": str(self.home),
            "TRACK_NOW": NOW,
            "TRACK_HOSPITALS": ",".join(HOSPITALS),
            "NO_PROXY": "*",
        }
        environ.pop("TRACK_API_URL", None)
        command = [sys.executable, "-m", "track_pipeline", "ui", "--port", str(port)]
        process = Process(command, environ, self.home / "ui.log")
        process.start()
        url = f"http://127.0.0.1:{port}"
        try:
            wait("the web interface answers", lambda: _answers(url))
            yield url
        finally:
            process.end()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/server_info", timeout=1).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def installation(chromium: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:  # noqa: ARG001 - without it there is nothing to look at
    before = {name: os.environ.get(name) for name in ("DAGSTER_HOME", "TRACK_API_URL")}
    yield Installation(tmp_path_factory.mktemp("browser") / "home")
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def screen(chromium: webdriver.Chrome, installation: Installation) -> Iterator[Screen]:
    with installation.web() as url:
        yield Screen(chromium, url)


@pytest.mark.skipif(sys.platform == "win32", reason="looks for programs under the names that Debian gives them")
class TestWebInterface:
    """One installation, looked at from all sides."""

    def test_the_lineage_of_the_project_is_a_chain_of_stages(self, screen: Screen) -> None:
        screen.open("/asset-groups", "extract", "invitation", "dispatch", "feedback", "reminders", "report")
        screen.photograph("lineage")

    def test_a_stage_shows_its_assets(self, screen: Screen) -> None:
        stage = "/locations/__repository__@track_pipeline/asset-groups/dispatch/lineage"
        screen.open(stage, "dispatch_email", "dispatch_whatsapp", "survey_link")

    def test_the_grid_tells_failed_and_missing_partitions_from_those_that_are_there(
        self, screen: Screen, installation: Installation
    ) -> None:
        assert installation.failures
        screen.open("/assets/dispatch_email/internacao?view=partitions", "Failed (1)", "Materialized (2)", "Missing (")
        screen.photograph("partitions")

    def test_a_run_has_its_steps_and_logs(self, screen: Screen, installation: Installation) -> None:
        with open_instance(installation.home) as instance:
            [run] = instance.get_runs(dg.RunsFilter(tags={"dagster/partition/date": str(installation.failed_day)}))
        screen.open(f"/runs/{run.run_id}", "dispatch_email__internacao", "Errored (1)")
        screen.photograph("run")

    def test_the_report_shows_its_charts(self, screen: Screen, installation: Installation) -> None:
        screen.open(f"/assets/daily_report?view=partitions&partition={installation.demo.day}", "enviados")
        screen.photograph("report")

    def test_the_page_of_the_day_opens_by_itself(self, screen: Screen, installation: Installation) -> None:
        page = installation.home / "reports" / f"{installation.demo.day}.html"
        screen.open(page.as_uri(), "Pesquisa de satisfação", "enviados")
        assert screen.pictures() == 6
        screen.photograph("page")


# What a page of another site can try without asking; then, what its browser asks about first, and does not send.
ATTACK = """<!doctype html><title>trying</title>
<img id="image" src="{target}/graphql?query={mutation}">
<form id="form" method="post" action="{target}/graphql?query={mutation}" target="sink" enctype="text/plain"></form>
<iframe name="sink"></iframe>
<script>
const query = JSON.stringify({{query: "{mutation}"}});
const send = (type, mode) => fetch("{target}/graphql", {{
  method: "POST", mode, credentials: "include", body: query, headers: {{"Content-Type": type}},
}}).catch(() => null);
const socket = () => new Promise(done => {{
  const tried = new WebSocket("{target}/graphql".replace(/^http/, "ws"), "graphql-ws");
  tried.onopen = () => done("opened");
  tried.onerror = () => done("refused");
}});
const loaded = (element, act) => new Promise(done => {{ element.onload = element.onerror = done; act(); }});
onload = async () => {{
  const form = document.getElementById("form"), sink = document.querySelector("iframe");
  await loaded(sink, () => form.submit());
  form.enctype = "application/x-www-form-urlencoded";
  await loaded(sink, () => form.submit());
  await send("text/plain;application/json", "no-cors");
  await send("application/json", "cors");
  navigator.sendBeacon("{target}/graphql?query={mutation}", new Blob([query], {{type: "text/plain"}}));
  document.title = "tried, websocket " + await socket();
}};
</script>"""


@contextmanager
def site_of_another(target: str, name: str) -> Iterator[str]:
    """A page elsewhere that tries to act at `target`; it would leave `name` there."""
    # It leaves a trace and needs nothing else; any other mutation would be run as well.
    mutation = f"mutation{{setConcurrencyLimit(concurrencyKey:\\u0022{name}\\u0022,limit:1)}}"
    quoted = quote(mutation.replace("\\u0022", '"'))
    page = ATTACK.replace("query={mutation}", f"query={quoted}").format(target=target, mutation=mutation).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{ELSEWHERE}:{server.server_port}/"
        server.shutdown()


def tried(driver: webdriver.Chrome, url: str) -> str:
    """Opens the other site's page and waits until it has tried everything; its title says what it saw."""
    driver.get(url)
    wait("everything was tried", lambda: driver.title.startswith("tried"), seconds=60)
    return driver.title


def limits(url: str) -> set[str]:
    """The pools that have a limit: the trace that the attacks would leave."""
    found = Webserver(int(url.rpartition(":")[2])).ask("{ instance { concurrencyLimits { concurrencyKey } } }")
    return {each["concurrencyKey"] for each in found["instance"]["concurrencyLimits"]}


@pytest.mark.skipif(sys.platform == "win32", reason="looks for programs under the names that Debian gives them")
class TestForgedRequests:
    """A page of another site, open in the browser of somebody who uses Dagster."""

    def test_the_attacks_reach_a_server_without_a_guard(self, chromium: webdriver.Chrome) -> None:
        with upstream() as open_server, site_of_another(f"http://127.0.0.1:{open_server.port}", "forged") as site:
            assert tried(chromium, site) == "tried, websocket refused"
        methods = Counter(each.split("?")[0].split("/")[0].strip() for each in open_server.asked)
        assert methods["POST"] >= 4
        assert methods["GET"] >= 2

    def test_none_acts_through_track_ui(self, chromium: webdriver.Chrome, screen: Screen) -> None:
        with site_of_another(screen.url, "forged") as site:
            assert tried(chromium, site) == "tried, websocket refused"
        assert "forged" not in limits(screen.url)

    def test_a_name_made_to_lead_to_this_machine_shows_and_does_nothing(
        self, chromium: webdriver.Chrome, screen: Screen
    ) -> None:
        chromium.get(screen.url.replace("127.0.0.1", ELSEWHERE))
        assert "Invalid host header" in chromium.page_source
        status = chromium.execute_async_script(
            """const done = arguments[0], body = JSON.stringify({query: "{ version }"});
            fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body})
              .then(answer => done(answer.status))"""
        )
        assert status == 400

    def test_our_own_page_may_act(self, chromium: webdriver.Chrome, screen: Screen) -> None:
        screen.open("/runs", "Runs")
        answer = chromium.execute_async_script(
            """const done = arguments[0];
            const query = 'mutation { setConcurrencyLimit(concurrencyKey: "own", limit: 1) }';
            fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
              body: JSON.stringify({query})}).then(answer => answer.text()).then(done)"""
        )
        assert "true" in answer
        assert "own" in limits(screen.url)

    def test_none_acts_through_the_proxy_with_a_login_that_the_browser_keeps(
        self, chromium: webdriver.Chrome, tmp_path: Path
    ) -> None:
        with upstream() as dagster, proxy(tmp_path, dagster.port, dagster.port) as running:
            chromium.get(f"https://{USER}:{PASSWORD}@127.0.0.1:{running.port}/runs")
            assert "GET /runs" in dagster.asked
            with site_of_another(f"https://127.0.0.1:{running.port}", "forged") as site:
                assert tried(chromium, site) == "tried, websocket refused"
            chromium.get(f"https://127.0.0.1:{running.port}/assets")
        pages = [each for each in dagster.asked if each != "GET /favicon.ico"]
        assert pages == ["GET /runs", "GET /assets"]

    def test_dagsters_pages_work_behind_the_proxy(
        self, chromium: webdriver.Chrome, screen: Screen, tmp_path: Path
    ) -> None:
        port = int(screen.url.rpartition(":")[2])
        with proxy(tmp_path, port, port) as running:
            chromium.get(f"https://{USER}:{PASSWORD}@127.0.0.1:{running.port}/")
            behind = Screen(chromium, f"https://127.0.0.1:{running.port}")
            behind.open("/assets/dispatch_email/internacao?view=partitions", "Failed (1)", "Materialized (2)")
            opened = chromium.execute_async_script(
                """const done = arguments[0];
                const socket = new WebSocket(`wss://${location.host}/graphql`, "graphql-ws");
                socket.onopen = () => done(true);
                socket.onerror = () => done(false);"""
            )
            assert opened
