"""The synthetic hospitals: repeatable, consistent between days, and with every kind of bad data that real ones have."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from polars.testing import assert_frame_equal

from track_pipeline.adapters.hospitals.duckdb import DuckDbReader
from track_pipeline.demo.his.system import Code, DatabaseProfile
from track_pipeline.demo.his.table import demo_system
from track_pipeline.demo.hospitals import synthetic_connector
from track_pipeline.demo.people import people
from track_pipeline.domain.hospital import Hospital

DAYS = [date(2026, 3, 9) + timedelta(days=offset) for offset in range(4)]
LATER = datetime(2026, 4, 20, 12, tzinfo=UTC)

MV_CODES: dict[str, tuple[Code, ...]] = {
    "tp_atendimento": ("A", "E", "I", "U"),
    "cd_ori_ate": (7, 9, 21, 46),
    "cd_mot_alt": (6, 7, 17, 18),
    "cd_tip_res": (1, 4, 11),
    "cd_servico": (1, 27),
    "cd_cid": ("O800", "O82", "Z380", "Z382"),
    "ori_cd_setor": (637,),
}
TASY_CODES: dict[str, tuple[Code, ...]] = {"cd_motivo_alta": (7, 16), "cd_setor_internacao": (54,)}
MV = DatabaseProfile("HXX", demo_system("mv"), (), MV_CODES)
SPLIT = DatabaseProfile("HWW", demo_system("mv"), (1, 2, 18), {})
TASY = DatabaseProfile("HYY", demo_system("tasy"), (1, 71, 81), TASY_CODES)
PROFILES = (MV, SPLIT, TASY)


def read(
    profile: DatabaseProfile, day: date, *, seed: int = 1, as_of: datetime = LATER, per_day: int = 300
) -> pl.DataFrame:
    hospital = hospital_of(profile.alias, profile.his)
    connect = synthetic_connector([profile], seed, lambda: as_of, per_day)
    return pl.concat(DuckDbReader(connect, {profile.alias: (profile.alias,)}).extract(hospital, day))


def hospital_of(alias: str, his: str) -> Hospital:
    unit = {"code": alias, "name": "Hospital", "surveys": ["internacao"]}
    return Hospital.model_validate(
        {"code": alias, "his": his, "database": alias, "time_zone": "America/Sao_Paulo", "unit": [unit]}
    )


@cache
def few_days(his: str) -> pl.DataFrame:
    """Four days of one database of that HIS."""
    return pl.concat(read(MV if his == "mv" else TASY, day) for day in DAYS)


def happens(frame: pl.DataFrame, what: pl.Expr) -> bool:
    return not frame.filter(what).is_empty()


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.alias)
def test_same_seed_gives_the_same_day(profile: DatabaseProfile) -> None:
    assert_frame_equal(read(profile, DAYS[0]), read(profile, DAYS[0]), check_row_order=False)


def test_another_seed_another_day_or_another_database_gives_other_people() -> None:
    usual = read(MV, DAYS[0])
    for other in (read(MV, DAYS[0], seed=2), read(MV, DAYS[1]), read(replace(MV, alias="HVV"), DAYS[0])):
        shared = usual.join(other, on="nr_cpf", how="semi").filter(pl.col("nr_cpf").is_not_null())
        assert shared.height < 0.1 * usual.height


@pytest.mark.parametrize("day", [date(2020, 2, 29), date(2024, 12, 31), date(2026, 11, 23)])
def test_any_day_has_its_encounters(day: date) -> None:
    decided = read(MV, day, as_of=datetime(2027, 1, 1, tzinfo=UTC)).filter(
        pl.when(pl.col("tp_atendimento").is_in(["I", "U"])).then("dt_alta").otherwise("dt_atendimento").dt.date() == day
    )
    assert decided.height == 300


def test_days_overlap_as_in_one_database() -> None:
    first, second = read(MV, DAYS[0]), read(MV, DAYS[1])
    both = first.join(second, on="cd_atendimento", suffix="_next")
    assert both.height > 0
    assert both.filter(pl.col("nm_paciente") != pl.col("nm_paciente_next")).is_empty()


def test_some_who_came_that_day_are_decided_by_another() -> None:
    came = pl.concat(read(MV, day).filter(pl.col("dt_atendimento").dt.date() == day) for day in DAYS)
    assert happens(came, (pl.col("tp_atendimento") == "I") & (pl.col("dt_alta") > pl.col("dt_atendimento")))
    left = pl.concat(read(MV, day).filter(pl.col("dt_atendimento").dt.date() < day) for day in DAYS)
    assert happens(left, pl.col("tp_atendimento").is_in(["A", "E"]))


def test_a_discharge_typed_later_shows_later() -> None:
    day = DAYS[0]
    per_day, next_morning = 3000, datetime(2026, 3, 10, 11, tzinfo=UTC)
    early, late = (read(MV, day, as_of=as_of, per_day=per_day) for as_of in (next_morning, LATER))
    new = late.filter(pl.col("dt_alta").dt.date() == day).join(early, on="cd_atendimento", how="anti")
    stays = late.filter((pl.col("tp_atendimento") == "I") & (pl.col("dt_alta").dt.date() == day))
    assert 0 < new.height < 0.05 * stays.height
    assert new["tp_atendimento"].unique().to_list() == ["I"]
    appeared = [
        read(MV, day, as_of=next_morning + timedelta(days=days), per_day=per_day).join(new, on="cd_atendimento").height
        for days in range(4)
    ]
    assert appeared == sorted(appeared)
    assert (appeared[0], appeared[-1]) == (0, new.height)


def test_the_same_person_is_in_two_areas_and_in_two_hospitals_on_one_day() -> None:
    person = ["nr_cpf", "day"]
    mv = pl.concat(read(profile, day).with_columns(day=pl.lit(day)) for profile in (MV, SPLIT) for day in DAYS)
    known = mv.filter(pl.col("nr_cpf").is_not_null()).group_by(person)
    places = known.agg(pl.col("database").n_unique(), pl.col("tp_atendimento").n_unique())
    assert happens(places, pl.col("database") > 1)
    assert happens(places, pl.col("tp_atendimento") > 1)
    tasy = pl.concat(read(TASY, day).with_columns(day=pl.lit(day)) for day in DAYS)
    assert tasy.join(mv, left_on=["cpf", "day"], right_on=person, how="semi").height > 0


def test_people_come_back_on_other_days() -> None:
    visits = few_days("mv").drop_nulls("nr_cpf").group_by("nr_cpf").agg(pl.col("dt_atendimento").n_unique())
    assert happens(visits, pl.col("dt_atendimento") > 1)


EMAIL, NUMBER, DDI = pl.col("email"), pl.col("nr_celular"), pl.col("nr_ddi_celular")
DIED_BY_FLAG = pl.col("tp_mot_alta") == "O"


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(EMAIL.is_null() & NUMBER.is_not_null(), id="no e-mail"),
        pytest.param(NUMBER.is_null() & EMAIL.is_not_null(), id="no phone"),
        pytest.param(EMAIL.is_null() & NUMBER.is_null(), id="no contact"),
        pytest.param(pl.col("nr_cpf").is_null(), id="no CPF"),
        pytest.param(pl.col("nr_cpf").str.contains(r"^\d{3}\.\d{3}\.\d{3}-\d\d$"), id="CPF with points"),
        pytest.param(NUMBER.str.contains(r"^3\d{7}$"), id="landline"),
        pytest.param(NUMBER.str.contains(r"^[6-9]\d{7}$"), id="mobile without the ninth digit"),
        pytest.param((DDI == "55") & NUMBER.str.contains(r"^55\d{11}$"), id="doubled country code"),
        pytest.param(NUMBER.str.contains(r"^\+55 \(\d\d\) 9\d{4}-\d{4}$"), id="formatted"),
        pytest.param(DDI == "351", id="foreign"),
        pytest.param(NUMBER == "99999-9999", id="nines"),
        pytest.param(EMAIL == "naotem@naotem.com", id="placeholder e-mail"),
        pytest.param(EMAIL.str.to_uppercase() == EMAIL, id="upper-case e-mail"),
        pytest.param(~EMAIL.str.contains("@"), id="broken e-mail"),
        pytest.param(pl.col("nm_paciente").str.contains("TESTE"), id="test patient"),
        pytest.param(pl.col("nm_paciente").str.starts_with("RN "), id="newborn"),
        pytest.param(pl.col("qt_filhos") == 2, id="twins"),
        pytest.param(pl.col("cd_mot_alt").is_in([6, 17]) & DIED_BY_FLAG, id="death by motive and flag"),
        pytest.param(pl.col("cd_mot_alt").is_in([7, 18]) & ~DIED_BY_FLAG, id="motive on the list without flag"),
        pytest.param(~pl.col("cd_mot_alt").is_in([6, 7, 17, 18]) & DIED_BY_FLAG, id="death by flag alone"),
        pytest.param(pl.col("sn_obito") == "S", id="death by result"),
        pytest.param(pl.col("cd_prestador").is_null() & pl.col("nm_prestador").is_null(), id="no doctor"),
        pytest.param(pl.col("cd_ori_ate").is_null() & pl.col("ds_ori_ate").is_null(), id="no origin"),
        pytest.param((pl.col("tp_atendimento") == "I") & pl.col("cd_mot_alt").is_null(), id="no motive"),
        pytest.param(pl.col("cd_cid").is_in(["F329", "O021", "Z651"]), id="delicate reason"),
        pytest.param(pl.col("cd_cid") == "J189", id="everyday reason"),
        pytest.param(pl.col("ori_cd_setor") == 637, id="sector of the origin"),
        pytest.param(pl.col("dt_alta").is_null(), id="not discharged"),
    ],
)
def test_mv_has(what: pl.Expr) -> None:
    assert happens(few_days("mv"), what)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(pl.col("dt_cancelamento").is_not_null(), id="cancelled"),
        pytest.param(pl.col("idade") == 0, id="newborn"),
        pytest.param(pl.col("idade").is_between(1, 17), id="minor"),
        pytest.param(pl.col("nm_paciente").str.contains("TESTE"), id="test patient"),
        pytest.param(pl.col("cd_medico_resp").is_null() & pl.col("nm_medico").is_null(), id="no doctor"),
        pytest.param(pl.col("cd_setor_internacao") == 54, id="maternity ward"),
        pytest.param(pl.col("nr_atendimento").is_duplicated(), id="two wards of one name"),
        pytest.param(pl.col("cd_motivo_alta").is_in([7, 16]), id="motive on the list"),
        pytest.param(pl.col("cd_motivo_alta").is_null(), id="no motive"),
        pytest.param(pl.col("telefone").str.contains(r"^\d{2}9\d{8}$"), id="clean mobile"),
        pytest.param(pl.col("telefone").str.starts_with("+351 "), id="foreign"),
        pytest.param(pl.col("telefone").str.contains(r"^55\d{11}$"), id="country code"),
        pytest.param(pl.col("telefone").is_null(), id="no phone"),
        pytest.param(pl.col("dt_alta") == pl.col("dt_alta").dt.truncate("1d"), id="midnight"),
    ],
)
def test_tasy_has(what: pl.Expr) -> None:
    assert happens(few_days("tasy"), what)


def test_the_front_desks_phone_is_on_many_registrations_of_a_day() -> None:
    numbers = read(MV, DAYS[0]).filter(NUMBER.str.contains(r"^9\d{8}$"))["nr_celular"].value_counts()
    assert happens(numbers, pl.col("count") > 3)


def test_newborns_have_their_mothers_stay_and_contacts() -> None:
    frame = few_days("mv")
    children = frame.filter(pl.col("cd_atendimento_pai").is_not_null())
    shared = ["dt_alta", "cd_multi_empresa", "email", "nr_celular"]
    both = children.join(frame, left_on="cd_atendimento_pai", right_on="cd_atendimento", suffix="_of_mother")
    assert both.height == children.height
    for name in shared:
        assert both[name].equals(both[f"{name}_of_mother"], null_equal=True)
    assert both["tp_atendimento_of_mother"].unique().to_list() == ["I"]
    assert both.filter(pl.col("qt_filhos_of_mother") == 0).is_empty()


def test_companies_in_use_have_most_encounters_and_others_few() -> None:
    counts = dict(read(SPLIT, DAYS[0])["cd_multi_empresa"].value_counts().iter_rows())
    assert set(counts) == {1, 2, 18, 19}
    assert counts[19] < 0.1 * sum(counts.values())


def test_a_new_hospital_needs_no_codes() -> None:
    frame = read(DatabaseProfile("H13", demo_system("mv"), (), {}), DAYS[0])
    assert set(frame["tp_atendimento"]) == {"A", "E", "I", "U"}
    assert happens(frame, DIED_BY_FLAG | (pl.col("sn_obito") == "S"))


@pytest.mark.parametrize("profile", [MV, TASY], ids=["mv", "tasy"])
def test_a_day_may_have_a_hundred_thousand_encounters(profile: DatabaseProfile) -> None:
    reader = DuckDbReader(synthetic_connector([profile], 1, lambda: LATER, 100_000), {profile.alias: (profile.alias,)})
    assert sum(batch.height for batch in reader.extract(hospital_of(profile.alias, profile.his), DAYS[0])) > 90_000


def test_people_have_valid_taxpayer_numbers_and_distinct_contacts() -> None:
    crowd = people(2000, "a crowd")
    for column in ("cpf", "email", "mobile"):
        assert crowd[column].n_unique() > 0.99 * crowd.height
    assert all(is_cpf(number) for number in crowd["cpf"])
    assert people(10, "a crowd").equals(crowd.head(10))


def is_cpf(number: str) -> bool:
    digits = [int(digit) for digit in number]
    sums = (sum(digit * (length + 1 - place) for place, digit in enumerate(digits[:length])) for length in (9, 10))
    return len(digits) == 11 and [total * 10 % 11 % 10 for total in sums] == digits[9:]


def test_clean_emails_are_accepted_by_the_validator_and_broken_ones_are_not() -> None:
    for address in people(50, "a crowd")["email"]:
        assert validate_email(address, check_deliverability=False).normalized == address
    broken = few_days("mv").filter(~EMAIL.str.contains(r"(?i)^[\w.]+@[\w-]+\.com(\.br)?$"))["email"].unique()
    assert broken.len() > 0
    for address in broken:
        with pytest.raises(EmailNotValidError):
            validate_email(address, check_deliverability=False)
