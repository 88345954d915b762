"""The application `track`: its groups of commands, and the exit codes of errors.

Each command reads arguments, calls one service and prints a table or JSON. Commands import Dagster and polars when
they run, so that `track --help` and `track status` start fast.
"""

import sys

import typer

from track_pipeline.cli.compare import compare_app
from track_pipeline.cli.console import print_error
from track_pipeline.cli.contacts import contacts_app
from track_pipeline.cli.demo import demo_app
from track_pipeline.cli.doctor import doctor_app
from track_pipeline.cli.people import people_app
from track_pipeline.cli.plan import plan_app
from track_pipeline.cli.sending import sending_app
from track_pipeline.cli.servers import servers_app
from track_pipeline.cli.status import status_app
from track_pipeline.errors import TrackPipelineError

app = typer.Typer(
    no_args_is_help=True,
    help="Sends each hospital patient one satisfaction survey, and shows the outcome of every encounter.",
    pretty_exceptions_enable=False,
)
for group in (
    *(demo_app, status_app, plan_app, compare_app, contacts_app),
    *(doctor_app, sending_app, people_app, servers_app),
):
    app.add_typer(group)


def main() -> None:
    """Run a command.

    An error of this project prints its message and exits with 2. Any other error prints its type and line of code
    without its text, and exits with 1.
    """
    try:
        app()
    except TrackPipelineError as error:
        print_error(str(error))
        sys.exit(2)
    except BaseException as error:
        from track_pipeline.logs.redaction import is_panic, kind_and_place

        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        print_error(
            f"Unexpected {kind_and_place(error)}; its text is withheld because it may quote patient data. "
            "The code has a fault: report this message to its developers."
        )
        sys.exit(1)
