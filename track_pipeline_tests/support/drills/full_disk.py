"""A full disk, simulated for one process: a write fails as soon as a file exceeds a given size.

It uses the limit of the file size of POSIX systems. Windows has no such limit.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

CAN_BE_FULL: Final = sys.platform != "win32"
needs_a_full_disk = pytest.mark.skipif(not CAN_BE_FULL, reason="Windows has no limit of a file's size")


def fill_up(room: int) -> int:
    """Limit every file that this process writes to `room` bytes; -1: no limit. Returns the previous limit."""
    if sys.platform == "win32":
        return -1
    import resource  # noqa: PLC0415 - Windows has no such module

    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal SIGXFSZ, so that the write fails with an error.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    return before


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit every file of this process to `size` bytes inside the block."""
    before = fill_up(size)
    try:
        yield
    finally:
        fill_up(before)
