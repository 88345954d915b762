"""Settings: the demo needs none, production lists the missing ones, and no secret is shown."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import track_pipeline
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import OracleConnection, Settings, is_loopback, load_settings
from track_pipeline.domain.his.table import SYSTEMS
from track_pipeline.domain.hospital import Registry
from track_pipeline.errors import ConfigError

REGISTRY = load_registry()
SECRETS = {
    "API_TOKEN": "marked-token",
    "TRACK_HASH_KEY": "marked-hash-key-of-more-than-32-characters",
    "DB_PASSWORD": "marked-password",
    "DB_PASSWORD_TASY": "marked-password-tasy",
    "TRACK_LEDGER_URL": "postgresql://track:marked-ledger@db.example/track",
    "TRACK_ALERT_URLS": "mailtos://user:marked-alert@mail.example",
}
HMS_ONLY = {"DB_HMS_HOST": "hms.example", "DB_HMS_NAME": "PRD"}
PRODUCTION = {
    "TRACK_ENV": "production",
    "TRACK_HOSPITALS": "HMS",
    "ORGANIZATION_UUID": "00000000-0000-4000-8000-000000000001",
    "TRACK_SURVEYS_FILE": "surveys.toml",
    "DB_USERNAME": "reader",
    **HMS_ONLY,
    **SECRETS,
}
# What production of this one hospital can do without.
OPTIONAL = {"TRACK_ENV", "TRACK_HOSPITALS", "TRACK_LEDGER_URL", "TRACK_ALERT_URLS", "DB_PASSWORD_TASY"}


def load(**environ: str) -> Settings:
    return load_settings(environ, env_file=None)


def problem(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**environ)
    return str(caught.value)


def connection(settings: Settings, hospital: str, database: str) -> OracleConnection:
    return settings.connection(REGISTRY.hospital(hospital), database)


def missing(registry: Registry, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**environ).check_production(registry)
    return str(caught.value)


def test_an_empty_environment_is_the_demo() -> None:
    settings = load()

    assert settings.is_demo
    assert settings.sends
    assert settings.home == Path(".track")
    assert settings.hospitals == ()
    assert settings.hub == ""
    assert settings.ledger == f"sqlite:///{(Path.cwd() / '.track' / 'ledger.sqlite').as_posix()}"
    assert settings.person_key_secret


def test_variables_that_are_empty_are_not_set() -> None:
    assert load(TRACK_ENV="", TRACK_API_URL="", DB_HMS_HOST="", TRACK_NOW="") == load()


def test_variables_of_other_programs_are_not_minded() -> None:
    assert load(DB_HOST="elsewhere", DB_PORT="none", DB_NAME="shop", DB_USERNAME="x").connections == {}


@pytest.mark.parametrize(
    ("environ", "sends"),
    [
        ({}, True),
        ({"TRACK_DISPATCH": "dry-run"}, False),
        ({"TRACK_ENV": "production"}, False),
        ({"TRACK_ENV": "production", "TRACK_DISPATCH": "dry-run"}, False),
        ({"TRACK_ENV": "production", "TRACK_DISPATCH": "live"}, True),
    ],
)
def test_production_posts_only_when_it_is_told_to(environ: dict[str, str], sends: bool) -> None:
    assert load(**environ).sends is sends


@pytest.mark.parametrize(
    "url",
    [
        "https://api.track.co",
        "http://10.0.0.1:8000",
        "http://localhost.example",
        "http://127.0.0.1@api.track.co",
        "http://0.0.0.0:80",
        "localhost:8000",
        "http://[::1",
        "nonsense",
    ],
)
def test_the_demo_talks_to_nobody_but_this_machine(url: str) -> None:
    assert not is_loopback(url)
    assert "TRACK_API_URL: in demo only a loopback address is accepted" in problem(TRACK_API_URL=url)
    assert load(TRACK_ENV="production", TRACK_API_URL=url).api_url == url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000", "http://127.9.9.9"]
)
def test_the_demo_may_talk_to_this_machine(url: str) -> None:
    assert load(TRACK_API_URL=url).api_url == url


@pytest.mark.parametrize("name", ["TRACK_NOW", "TRACK_DEMO_DB"])
def test_production_refuses_what_is_for_the_demo(name: str) -> None:
    assert name in problem(TRACK_ENV="production", **{name: "2025-03-10T09:00:00Z"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRACK_ENV", "staging", "TRACK_ENV: Input should be 'demo' or 'production'"),
        ("TRACK_DISPATCH", "maybe", "TRACK_DISPATCH: Input should be 'dry-run' or 'live'"),
        ("TRACK_NOW", "2025-03-10T09:00:00", "TRACK_NOW: Input should have timezone info"),
        ("TRACK_NOW", "yesterday", "TRACK_NOW: Input should be a valid datetime"),
        ("TRACK_DEMO_VOLUME", "-1", "TRACK_DEMO_VOLUME: Input should be greater than or equal to 0"),
    ],
)
def test_a_mistake_is_named_by_its_variable(name: str, value: str, said: str) -> None:
    assert problem(**{name: value}).startswith(said)


def test_a_mistake_in_a_connection_is_named_by_its_variable() -> None:
    assert problem(DB_OTO_ING_HOST="oto.example", DB_OTO_ING_PORT="none").splitlines() == [
        "DB_OTO_ING_PORT: Input should be a valid integer, unable to parse string as an integer",
        "DB_OTO_ING_NAME: Field required",
    ]


def test_the_clock_may_be_fixed_in_the_demo() -> None:
    assert load(TRACK_NOW="2025-03-10T09:00:00-03:00").now == datetime(2025, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(("text", "codes"), [("HMS", ("HMS",)), ("HMS, HPC ,,HAC", ("HMS", "HPC", "HAC")), (" , ", ())])
def test_hospitals_are_a_list_with_commas(text: str, codes: tuple[str, ...]) -> None:
    settings = load(TRACK_HOSPITALS=text)

    assert settings.hospitals == codes
    assert set(REGISTRY.only(settings.hospitals).codes) == (set(codes) or set(REGISTRY.codes))


@pytest.mark.parametrize("name", ["es", "n", "sul_2", "a" * 31])
def test_a_hub_has_a_short_name(name: str) -> None:
    assert load(TRACK_HUB=name).hub == name


@pytest.mark.parametrize("name", ["ES", "2es", "_es", "es-1", "es/ne", "e s", "espírito", " es", "es\n", "a" * 32])
def test_a_hub_s_name_that_asset_keys_could_not_begin_with_is_one_clear_error(name: str) -> None:
    assert problem(TRACK_HUB=name) == (
        "TRACK_HUB: use a lower-case letter a-z, then at most 30 lower-case letters, digits and underscores, "
        "such as es or ne"
    )


def test_a_connection_is_host_port_and_service_name() -> None:
    settings = load(DB_HPM_HST_HOST="hst.example", DB_HPM_HST_PORT="1522", DB_HPM_HST_NAME="TASY", **HMS_ONLY)

    hst, hms = connection(settings, "HPM_HST", "HPM_HST"), connection(settings, "HMS", "HMS")
    assert (hst.host, hst.port, hst.name) == ("hst.example", 1522, "TASY")
    assert (hms.host, hms.port, hms.name) == ("hms.example", 1521, "PRD")


def test_a_hospital_s_own_connection_wins_over_its_database_s() -> None:
    shared = {"DB_HMSM_HOST": "hmsm.example", "DB_HMSM_NAME": "PRD"}
    own = {"DB_HMV_HOST": "hmv.example", "DB_HMV_NAME": "PRD"}

    assert connection(load(**shared), "HMV", "HMSM").host == "hmsm.example"
    assert connection(load(**shared, **own), "HMV", "HMSM").host == "hmv.example"
    assert connection(load(**shared, **own), "HMSM", "HMSM").host == "hmsm.example"


def test_another_hospital_s_database_is_read_where_that_database_is() -> None:
    settings = load(DB_HPC_HOST="hpc.example", DB_HPC_NAME="PRD", DB_HSL_HOST="hsl.example", DB_HSL_NAME="PRD")

    assert connection(settings, "HPC", "HPC").host == "hpc.example"
    assert connection(settings, "HPC", "HSL").host == "hsl.example"


def test_a_hospital_without_a_connection_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="HMV: set DB_HMSM_HOST, DB_HMSM_PORT and DB_HMSM_NAME"):
        connection(load(), "HMV", "HMSM")


def test_a_hospital_is_read_by_the_user_of_its_system() -> None:
    settings = load(**PRODUCTION, DB_USERNAME_TASY="tasy-reader")

    assert settings.credentials(REGISTRY.hospital("HMS"))[0] == "reader"
    assert settings.credentials(REGISTRY.hospital("HAC"))[0] == "tasy-reader"
    with pytest.raises(ConfigError, match="HAC: set DB_USERNAME_TASY and DB_PASSWORD_TASY"):
        load(**PRODUCTION).credentials(REGISTRY.hospital("HAC"))


def test_a_thick_driver_needs_the_client_libraries() -> None:
    thin = REGISTRY.hospital("HMS")
    thick = thin.model_copy(update={"driver": "thick"})
    given = load(**PRODUCTION, ORACLE_CLIENT_PATH="client")

    assert given.oracle_client(thin) is None
    assert given.oracle_client(thick) == Path("client")
    with pytest.raises(ConfigError, match="HMS: set ORACLE_CLIENT_PATH"):
        load(**PRODUCTION).oracle_client(thick)
    assert "ORACLE_CLIENT_PATH: thick driver of HMS" in missing(REGISTRY.model_copy(update={"hospitals": (thick,)}))


def test_production_with_everything_set_is_complete() -> None:
    load(**PRODUCTION).check_production(REGISTRY.only(("HMS",)))


@pytest.mark.parametrize(
    "name",
    sorted(PRODUCTION.keys() - {*OPTIONAL, *HMS_ONLY}),
)
def test_production_names_each_variable_that_is_missing(name: str) -> None:
    environ = {key: value for key, value in PRODUCTION.items() if key != name}

    lines = missing(REGISTRY.only(("HMS",)), **environ).splitlines()

    assert len(lines) == 2
    assert lines[1].strip().startswith(f"{name}: ")


def test_production_names_missing_databases_and_users_with_their_hospitals() -> None:
    said = missing(REGISTRY, **PRODUCTION)

    assert "DB_USERNAME_TASY: user that reads HPM_HST, HAC, HSMC" in said
    assert "DB_HMSM_HOST, _PORT, _NAME: database of HMSM" in said
    assert "DB_HMSM_HOST, _PORT, _NAME: database of HMV" in said
    assert "DB_OTO_ING_HOST, _PORT, _NAME: database of OTO_ING" in said
    assert "database of HMS\n" not in said
    assert not any(secret in said for secret in SECRETS.values())


def test_production_of_mv_hospitals_needs_no_tasy_user_and_the_other_way_round() -> None:
    assert "TASY" not in missing(REGISTRY.only(("HMS",)), TRACK_ENV="production")
    tasy = missing(REGISTRY.only(("HAC",)), TRACK_ENV="production")
    assert "DB_USERNAME_TASY: user that reads HAC" in tasy
    assert "DB_USERNAME:" not in tasy


def test_production_refuses_a_hash_key_that_can_be_guessed() -> None:
    said = problem(**PRODUCTION | {"TRACK_HASH_KEY": "marked-short"})

    assert said == "TRACK_HASH_KEY: give at least 32 random characters"


def test_the_person_keys_are_made_with_the_key_that_is_set() -> None:
    assert load(**PRODUCTION).person_key_secret == SECRETS["TRACK_HASH_KEY"]


def test_secrets_are_in_no_text_of_the_settings() -> None:
    settings = load(**PRODUCTION)

    for text in (repr(settings), str(settings), f"{settings}", str(settings.model_dump()), settings.model_dump_json()):
        assert "marked" not in text


def test_secrets_are_in_no_error() -> None:
    broken = PRODUCTION | {"TRACK_DISPATCH": "marked-dispatch", "DB_HMS_PORT": "marked-port", "TRACK_NOW": "marked-now"}

    assert "marked" not in problem(**broken)
    assert "marked" not in problem(**SECRETS, TRACK_API_URL="http://marked.example")


def test_a_dotenv_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# comment\nTRACK_HOSPITALS=HMS,HPC\nTRACK_HOME='a folder'\nDB_HMS_HOST=file.example\nDB_HMS_NAME=PRD\n"
        'DB_PASSWORD="p#ss w$rd"\nAPI_TOKEN=marked\n',
        encoding="utf-8",
    )

    settings = load_settings({"TRACK_HOSPITALS": "HAC", "DB_HMS_HOST": "environment.example"}, file)

    assert settings.hospitals == ("HAC",)
    assert settings.home == Path("a folder")
    assert connection(settings, "HMS", "HMS").host == "environment.example"
    assert connection(settings, "HMS", "HMS").name == "PRD"
    password = settings.users["mv"].password
    assert password is not None
    assert password.get_secret_value() == "p#ss w$rd"


@pytest.mark.parametrize(
    ("line", "value"),
    [("ab${cd}ef", "ab${cd}ef"), ("'ab #c'", "ab #c"), ('"ab #c"', "ab #c"), ("ab#c", "ab#c"), ("ab$HOME", "ab$HOME")],
)
def test_a_secret_of_the_dotenv_file_is_taken_as_it_is_written(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"DB_PASSWORD={line}\n", encoding="utf-8")
    password = load_settings({}, tmp_path / ".env").users["mv"].password
    assert password is not None
    assert password.get_secret_value() == value


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"TRACK_HASH_KEY=marked #def\n", "line 1: TRACK_HASH_KEY would end before the #"),
        (b"# c\nAPI_TOKEN='marked\nTRACK_ENV=production\n", "line 2: this is not NAME=value"),
        (b"DB_PASSWORD=marked\xe7\xe3o\n", "cannot be read as UTF-8"),
    ],
    ids=["cut off", "open quotation", "Latin-1"],
)
def test_a_dotenv_file_that_says_something_else_than_one_thinks_is_refused(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings({}, tmp_path / ".env")
    assert told in str(caught.value)
    assert "marked" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://track:x@ledger.example/track",
        "postgresql://track:x@127.0.0.1.evil.example/track",
        "postgresql://track:x@127.0.0.1/track?host=ledger.example",
        "postgresql://127.0.0.1,ledger.example/track",
        "postgresql:///track?hostaddr=10.0.0.7",
        "postgresql:///track?service=production",
    ],
)
def test_the_demo_takes_no_ledger_of_another_machine(url: str) -> None:
    assert "TRACK_LEDGER_URL: in demo" in problem(TRACK_LEDGER_URL=url)
    assert load(TRACK_ENV="production", TRACK_LEDGER_URL=url).ledger == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/track/ledger.sqlite",
        "postgresql://track:x@127.0.0.1:5432/track",
        "postgresql://track:x@localhost/track",
        "postgresql://track@[::1]:5432/track",
        "postgresql://postgres:@/postgres?host=/tmp/pg-1",
    ],
)
def test_a_ledger_on_this_machine_is_fine_for_the_demo(url: str) -> None:
    assert load(TRACK_LEDGER_URL=url).ledger == url


@pytest.mark.parametrize("url", ["postgresql://track:marked\u2100@127.0.0.1/track", "postgresql://track:marked@[/x"])
def test_a_ledger_s_address_that_cannot_be_taken_apart_is_refused_without_its_password(url: str) -> None:
    told = problem(TRACK_LEDGER_URL=url)
    assert "TRACK_LEDGER_URL: in demo" in told
    assert "marked" not in told


def test_the_demo_tells_nobody_outside_this_machine() -> None:
    assert "TRACK_ALERT_URLS: in demo" in problem(TRACK_ALERT_URLS="json://127.0.0.1:9/, mailtos://u:p@mail.example")
    assert load(TRACK_ALERT_URLS="json://127.0.0.1:9/").alert_urls


def test_the_process_environment_and_the_dotenv_file_of_the_folder_are_read_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACK_DEMO_SEED", raising=False)
    monkeypatch.setenv("TRACK_DEMO_VOLUME", "7")
    (tmp_path / ".env").write_text("TRACK_DEMO_SEED=5\nTRACK_DEMO_VOLUME=6\n", encoding="utf-8")

    settings = load_settings()

    assert (settings.demo_seed, settings.demo_volume) == (5, 7)


def test_overrides_win_over_everything(tmp_path: Path) -> None:
    assert load_settings({"TRACK_HOME": "elsewhere"}, None, TRACK_HOME=tmp_path).home == tmp_path


# The file that operators copy.

EXAMPLE = Path(track_pipeline.__file__).parents[1] / ".env.example"
ASSIGNMENT = re.compile(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def test_the_example_names_every_variable_once_and_no_other() -> None:
    named = [name for _, name, _ in ASSIGNMENT.findall(EXAMPLE.read_text(encoding="utf-8"))]

    fields = {str(field.alias) for field in Settings.model_fields.values()} - {"connections", "users"}
    aliases = {alias for each in REGISTRY.hospitals for alias in (each.code, each.database)}
    connections = {f"DB_{alias}_{part}" for alias in aliases for part in ("HOST", "PORT", "NAME")}
    users = {f"DB_{part}{each.credential_suffix}" for each in SYSTEMS.values() for part in ("USERNAME", "PASSWORD")}
    assert sorted(named) == sorted(fields | connections | users)


def test_the_example_as_it_is_sets_nothing() -> None:
    assert load_settings({}, EXAMPLE) == load()


def test_the_example_s_values_are_valid_and_hold_no_secret() -> None:
    values = {name: value for _, name, value in ASSIGNMENT.findall(EXAMPLE.read_text(encoding="utf-8")) if value}

    # In production alone there is somebody to tell, and a ledger elsewhere.
    in_demo = {name: value for name, value in values.items() if name not in ("TRACK_LEDGER_URL", "TRACK_ALERT_URLS")}
    assert load(**in_demo | {"TRACK_ENV": "demo"}).is_demo
    assert REGISTRY.only(load(**in_demo | {"TRACK_ENV": "demo"}).hospitals)
    assert values.keys().isdisjoint(SECRETS.keys() - {"TRACK_LEDGER_URL"})
    assert values["TRACK_LEDGER_URL"] == "postgresql://user:password@host:5432/track"


def test_alert_urls_are_split_at_commas_between_them_and_not_inside() -> None:
    urls = load(
        TRACK_ENV="production", TRACK_ALERT_URLS="mailto://h?to=a@x.example,b@x.example, slack://token,json://h"
    ).alert_urls
    assert [url.get_secret_value() for url in urls] == [
        "mailto://h?to=a@x.example,b@x.example",
        "slack://token",
        "json://h",
    ]
