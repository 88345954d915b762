"""The send window in the hospital's time zone, the validity of a survey, and the exact content of a line."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.adapters.track.lines import import_lines
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import Area
from track_pipeline.domain.calendar import end_of_validity, is_holiday, is_working_day, window_is_open, window_opens_at
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import SendWindow
from track_pipeline_tests.support.builders import Row, cpf, email_of, hospital, phone_of, planned

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
CUIABA = ZoneInfo("America/Cuiaba")
DEFAULT = SendWindow()
FIELDS = load_policy().line_fields

MONDAY, SATURDAY, SUNDAY = date(2025, 3, 10), date(2025, 3, 15), date(2025, 3, 16)
TIRADENTES = date(2025, 4, 21)  # a Monday


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute, second), SAO_PAULO)


@pytest.mark.parametrize(
    ("local", "is_open"),
    [
        pytest.param(at(MONDAY, 7, 59, 59), False, id="before it opens"),
        pytest.param(at(MONDAY, 8), True, id="when it opens"),
        pytest.param(at(MONDAY, 19, 59, 59), True, id="before it closes"),
        pytest.param(at(MONDAY, 20), False, id="when it closes"),
        pytest.param(at(SATURDAY, 12), True, id="Saturday"),
        pytest.param(at(SUNDAY, 12), False, id="Sunday"),
        pytest.param(at(TIRADENTES, 12), False, id="national holiday"),
    ],
)
def test_the_default_window_is_open_from_8_to_20_from_monday_to_saturday_without_holidays(
    local: datetime, is_open: bool
) -> None:
    assert window_is_open(DEFAULT, local) is is_open


def test_the_window_is_of_the_hospital_s_clock() -> None:
    instant = datetime(2025, 3, 10, 11, 30, tzinfo=UTC)

    assert window_is_open(DEFAULT, instant.astimezone(SAO_PAULO))
    assert not window_is_open(DEFAULT, instant.astimezone(CUIABA))


def test_a_hospital_may_widen_its_window() -> None:
    window = SendWindow(start=time(6), end=time(22, 30), weekdays=frozenset({6}), holidays=True)

    assert window_is_open(window, at(SUNDAY, 22, 29))
    assert window_is_open(SendWindow(holidays=True), at(TIRADENTES, 12))
    assert not window_is_open(window, at(MONDAY, 12))


@pytest.mark.parametrize(
    ("local", "opens"),
    [
        pytest.param(at(MONDAY, 12), at(MONDAY, 12), id="it is open"),
        pytest.param(at(MONDAY, 5), at(MONDAY, 8), id="later today"),
        pytest.param(at(MONDAY, 20), at(MONDAY + timedelta(days=1), 8), id="tomorrow"),
        pytest.param(at(SATURDAY, 21), at(date(2025, 3, 17), 8), id="after Sunday"),
        pytest.param(at(SUNDAY, 9), at(date(2025, 3, 17), 8), id="on Sunday"),
        pytest.param(at(date(2025, 4, 19), 20), at(date(2025, 4, 22), 8), id="after a Sunday and a holiday"),
    ],
)
def test_a_closed_window_opens_on_the_next_day_that_has_one(local: datetime, opens: datetime) -> None:
    assert window_opens_at(DEFAULT, local) == opens


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - the zone comes next
    st.sampled_from([SAO_PAULO, CUIABA, ZoneInfo("America/Noronha")]),
    st.sets(st.integers(0, 6), min_size=1),
)
@settings(max_examples=100, deadline=None)
def test_the_window_is_open_when_it_is_said_to_open_and_never_before(
    wall: datetime, zone: ZoneInfo, weekdays: set[int]
) -> None:
    window, local = SendWindow(weekdays=frozenset(weekdays)), wall.replace(tzinfo=zone)

    opens = window_opens_at(window, local)

    assert opens >= local
    assert window_is_open(window, opens)
    assert opens == local or not window_is_open(window, opens - timedelta(microseconds=1))


def test_holidays_are_the_national_ones() -> None:
    assert is_holiday(date(2026, 9, 7))
    assert is_holiday(date(2025, 4, 18)), "Good Friday moves"
    assert not is_holiday(date(2025, 1, 25)), "of the city of São Paulo only"
    assert [is_working_day(day) for day in (MONDAY, SATURDAY, SUNDAY, TIRADENTES)] == [True, True, False, False]


def test_a_survey_is_valid_to_the_last_second_of_its_last_day() -> None:
    end = end_of_validity(datetime(2025, 3, 10, 23, 30, tzinfo=CUIABA), 15)

    assert end == datetime(2025, 3, 25, 23, 59, 59, tzinfo=CUIABA)
    assert end.utcoffset() == timedelta(hours=-4)


def lines_of(*rows: Row, channel: str = "email", time_zone: str = "America/Sao_Paulo") -> list[dict[str, str | None]]:
    frame = planned(*rows).with_columns(send_id=pl.format("send-{}", "encounter_id"))
    return import_lines(frame, hospital(time_zone=time_zone), FIELDS[Channel(channel)])


# What is true of every channel's line; the contact and the customer's data come on top.
COMMON = {
    "send_id": "send-1",
    "cd_atendimento": "1",
    "unidade": "Hospital Exemplo",
    "area_pesquisa": "INTERNACAO",
    "setor": "INTERNACAO",
    "data_atendimento": "2025-03-08 09:00:00",
    "data_saida_alta": "2025-03-10 12:00:00",
}
CUSTOMER = {"name": "Pessoa Exemplo 1", "cpf": cpf(1), "medico": "Doutora Exemplo"}


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("email", COMMON | CUSTOMER | {"email": email_of(1)}),
        ("whatsapp", COMMON | CUSTOMER | {"phone": phone_of(1).removeprefix("+")}),
        ("link", COMMON),
    ],
)
def test_a_line_has_the_fields_of_its_channel_and_nothing_else(channel: str, expected: dict[str, str]) -> None:
    [line] = lines_of({}, channel=channel)

    assert line == expected
    assert list(line) == list(FIELDS[Channel(channel)])


def test_times_are_text_of_the_hospital_s_clock() -> None:
    [line] = lines_of({"attended_at": datetime(2025, 3, 1, 2, 30, tzinfo=UTC)}, time_zone="America/Cuiaba")

    assert line["data_atendimento"] == "2025-02-28 22:30:00"


def test_what_is_not_known_is_empty_text_but_a_missing_time_is_null() -> None:
    [line] = lines_of(
        {
            "patient_name": None,
            "doctor_name": None,
            "setor": None,
            "cpf_digits": None,
            "attended_at": None,
            "discharged_at": None,
        }
    )

    assert (line["name"], line["medico"], line["setor"], line["cpf"]) == ("", "", "", "")
    assert (line["data_atendimento"], line["data_saida_alta"]) == (None, None)


def test_areas_have_the_names_that_the_survey_knows() -> None:
    areas = [line["area_pesquisa"] for line in lines_of(*({"area": area.value} for area in Area))]

    assert areas == [area.label for area in Area]
    assert "PRONTO SOCORRO GERAL" in areas


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("  Ana\r\nExemplo\t\x00Souza ", "Ana Exemplo Souza"),
        ("Ana\u200f\u202e Exemplo", "Ana Exemplo"),
        ("Ana   Exemplo", "Ana Exemplo"),
        ("Conceição D'Ávila", "Conceição D'Ávila"),
        ("A" * 300, "A" * 200),
        ("\x07", ""),
    ],
)
def test_a_text_is_one_line_without_control_characters(typed: str, sent: str) -> None:
    [line] = lines_of({"patient_name": typed, "doctor_name": typed, "setor": typed})

    assert (line["name"], line["medico"], line["setor"]) == (sent, sent, sent)


def test_lines_keep_the_order_of_the_plan() -> None:
    assert [line["cd_atendimento"] for line in lines_of({"encounter_id": 9}, {"encounter_id": 4})] == ["9", "4"]


def test_no_lines_come_of_no_plan() -> None:
    assert lines_of() == []
