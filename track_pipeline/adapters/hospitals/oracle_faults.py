"""The table of faults of an Oracle database: the cause, the next step, and whether a later attempt may help.

Drivers wrap the specific error (DPY-6005 around DPY-6001) and quote values in their texts. Therefore a fault is found
by code along the chain of causes, and its text only holds codes and names of tables, columns and functions.
"""

import re
from collections.abc import Iterator
from typing import Final

import oracledb
from pydantic import BaseModel, ConfigDict

_ORA_CODE: Final = re.compile(r"ORA-\d{5}")
# Object names of a statement, as Oracle quotes them in the messages of `_NAMING_OBJECTS`, which quote nothing else.
_OBJECT_NAME: Final = re.compile(r'"[A-Z0-9_$#]+"(?:\."[A-Z0-9_$#]+")*')
_NAMING_OBJECTS: Final = ("ORA-00942", "ORA-00904")


class TooManyRowsError(Exception):
    """A hospital-day has more rows than the policy allows; all its rows are rejected, never only a part."""


class Fault(BaseModel):
    """A row of the table. In `next_step`, `{alias}` and `{suffix}` complete the names of the variables to check."""

    model_config = ConfigDict(frozen=True)

    cause: str
    next_step: str
    transient: bool = False


# By code (DPY- and DPI- of the driver, ORA- of the database or, in thick mode, of Oracle's client), or by the name
# of an exception where there is no code.
_TABLE: Final[tuple[tuple[tuple[str, ...], Fault], ...]] = (
    (
        ("ConnectionRefusedError", "ORA-12541"),
        Fault(
            cause="nothing listens there (connection refused)",
            next_step="start the listener, or correct DB_{alias}_HOST and DB_{alias}_PORT",
            transient=True,
        ),
    ),
    (
        ("gaierror", "ORA-12545"),
        Fault(
            cause="the host name is unknown",
            next_step="correct DB_{alias}_HOST, or repair name resolution or the VPN",
            transient=True,
        ),
    ),
    (
        ("TimeoutError", "ORA-12170", "ORA-12535"),
        Fault(
            cause="no session within connect_seconds: a firewall drops the packets, or the listener hangs",
            next_step="check firewall, VPN and listener; the limit is in policy.toml, [source]",
            transient=True,
        ),
    ),
    (
        ("OSError",),
        Fault(
            cause="the host cannot be reached",
            next_step="check network, VPN and DB_{alias}_HOST",
            transient=True,
        ),
    ),
    (
        ("TimeoutExpired",),
        Fault(
            cause="the day was not read within total_seconds, so the reading was stopped",
            next_step="ask the database's administrator what the session waited for; "
            "the limit is in policy.toml, [source]",
            transient=True,
        ),
    ),
    (
        ("DPY-4024",),
        Fault(
            cause="the database did not answer the statement within statement_seconds",
            next_step="ask the database's administrator for the statement's plan; "
            "the limit is in policy.toml, [source]",
            transient=True,
        ),
    ),
    (
        ("DPY-6001", "ORA-12514"),
        Fault(
            cause="the listener does not know the service",
            next_step="wait if the database is starting, else correct DB_{alias}_NAME: it is a service name",
            transient=True,
        ),
    ),
    (
        ("DPY-6003", "ORA-12505"),
        Fault(
            cause="the listener does not know the SID",
            next_step="set DB_{alias}_NAME to a service name, not to a SID",
        ),
    ),
    (
        ("DPY-6000", "DPY-5005", "ORA-12516", "ORA-12518", "ORA-12519", "ORA-12520", "ORA-12526", "ORA-12528"),
        Fault(
            cause="the listener accepts no sessions now",
            next_step="wait; if it lasts, ask the database's administrator for its free processes and its state",
            transient=True,
        ),
    ),
    (
        ("DPY-4011",),
        Fault(
            cause="the connection was closed from the other side",
            next_step="wait; if it lasts, check that an Oracle listener is behind DB_{alias}_PORT, and the "
            "firewall's idle limit",
            transient=True,
        ),
    ),
    (
        ("DPY-3010",),
        Fault(
            cause="the database is older than 12.1, which the thin driver does not support",
            next_step='set driver = "thick" for the hospital in hospitals.toml, and ORACLE_CLIENT_PATH',
        ),
    ),
    (
        ("DPY-3001", "DPY-3015"),
        Fault(
            cause="the database needs native encryption or an old password verifier, which the thin driver lacks",
            next_step='set driver = "thick" for the hospital in hospitals.toml, and ORACLE_CLIENT_PATH',
        ),
    ),
    (
        ("DPI-1047",),
        Fault(
            cause="the Oracle Client libraries cannot be loaded",
            next_step="install Oracle Instant Client 19 and set ORACLE_CLIENT_PATH to its folder",
        ),
    ),
    (
        ("DPY-4001", "ORA-01017"),
        Fault(
            cause="user or password is missing or wrong",
            next_step="correct DB_USERNAME{suffix} and DB_PASSWORD{suffix} before any other run: "
            "repeated attempts lock the account",
        ),
    ),
    (
        ("ORA-28000",),
        Fault(
            cause="the account is locked",
            next_step="have the account of DB_USERNAME{suffix} unlocked, and find the program that locks it",
        ),
    ),
    (
        ("ORA-28001",),
        Fault(
            cause="the password has expired",
            next_step="have it renewed and set DB_PASSWORD{suffix}",
        ),
    ),
    (
        ("ORA-00942", "ORA-01031"),
        Fault(
            cause="a table or view of the statement is missing, or the user may not read it",
            next_step="grant SELECT on the tables in sql/ to the user of DB_USERNAME{suffix}",
        ),
    ),
    (
        ("ORA-00904",),
        Fault(
            cause="a column or function of the statement is missing, or the user may not use it",
            next_step="compare sql/ with the database; grant EXECUTE on functions to the user of DB_USERNAME{suffix}",
        ),
    ),
    (
        ("TooManyRowsError",),
        Fault(
            cause="the day has more rows than max_rows, so none of its rows were kept",
            next_step="find out why; if the rows are right, raise max_rows in policy.toml, [source]",
        ),
    ),
)
_BY_KEY: Final = {key: fault for keys, fault in _TABLE for key in keys}


def fault_of(error: BaseException) -> Fault:
    """Return the table's fault for the innermost known cause of an exception, else a fault with its code or type."""
    for each in reversed(list(_chain(error))):
        for key in _keys(each):
            if fault := _BY_KEY.get(key):
                return fault.model_copy(update={"cause": fault.cause + _details(each, key)})
    return Fault(
        cause=f"it failed with {', '.join(next(_keys(each)) for each in _chain(error))}",
        next_step="look the code up in Oracle's error help, and run the statement in sql/ by hand for details",
        transient=bool(getattr(_info(error), "isrecoverable", False)),
    )


def crash(exit_code: int) -> Fault:
    """Return the fault of a reading process that crashed; a negative exit code is the number of a signal."""
    return Fault(
        cause=f"the reading process crashed (exit code {exit_code}); a response that is not Oracle's can cause this",
        next_step="check which server is at DB_{alias}_HOST and DB_{alias}_PORT; if it is the database, try "
        'driver = "thick" in hospitals.toml, or another version of oracledb',
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _keys(error: BaseException) -> Iterator[str]:
    """Yield the keys of an exception for the table, the most specific first."""
    if code := getattr(_info(error), "full_code", None):
        yield code
    yield from (each.__name__ for each in type(error).__mro__)


def _info(error: BaseException) -> object:
    """Return oracledb's error object of an exception, which holds its code; None for other exceptions."""
    return error.args[0] if isinstance(error, oracledb.Error) and error.args else None


def _details(error: BaseException, key: str) -> str:
    """Return the safe parts of an error's text: the ORA code, since the driver has its own codes, and object names."""
    if not isinstance(error, oracledb.Error):
        return ""
    code = _ORA_CODE.search(str(error))
    names = _OBJECT_NAME.findall(str(error)) if key in _NAMING_OBJECTS else []
    return f" ({', '.join([code[0] if code else key, *names])})"
