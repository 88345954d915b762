"""`track ui` serves pages behind the guard, or not at all. `test_browser.py` opens them."""

import pytest

from track_pipeline.errors import TrackPipelineError
from track_pipeline.hosting.ui import is_guarded
from track_pipeline_tests.support.production import free_port
from track_pipeline_tests.support.proxy import upstream


def test_a_server_that_does_not_answer_yet_is_asked_again() -> None:
    assert not is_guarded(f"http://127.0.0.1:{free_port()}")


def test_a_server_that_answers_a_forged_request_is_an_error_that_says_what_to_do() -> None:
    with upstream() as server, pytest.raises(TrackPipelineError, match=r"any web page could start runs.*pyproject"):
        is_guarded(f"http://127.0.0.1:{server.port}")
