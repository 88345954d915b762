"""The web interface as people see it: a real Chromium over a finished demo, a failed partition and a missing one.

Pictures are kept in `test-output/`; those of the README come from there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from track_pipeline.defs.naming import Names
from track_pipeline.defs.partitions import partition_key
from track_pipeline.demo.run import DemoResult, run_demo
from track_pipeline.demo.stage import Moment, Stage
from track_pipeline.domain.areas import Area
from track_pipeline.instance import open_instance
from track_pipeline.settings import Settings, load_settings
from track_pipeline_tests.conftest import unavailable
from track_pipeline_tests.machine import SCRIPTS, free_port, wait

HOSPITALS = ("HMS", "HAC", "OTO_ING")
# A Tuesday; the demo is of the Monday before.
NOW = "2026-03-10T09:00:00-03:00"
PICTURES = Path(__file__).parent.parent / "test-output"

pytestmark = pytest.mark.xdist_group("browser")


class Screen:
    """A Chromium that looks at one web interface."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver, self._url = driver, url

    def open(self, path: str, *words: str) -> None:
        """Opens a page, of the web interface or a file, and waits until all the words are on it."""
        self._driver.get(path if path.startswith("file:") else self._url + path)
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
        """The web interface, which knows of three hospitals."""
        port = free_port()
        environ = os.environ | {
            "TRACK_HOME": str(self.home),
            "TRACK_NOW": NOW,
            "TRACK_HOSPITALS": ",".join(HOSPITALS),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "NO_PROXY": "*",
        }
        command = [str(SCRIPTS / "dagster-webserver"), *f"-h 127.0.0.1 -p {port} -m track_pipeline.definitions".split()]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            wait("the web interface answers", lambda: _answers(url))
            yield url
        finally:
            process.terminate()
            process.wait()


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

    def test_the_graph_shows_the_steps_of_an_area(self, screen: Screen) -> None:
        group = "/locations/__repository__@track_pipeline.definitions/asset-groups/internacao/lineage"
        screen.open(group, "extract", "invitation", "dispatch_whatsapp")
        screen.photograph("graph")

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
        screen.open(page.as_uri(), "Pesquisa de pacientes", "enviados")
        assert screen.pictures() == 6
        screen.photograph("page")
