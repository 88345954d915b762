"""`track ui`, `track serve` and `track simulator`: servers that run until they are interrupted."""

from contextlib import nullcontext
from typing import Annotated

import typer

from track_pipeline.cli.console import Port, check_port, examples, out
from track_pipeline.config.settings import load_settings

servers_app = typer.Typer()


@servers_app.command(epilog=examples("track ui --port 3000"))
def ui(*, port: Port = 3000) -> None:
    """Run Dagster's web interface and daemon on the same instance; in the demo, a Track.co simulator too."""
    check_port("127.0.0.1", port)
    from track_pipeline.demo.run import track_co
    from track_pipeline.hosting.instance import prepare_instance
    from track_pipeline.hosting.ui import serve_dagster

    settings = load_settings()
    folder = prepare_instance(settings.home)
    with track_co(settings) if settings.is_demo else nullcontext():
        serve_dagster(folder, port, lambda url: out.print(f"{url}/ (stop it with Ctrl-C)", highlight=False))


@servers_app.command(epilog=examples("track serve --port 5000"))
def serve(
    *,
    port: Port = 5000,
    host: Annotated[str, typer.Option(help="address to listen on; put any but loopback behind a login")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="another host name that requests may use; can be repeated")
    ] = None,
) -> None:
    """Serve a page with today's funnel, open alerts, the last runs and the log; also /healthz and /metrics."""
    check_port(host, port)
    from track_pipeline.runtime import LedgerRuntime
    from track_pipeline.web.app import serve as serve_status

    settings = load_settings()
    out.print(f"http://{host}:{port}/ (also /healthz and /metrics)", highlight=False)
    serve_status(LedgerRuntime(settings), host, port, ui_url=settings.ui_url, hosts=allow_host or ())


@servers_app.command(epilog=examples("track simulator --port 8765"))
def simulator(*, port: Port = 8765) -> None:
    """Run a Track.co simulator on this machine, until interrupted."""
    from track_pipeline.demo.simulator import serve

    serve(port)
