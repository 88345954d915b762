"""The lake: the frame of a partition is written completely or not at all, and only its owner can read it."""

import errno
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from track_pipeline.adapters import lake as lake_module
from track_pipeline.adapters.lake import Lake, LakeError, NotInLake, make_private_folder
from track_pipeline.errors import TrackPipelineError
from track_pipeline_tests.support.builders import DAY, encounters
from track_pipeline_tests.support.drills.full_disk import needs_a_full_disk, room_for

PLACE = ("extract", "internacao", DAY, "HMS")
owner_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owner, group and other modes")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "home")


def files(lake: Lake) -> list[str]:
    return sorted(path.name for path in lake.root.rglob("*") if path.is_file())


def test_a_partition_has_a_file_of_its_own(lake: Lake, tmp_path: Path) -> None:
    expected = tmp_path / "home" / "lake" / "extract" / "internacao" / "2025-03-10" / "HMS.parquet"

    lake.write(encounters({}), *PLACE)

    assert lake.path(*PLACE) == expected
    assert expected.is_file()


def test_a_frame_comes_back_as_it_was_written(lake: Lake) -> None:
    frame = encounters({}, {"email": None, "setor": "ÁREA ção"})

    lake.write(frame, *PLACE)

    assert lake.read(*PLACE).equals(frame)
    assert lake.read(*PLACE).schema == frame.schema


def test_an_empty_frame_is_a_frame(lake: Lake) -> None:
    lake.write(encounters(), *PLACE)

    assert lake.read(*PLACE).equals(encounters())


def test_writing_replaces_what_was_there(lake: Lake) -> None:
    lake.write(encounters({}, {}), *PLACE)
    lake.write(encounters({}), *PLACE)

    assert lake.read(*PLACE).height == 1
    assert files(lake) == ["HMS.parquet"]


def test_partitions_do_not_touch_each_other(lake: Lake) -> None:
    lake.write(encounters({}), *PLACE)
    lake.write(encounters({}, {}), "extract", "internacao", DAY, "HMC")
    lake.write(encounters({}, {}, {}), "extract", "internacao", date(2025, 3, 11), "HMS")

    assert lake.read(*PLACE).height == 1


def test_a_frame_remembers_what_it_was_made_of_and_has_a_digest_of_its_own(lake: Lake) -> None:
    assert (lake.digest(*PLACE), lake.made_of(*PLACE)) == (None, None)

    lake.write(encounters({}), *PLACE)
    one = lake.digest(*PLACE)
    lake.write(encounters({"died": True}), *PLACE, made_of="another frame")
    other = lake.digest(*PLACE)
    lake.write(encounters({}), *PLACE)

    assert lake.digest(*PLACE) == one != other
    assert lake.made_of(*PLACE) is None
    lake.write(encounters({}), *PLACE, made_of="another frame")
    assert lake.made_of(*PLACE) == "another frame"


def test_rows_that_are_added_at_once_are_all_there(lake: Lake) -> None:
    def add(number: int) -> None:
        Lake(lake.root.parent).add(encounters({"encounter_id": number}), *PLACE)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(add, range(40)))) == 40

    assert sorted(lake.read(*PLACE).get_column("encounter_id")) == list(range(40))


def test_what_a_killed_process_left_of_a_file_goes_after_an_hour(lake: Lake) -> None:
    lake.write(encounters({}), *PLACE)
    left, growing = (lake.path(*PLACE).with_suffix(f".{name}.tmp") for name in ("left", "growing"))
    for path in (left, growing):
        path.touch()
    os.utime(left, (time.time() - 3_700,) * 2)

    assert lake.drop_unfinished() == 1
    assert files(lake) == ["HMS.growing.tmp", "HMS.parquet"]


def test_a_frame_that_was_never_written_names_the_asset_to_materialise(lake: Lake) -> None:
    with pytest.raises(NotInLake, match="HMS 2025-03-10: materialise extract/internacao first") as caught:
        lake.read(*PLACE)

    assert isinstance(caught.value, TrackPipelineError)
    assert lake.find(*PLACE) is None


@owner_only
def test_files_and_folders_are_for_their_owner_only(lake: Lake) -> None:
    before = os.umask(0)
    try:
        lake.write(encounters({}), *PLACE)
    finally:
        os.umask(before)

    path = lake.path(*PLACE)
    assert path.stat().st_mode & 0o777 == 0o600
    for folder in path.relative_to(lake.root.parent).parents:
        assert (lake.root.parent / folder).stat().st_mode & 0o777 == 0o700, folder


@owner_only
def test_folders_that_are_there_keep_their_modes(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "a" / "b")

    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_write_that_breaks_off_leaves_the_old_frame_and_nothing_else(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(encounters({}), *PLACE)
    whole = lake_module.open_private

    def disk_fills_up(path: Path) -> BinaryIO:
        with whole(path) as file:
            file.write(b"half a frame")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lake_module, "open_private", disk_fills_up)

    with pytest.raises(LakeError, match=r"extract/internacao .*No space left.*run the step again"):
        lake.write(encounters({}, {}), *PLACE)

    assert lake.read(*PLACE).equals(encounters({}))
    assert files(lake) == ["HMS.parquet"]


@pytest.mark.parametrize("kept", [0, 3, 500])
def test_a_damaged_file_is_named_with_what_to_do(lake: Lake, kept: int) -> None:
    lake.write(encounters({}), *PLACE)
    path = lake.path(*PLACE)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(LakeError, match=r"HMS 2025-03-10: the file of extract/internacao cannot be read.*materialise"):
        lake.read(*PLACE)


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(lake: Lake) -> None:
    lake.root.parent.mkdir()
    lake.root.touch()

    with pytest.raises(LakeError, match=r"could not be written to .*run the step again"):
        lake.write(encounters({}), *PLACE)


def test_a_reader_never_sees_a_half_written_frame(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(encounters({}), *PLACE)
    seen: list[int] = []
    whole = lake_module.open_private

    class ReadMeanwhile(BytesIO):
        """A file, of which half is on the disk while somebody reads the lake."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

        def __exit__(self, *_: object) -> None:
            content = self.getvalue()
            with whole(self.path) as file:
                file.write(content[: len(content) // 2])
                file.flush()
                seen.append(lake.read(*PLACE).height)
                file.write(content[len(content) // 2 :])

    monkeypatch.setattr(lake_module, "open_private", ReadMeanwhile)

    lake.write(encounters({}, {}), *PLACE)

    assert (seen, lake.read(*PLACE).height) == ([1], 2)


@needs_a_full_disk
@pytest.mark.parametrize("room", [0, 1, 500, -1])
def test_a_disk_that_fills_up_in_the_middle_of_a_file_is_told_in_plain_words(lake: Lake, room: int) -> None:
    lake.write(encounters({}), *PLACE)
    whole = lake.path(*PLACE).stat().st_size
    elsewhere = ("extract", "exames", DAY, "HMS")

    with room_for(room % whole), pytest.raises(LakeError, match=r"could not be written to .*File too large.*Free disk"):
        lake.write(encounters({}), *elsewhere)

    assert lake.find(*elsewhere) is None
    assert files(lake) == ["HMS.parquet"]
