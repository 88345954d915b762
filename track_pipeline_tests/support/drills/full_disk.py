"""A disk that is full, as a process sees it: writing fails in the middle of a file, once that has so many bytes.

It is the limit of a file's size that POSIX systems have; Windows has none.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

CAN_BE_FULL: Final = sys.platform != "win32"
needs_a_full_disk = pytest.mark.skipif(not CAN_BE_FULL, reason="Windows has no limit of a file's size")


def fill_up(room: int) -> int:
    """Lets this process write no byte beyond the first `room` of any file; -1: no limit. Returns what held before."""
    if sys.platform == "win32":
        return -1
    import resource  # noqa: PLC0415 - there is none on Windows

    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal that comes with it, so that the write fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    return before


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """A disk on which no file of this process can be longer."""
    before = fill_up(size)
    try:
        yield
    finally:
        fill_up(before)
