"""Dagster's webserver behind the guard; `track ui` runs this module as a process, with dagster-webserver's arguments.

Dagster has no setting for middleware. Its server class has a method that returns the middleware; this module makes
Dagster use a subclass. `hosting.ui` tests with a forged request that the running server has the guard.
"""

from typing import Any

from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from track_pipeline.hosting.guard import ForgeryGuard, known_hosts


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver with the guard in front of every request and websocket."""

    def build_middleware(self) -> list[Middleware]:
        """Return the guard's middleware, then Dagster's own."""
        return [known_hosts(), Middleware(ForgeryGuard), *super().build_middleware()]


def main() -> None:
    """Run `dagster-webserver` with the guarded server, until interrupted."""
    vars(app)["DagsterWebserver"] = GuardedWebserver
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()
