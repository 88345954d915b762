"""Settings from the environment or a `.env` file, under the original system's names where it had them.

Reading them uses no network and no database. Values that are the same for every installation are elsewhere: hospitals
in the registry, rules in `rules/`, limits in `policy.toml`.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from track_pipeline.domain.his.table import SYSTEMS, system
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.errors import ConfigError

PRODUCTION_API = "https://api.track.co"
_DEMO_HASH_KEY = "demo"
_LEAST_HASH_KEY = 32
_CONNECTION = re.compile(r"DB_([A-Z][A-Z0-9_]*)_(HOST|PORT|NAME)")
_CUT_OFF = re.compile(r"\s#")
_QUOTED = re.compile(r"=\s*['\"]")
_HUB = re.compile(r"[a-z][a-z0-9_]{0,30}")


def _codes(value: object) -> object:
    return tuple(code.strip() for code in value.split(",") if code.strip()) if isinstance(value, str) else value


def _hub(value: str) -> str:
    if value and not _HUB.fullmatch(value):
        raise ValueError(
            "use a lower-case letter a-z, then at most 30 lower-case letters, digits and underscores, such as es or ne"
        )
    return value


def _secrets(value: object) -> object:
    """Split a list of URLs at each comma before a new scheme, since a URL may hold commas."""
    return tuple(re.split(r",\s*(?=[a-zA-Z][a-zA-Z0-9+.-]*://)", value.strip())) if isinstance(value, str) else value


class OracleConnection(BaseModel):
    """The address of one database: `DB_<ALIAS>_HOST`, `_PORT`, `_NAME` (service name)."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 1521
    name: str


class DatabaseUser(BaseModel):
    """The user that reads the databases of one HIS: `DB_USERNAME` and `DB_PASSWORD`, each with the system's suffix."""

    model_config = ConfigDict(frozen=True)

    username: str | None = None
    password: SecretStr | None = None


class Settings(BaseModel):
    """All settings; each field's alias is its environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    env: Literal["demo", "production"] = Field("demo", alias="TRACK_ENV")
    home: Path = Field(Path(".track"), alias="TRACK_HOME")
    api_url: str | None = Field(None, alias="TRACK_API_URL")
    api_mapping: Path | None = Field(None, alias="TRACK_API_MAPPING")
    ledger_url: SecretStr | None = Field(None, alias="TRACK_LEDGER_URL")
    dispatch_mode: Literal["dry-run", "live"] | None = Field(None, alias="TRACK_DISPATCH")
    hospitals: Annotated[tuple[str, ...], BeforeValidator(_codes)] = Field((), alias="TRACK_HOSPITALS")
    # Prefix of the asset keys if several installations share one Dagster; empty if there is only one.
    hub: Annotated[str, AfterValidator(_hub)] = Field("", alias="TRACK_HUB")
    surveys_file: Path | None = Field(None, alias="TRACK_SURVEYS_FILE")
    hash_key: SecretStr | None = Field(None, alias="TRACK_HASH_KEY")
    organization_uuid: str | None = Field(None, alias="ORGANIZATION_UUID")
    api_token: SecretStr | None = Field(None, alias="API_TOKEN")
    oracle_client_path: Path | None = Field(None, alias="ORACLE_CLIENT_PATH")
    # Addresses in apprise's format (mailtos://..., msteams://..., slack://..., whatsapp://...); they hold tokens.
    alert_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)] = Field((), alias="TRACK_ALERT_URLS")
    # Address of Dagster's web interface, for the links in alerts and on the status page.
    ui_url: str = Field("", alias="TRACK_UI_URL")
    now: AwareDatetime | None = Field(None, alias="TRACK_NOW")
    demo_db: Path | None = Field(None, alias="TRACK_DEMO_DB")
    demo_seed: int = Field(1, alias="TRACK_DEMO_SEED")
    demo_volume: Annotated[int, Field(ge=0, le=100_000)] = Field(300, alias="TRACK_DEMO_VOLUME")
    # Alias or hospital code to its connection, from DB_<ALIAS>_HOST, _PORT and _NAME.
    connections: Mapping[str, OracleConnection] = Field(default_factory=dict, alias="connections")
    # Key of a HIS to the user that reads its databases, from DB_USERNAME and DB_PASSWORD with the system's suffix.
    users: Mapping[str, DatabaseUser] = Field(default_factory=dict, alias="users")

    @model_validator(mode="after")
    def _fits_the_environment(self) -> Self:
        if self.env == "demo" and self.api_url and not is_loopback(self.api_url):
            raise ValueError("TRACK_API_URL: in demo only a loopback address is accepted; set TRACK_ENV=production")
        if self.env == "demo" and self.ledger_url and not _is_here(self.ledger_url.get_secret_value()):
            raise ValueError(
                "TRACK_LEDGER_URL: in demo only a database on this machine is accepted; set TRACK_ENV=production"
            )
        if self.env == "demo" and not all(is_loopback(url.get_secret_value()) for url in self.alert_urls):
            raise ValueError("TRACK_ALERT_URLS: in demo only loopback addresses are accepted; set TRACK_ENV=production")
        if self.env == "production" and (self.now or self.demo_db):
            raise ValueError("TRACK_NOW and TRACK_DEMO_DB are for the demo only; unset them in production")
        if self.env == "production" and self.hash_key and len(self.hash_key) < _LEAST_HASH_KEY:
            # A short key can be guessed; then the key of every CPF can be calculated.
            raise ValueError(f"TRACK_HASH_KEY: give at least {_LEAST_HASH_KEY} random characters")
        return self

    @property
    def is_demo(self) -> bool:
        """Whether hospitals and Track.co are synthetic."""
        return self.env == "demo"

    @property
    def sends(self) -> bool:
        """Whether dispatches POST: `TRACK_DISPATCH=live`, the default in demo; production defaults to `dry-run`."""
        return (self.dispatch_mode or ("live" if self.is_demo else "dry-run")) == "live"

    @property
    def ledger(self) -> str:
        """The ledger's database URL; SQLite under `TRACK_HOME` unless `TRACK_LEDGER_URL` is set."""
        if self.ledger_url:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{(self.home / 'ledger.sqlite').absolute().as_posix()}"

    @property
    def person_key_secret(self) -> str:
        """The secret of the person keys; if it changes, no known person is recognised any more.

        Raises ConfigError when it is missing in production: the demo's secret is public and protects nothing.
        """
        if self.hash_key is None and not self.is_demo:
            raise ConfigError("TRACK_HASH_KEY is not set; set it to the secret of the person keys")
        return self.hash_key.get_secret_value() if self.hash_key else _DEMO_HASH_KEY

    def connection_alias(self, hospital: Hospital, database: str) -> str:
        """Return the `<ALIAS>` of the `DB_<ALIAS>_*` variables with which a hospital reads a database.

        It is the hospital's code, if the database is its own and these variables are set; else the database's alias.
        """
        is_own = database == hospital.database and hospital.code in self.connections
        return hospital.code if is_own else database

    def connection(self, hospital: Hospital, database: str) -> OracleConnection:
        """Return the address of a hospital's database. Raises ConfigError naming the variables to set."""
        found = self.connections.get(self.connection_alias(hospital, database))
        if found is None:
            raise ConfigError(f"{hospital.code}: set DB_{database}_HOST, DB_{database}_PORT and DB_{database}_NAME")
        return found

    def credentials(self, hospital: Hospital) -> tuple[str, SecretStr]:
        """Return user and password for a hospital's databases. Raises ConfigError naming the variables to set."""
        user = self._user(hospital.his)
        if user.username is None or user.password is None:
            raise ConfigError(f"{hospital.code}: set {' and '.join(_user_variables(hospital.his).values())}")
        return user.username, user.password

    def _user(self, his: str) -> DatabaseUser:
        return self.users.get(his, DatabaseUser())

    def oracle_client(self, hospital: Hospital) -> Path | None:
        """Return the folder of the Oracle Client libraries; None for the thin driver.

        Raises ConfigError when a hospital with the thick driver has none.
        """
        if hospital.driver == "thin":
            return None
        if self.oracle_client_path is None:
            raise ConfigError(f"{hospital.code}: set ORACLE_CLIENT_PATH, which its driver needs in thick mode")
        return self.oracle_client_path

    def check_production(self, registry: Registry) -> None:
        """Raise ConfigError naming every variable that production lacks, with its hospital."""
        missing = [f"{name}: {why}" for name, why in self._missing(registry)]
        if missing:
            raise ConfigError("TRACK_ENV=production, but these are not set:\n  " + "\n  ".join(missing))

    def _missing(self, registry: Registry) -> list[tuple[str, str]]:
        required: list[tuple[object, str, str]] = [
            (self.organization_uuid, "ORGANIZATION_UUID", "the organisation at Track.co"),
            (self.api_token, "API_TOKEN", "Track.co's bearer token"),
            (self.surveys_file, "TRACK_SURVEYS_FILE", "surveys and templates per unit"),
            (self.hash_key, "TRACK_HASH_KEY", f"the secret of the person keys, {_LEAST_HASH_KEY} or more characters"),
        ]
        for his in SYSTEMS:
            user, names = self._user(his), _user_variables(his)
            readers = ", ".join(hospital.code for hospital in registry.hospitals if hospital.his == his)
            if readers:
                required += [
                    (user.username, names["username"], f"user that reads {readers}"),
                    (user.password, names["password"], f"password of the user that reads {readers}"),
                ]
        for hospital in registry.hospitals:
            found = self.connections.get(self.connection_alias(hospital, hospital.database))
            required.append((found, f"DB_{hospital.database}_HOST, _PORT, _NAME", f"database of {hospital.code}"))
            if hospital.driver == "thick":
                required.append((self.oracle_client_path, "ORACLE_CLIENT_PATH", f"thick driver of {hospital.code}"))
        return [(name, why) for value, name, why in required if not value]


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine, by name or literal address (without a DNS lookup)."""
    # The connecting library ends the host at a backslash; the parser below does not.
    if "\\" in url:
        return False
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_here(database_url: str) -> bool:
    """Return whether a database is a file, or a server on this machine: a loopback address or a socket's folder."""
    try:
        parts = urlsplit(database_url)
    except ValueError:
        # The error is not passed on: its text may quote the password.
        return False
    if parts.scheme.startswith("sqlite"):
        return True
    query = parse_qs(parts.query)
    named = [
        host for key in ("host", "hostaddr", "service") for value in query.get(key, []) for host in value.split(",")
    ]
    in_url = [parts.netloc.rpartition("@")[2].rpartition(":")[0] or parts.hostname] if parts.hostname else []
    hosts = [host for host in (*named, *in_url) if host]
    return all(host.startswith("/") or is_loopback(f"//{host}") for host in hosts)


def load_settings(
    environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env"), **overrides: object
) -> Settings:
    """Read settings from `.env`, the environment and `overrides` (by variable name); the later source wins.

    Raises ConfigError with one line per problem, without values.
    """
    values: dict[str, Any] = _read(env_file) if env_file and env_file.exists() else {}
    values |= os.environ if environ is None else environ
    values = {name: value for name, value in values.items() if value not in (None, "")}
    found = {"connections": _connections(values), "users": _users(values | overrides)}
    try:
        return Settings.model_validate(values | found | overrides)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise ConfigError(
            "\n".join(_variable(problem["loc"]) + problem["msg"].removeprefix("Value error, ") for problem in problems)
        ) from None


def _read(file: Path) -> dict[str, str | None]:
    """Read the variables of a `.env` file as written. Raises ConfigError for a line that could be misread.

    `${...}` is not replaced, since a password may hold it.
    """
    try:
        with file.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.name} cannot be read as UTF-8 ({type(error).__name__})") from None
    for binding in bindings:
        line, text = binding.original.line, binding.original.string.strip()
        if binding.error:
            raise ConfigError(f"{file.name}, line {line}: this is not NAME=value; check for a missing quotation mark")
        if binding.value and binding.value[0] not in "'\"" and _CUT_OFF.search(text) and not _QUOTED.search(text):
            raise ConfigError(
                f"{file.name}, line {line}: {binding.key} would end before the #; put the value between '', "
                "or the comment on a line of its own"
            )
    return {binding.key: binding.value for binding in bindings if binding.key}


def _variable(location: tuple[int | str, ...]) -> str:
    """Return the variable of a problem as a line's prefix; empty when the message names the variable."""
    match location:
        case ("connections", alias, part):
            return f"DB_{alias}_{str(part).upper()}: "
        case ("users", his, part):
            return f"{_user_variables(str(his))[str(part)]}: "
        case (name, *_):
            return f"{name}: "
        case _:
            return ""


def _connections(values: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        if match := _CONNECTION.fullmatch(name):
            found.setdefault(match[1], {})[match[2].lower()] = value
    return {alias: parts for alias, parts in found.items() if "host" in parts or "name" in parts}


def _user_variables(his: str) -> dict[str, str]:
    """Return each field of `DatabaseUser` with its environment variable, for the user of that HIS."""
    suffix = system(his).credential_suffix
    return {"username": f"DB_USERNAME{suffix}", "password": f"DB_PASSWORD{suffix}"}


def _users(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    return {
        his: {part: values[name] for part, name in _user_variables(his).items() if name in values} for his in SYSTEMS
    }
