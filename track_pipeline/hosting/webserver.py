"""Dagster's webserver behind our guard; `track ui` runs this module as a process, with dagster-webserver's arguments.

Dagster has no setting for middleware. Its server is a class with a method that lists it; this module gives Dagster a
subclass. `hosting.ui` asks the running server whether the guard is there.
"""

from typing import Any

from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from track_pipeline.hosting.guard import ForgeryGuard, known_hosts


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver; every request, websockets too, passes the guard first."""

    def build_middleware(self) -> list[Middleware]:
        """The guard's middleware, then Dagster's own."""
        return [known_hosts(), Middleware(ForgeryGuard), *super().build_middleware()]


def main() -> None:
    """Runs `dagster-webserver` with the guarded server, until interrupted."""
    vars(app)["DagsterWebserver"] = GuardedWebserver
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()
