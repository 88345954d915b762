"""The error text of a failed step: sentences of this project, without values of rows."""

import traceback

import dagster as dg
import polars as pl
import pytest

from track_pipeline.adapters.track.lines import import_lines
from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.errors import ConfigError, TrackPipelineError
from track_pipeline.ports import SourceError
from track_pipeline_tests.support.builders import hospital

SECRET = "Maria Segredo de Teste"


def failure_of(error: BaseException) -> dg.Failure:
    with pytest.raises(dg.Failure) as caught, told_to_the_operator():
        raise error
    return caught.value


@pytest.mark.parametrize("error", [ConfigError("API_TOKEN is not set"), TrackPipelineError("nothing was sent")])
def test_an_error_of_our_own_is_told_as_it_is_and_not_retried(error: TrackPipelineError) -> None:
    failure = failure_of(error)
    assert failure.description == str(error)
    assert not failure.allow_retries


@pytest.mark.parametrize("transient", [True, False])
def test_only_a_passing_fault_of_a_hospitals_database_may_be_retried(*, transient: bool) -> None:
    failure = failure_of(SourceError("HMS", "the listener refused", "try again later", transient=transient))
    assert failure.allow_retries is transient
    assert failure.description == "database HMS: the listener refused; try again later"


def test_a_failure_that_a_step_made_itself_passes() -> None:
    made = dg.Failure("made", allow_retries=True)
    assert failure_of(made) is made


def test_of_any_other_error_only_kind_and_place_are_told() -> None:
    failure = failure_of(ValueError(f"could not convert {SECRET!r}"))
    assert failure.description is not None
    assert failure.description.startswith("Unexpected builtins.ValueError at ")
    assert not failure.allow_retries
    assert SECRET not in "".join(traceback.format_exception(failure))


def test_a_panic_of_polars_is_told_without_its_text_too() -> None:
    panic = type("PanicException", (BaseException,), {})
    failure = failure_of(panic(f"called unwrap on {SECRET!r}"))
    assert "PanicException" in str(failure.description)
    assert SECRET not in "".join(traceback.format_exception(failure))


def test_the_place_is_the_innermost_of_our_own_code() -> None:
    lines = pl.DataFrame({"area": [SECRET]})
    with pytest.raises(dg.Failure) as caught, told_to_the_operator():
        import_lines(lines, hospital(), ["area_pesquisa"])
    assert caught.value.description is not None
    assert "lines.py" in caught.value.description
    assert "in import_lines" in caught.value.description
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interruption_is_not_dressed_up_as_a_failure(interruption: BaseException) -> None:
    with pytest.raises(type(interruption)), told_to_the_operator():
        raise interruption
