"""`system.log`: the line format of the original, complete lines from many processes, and no personal data."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from track_pipeline.errors import ConfigError
from track_pipeline.logs.redaction import kind_and_place
from track_pipeline.logs.system_log import FILE, about, last_lines, system_log, write_system_log

SECRET = "Maria Segredo de Teste"
logger = logging.getLogger("track_pipeline.tests")


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger("track_pipeline")
    handlers, level = list(root.handlers), root.level
    home = tmp_path / "home"
    write_system_log(home)
    yield home
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.handlers, root.level = handlers, level


def lines(home: Path) -> list[str]:
    return system_log(home).read_text(encoding="utf-8").splitlines()


def test_a_line_is_as_the_original_wrote_it_with_the_level_before_the_message(home: Path) -> None:
    with about("HMS", "ambulatorio"):
        logger.info("%d sent", 12)
    [line] = lines(home)
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] - HMS - AMBULATORIO - INFO - 12 sent", line)


def test_the_time_is_that_of_sao_paulo(home: Path) -> None:
    record = logger.makeRecord(logger.name, logging.WARNING, "", 0, "late", (), None)
    record.created = datetime(2026, 11, 24, 2, 30, tzinfo=UTC).timestamp()
    logger.handle(record)
    assert lines(home) == ["[2026-11-23 23:30:00] - * - * - WARNING - late"]


def test_areas_have_the_names_that_the_original_gave_them_and_end_with_their_block(home: Path) -> None:
    with about("HMS"):
        with about(area="pronto_socorro"):
            logger.info("inside")
        logger.info("around")
    logger.info("outside")
    places = [line.split(" - ")[1:3] for line in lines(home)]
    assert places == [["HMS", "PRONTO SOCORRO GERAL"], ["HMS", "*"], ["*", "*"]]


def test_a_block_that_is_left_by_an_error_is_left(home: Path) -> None:
    with pytest.raises(ConfigError), about("HMS"):
        raise ConfigError("no")
    logger.info("after")
    assert lines(home)[0].split(" - ")[1] == "*"


def test_of_errors_that_are_not_ours_only_kind_and_place_are_written(home: Path) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        logger.error("cannot go on: %s", error)  # noqa: TRY400
        logger.exception("cannot go on")
    text = "\n".join(lines(home))
    assert SECRET not in text
    assert text.count("builtins.ValueError at ") == 2
    assert len(lines(home)) == 2


def test_an_error_of_our_own_is_written_as_it_is_on_one_line(home: Path) -> None:
    logger.error("%s", ConfigError("these are not set:\n  API_TOKEN"))
    assert lines(home)[0].endswith(" - ERROR - these are not set: API_TOKEN")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another error for it")
def test_the_place_of_an_error_is_the_innermost_of_our_own_code(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        last_lines(tmp_path, 1)
    place = r"builtins\.IsADirectoryError at system_log\.py:\d+ in last_lines"
    assert re.fullmatch(place, kind_and_place(caught.value))


def test_nothing_is_made_before_there_is_a_line(home: Path) -> None:
    assert not home.exists()


def test_what_is_less_than_info_is_not_written(home: Path) -> None:
    logger.debug("detail")
    assert not home.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_the_log_is_for_its_owner_alone(home: Path) -> None:
    logger.info("one")
    assert {path.stat().st_mode & 0o777 for path in (home, *home.iterdir())} == {0o700, 0o600}


def test_a_process_writes_one_log_however_often_it_is_told(home: Path, tmp_path: Path) -> None:
    write_system_log(home)
    logger.info("once")
    assert len(lines(home)) == 1
    write_system_log(tmp_path / "other")
    logger.info("elsewhere")
    assert len(lines(home)) == 1
    assert len(lines(tmp_path / "other")) == 1


def test_handlers_that_change_a_record_as_dagsters_does_come_later(tmp_path: Path) -> None:
    class Prefixing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg = f"daily - extract - {record.msg}"

    prefixing = Prefixing()
    logging.getLogger("track_pipeline").addHandler(prefixing)
    write_system_log(tmp_path / "other")
    logger.info("%d sent", 12)
    logging.getLogger("track_pipeline").removeHandler(prefixing)
    assert lines(tmp_path / "other")[0].endswith(" - INFO - 12 sent")


def test_a_home_that_cannot_be_made_breaks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    write_system_log(tmp_path / "file" / "home")
    logger.info("lost")
    assert "NotADirectoryError" in capsys.readouterr().err or sys.platform == "win32"


def test_processes_that_write_and_rotate_at_once_lose_and_tear_no_line(tmp_path: Path) -> None:
    script = f"""
import logging, sys
from pathlib import Path
from track_pipeline.logs import system_log as logs
logs._MOST_BYTES, logs._OLD_FILES = 4_000, 50
logs.write_system_log(Path({str(tmp_path)!r}))
for number in range(200):
    logging.getLogger("track_pipeline.tests").info("%s %d", sys.argv[1], number)
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = list(tmp_path.glob(f"{FILE}*"))
    written = [line.split(" - ")[-1] for file in files for line in file.read_text().splitlines()]
    assert len(files) > 2
    assert sorted(written) == sorted(f"{name} {number}" for name in "abc" for number in range(200))


def test_the_last_lines_are_whole_and_in_order(home: Path) -> None:
    assert last_lines(system_log(home), 5) == []
    for number in range(50):
        logger.info("line %d", number)
    path = system_log(home)
    assert [line.split()[-1] for line in last_lines(path, 3)] == ["47", "48", "49"]
    few = last_lines(path, 50, most_bytes=200)
    assert 0 < len(few) < 5
    assert all(line.startswith("[") for line in few)
