"""The command line, `track`: it reads arguments, calls one service, and prints a table or JSON.

What a command does is in the services; Dagster and polars are imported by the commands that need them, so that
`track --help` and `track status` answer at once.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Column, Table
from rich.text import Text

from track_pipeline.cli.analysis import analysis_app, print_explanation
from track_pipeline.cli.console import (
    Contact,
    Encounter,
    Json,
    OptionalDate,
    OptionalHospital,
    Port,
    check_port,
    examples,
    fail,
    open_runtime,
    out,
    parse_date,
    print_error,
    print_json,
    print_line,
    progress,
    writing,
)
from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.domain.sends import Verdict
from track_pipeline.errors import TrackPipelineError

if TYPE_CHECKING:
    from track_pipeline.adapters.ledger import Ledger
    from track_pipeline.runtime import Runtime
    from track_pipeline.services.operator.doctor import Finding

app = typer.Typer(
    no_args_is_help=True,
    help="Asks each hospital patient once how the visit went, and shows what became of every row.",
    pretty_exceptions_enable=False,
)
opt_out_app = typer.Typer(no_args_is_help=True, help="People who do not want to be written to.")
pause_app = typer.Typer(no_args_is_help=True, help="The switch that stops all sending, of a hospital or a channel.")
consent_app = typer.Typer(no_args_is_help=True, help="Evidence that people agreed to be written to by WhatsApp.")
app.add_typer(opt_out_app, name="opt-out")
app.add_typer(consent_app, name="consent")
app.add_typer(pause_app, name="pause")
app.add_typer(analysis_app)

# Short enough for a terminal of 80 columns.
_HEADERS = {
    "extracted": "rows",
    "excluded": "excl.",
    "planned": "plan",
    "sent": "sent",
    "rejected": "rej.",
    "unknown": "unkn.",
    "deferred": "defer.",
    "suppressed": "supp.",
    "reminded_7d": "7d",
    "reminded_14d": "14d",
    "answered": "answ.",
}
# Columns in which there is nothing are left out, but for these.
_ALWAYS = ("extracted", "excluded", "planned", "sent")
_COLUMNS = tuple(_HEADERS)


@app.command(epilog=examples("track demo", "track demo --json > demo.json"))
def demo(*, as_json: Json = False) -> None:
    """Run yesterday of all hospitals, synthetic, against a Track.co simulator, and show where every row went."""
    from track_pipeline.config.hospitals import load_registry
    from track_pipeline.demo.run import run_demo, steps_of

    settings = _settings()
    if not settings.is_demo:
        raise typer.BadParameter("TRACK_ENV is production; the demo is for synthetic hospitals only")
    hospitals = len(load_registry().only(settings.hospitals).hospitals)
    with progress("runs", steps_of(settings, hospitals)) as advance:
        result = run_demo(settings, advance)
    if as_json:
        print_json(result.rows)
    else:
        _print_status(result.rows)
        _print_scores(result.scores.to_dicts())
        out.print(f"New sends: {result.new_sends}. The same in Dagster: [bold]track ui --port 3000[/bold]")
    for failure in result.failures:
        print_error(failure)
    if not result.succeeded:
        raise typer.Exit(1)


@app.command(epilog=examples("track status", "track status --date 2026-11-23 --hospital HMS"))
def status(*, day: OptionalDate = None, hospital: OptionalHospital = None, as_json: Json = False) -> None:
    """The funnel of every day, hospital and area: how many were extracted and where each ended."""
    from track_pipeline.services.insight.status import status as status_of

    wanted = parse_date(day)
    with _ledger() as ledger:
        rows = status_of(ledger, (wanted, wanted) if wanted else None, hospital)
    if as_json:
        print_json(rows)
    elif rows:
        _print_status(rows)
    else:
        out.print("Nothing has been extracted yet for that; `track demo` or a Dagster run does it.")


@app.command(epilog=examples("track why HMS 1234567", "track why HMS 1234567 --json"))
def why(hospital: str, encounter: Encounter, *, as_json: Json = False) -> None:
    """Why an encounter was, or was not, asked: what happened, the path through the rules, what would change it.

    Without a name or a contact. The path is told as long as the lake has the extract.
    """
    from track_pipeline.services.insight.status import why as why_of

    with open_runtime() as runtime:
        place = runtime.registry.hospital(hospital)
        story = why_of(runtime.ledger, place.code, encounter)
        explanation = runtime.explainer.explain(place, story)
    if as_json:
        print_json(story | explanation.as_json())
    else:
        print_explanation(story, explanation)
    if story["outcome"] is None:
        raise typer.Exit(1)


@app.command(epilog=examples("track links 2026-11-23 HMS --output links.csv"))
def links(
    day: Annotated[str, typer.Argument(metavar="DATE")],
    hospital: str,
    *,
    output: Annotated[Path | None, typer.Option(help="the CSV to write; readable by its owner only")] = None,
) -> None:
    """Export the personal links of a hospital-day as CSV, for the front desk. Holds patients' names."""
    from track_pipeline.services.operator.links import export_links

    with open_runtime() as runtime:
        if (wanted := parse_date(day)) is None:
            raise typer.BadParameter("give the day of the encounters, as 2026-11-23")
        place = runtime.registry.hospital(hospital)
        path = output or Path(f"links-{wanted}-{place.code}.csv")
        with writing(path):
            count = export_links(runtime.lake, place, wanted, path)
    print_line(f"{count} links in {path}")


@app.command(
    epilog=examples(
        "track resolve HMS 1234567 sent --reason 'seen in the distribution list'",
        "track resolve HMS 1234567 not_sent --reason 'no such distribution'",
    )
)
def resolve(
    hospital: str,
    encounter: Encounter,
    verdict: Annotated[Verdict, typer.Argument(help="what Track.co's screen shows")],
    *,
    reason: Annotated[str, typer.Option(help="how you know; kept with the decision")],
    send: Annotated[
        str | None, typer.Option(help="which send, where several are unknown; `track why` shows it")
    ] = None,
) -> None:
    """Say what became of a send whose outcome is unknown; `not_sent` lets the next run send it again."""
    from track_pipeline.services.operator.resolution import resolve as settle

    with open_runtime() as runtime:
        code = runtime.registry.hospital(hospital).code
        resolved = settle(runtime.ledger, code, encounter, verdict, reason, send)
    out.print(f"{code} {encounter}: {resolved} resolved as {verdict}")


@app.command(epilog=examples("track doctor"))
def doctor(*, as_json: Json = False) -> None:
    """Check everything that a run needs: settings, files, databases, Track.co, ledger, lake, clock, daemons."""
    from track_pipeline.hosting.instance import daemons
    from track_pipeline.runtime import Runtime
    from track_pipeline.services.operator.doctor import Doctor

    examination = Doctor(load_settings, Runtime, lambda settings: daemons(settings.home)).examine()
    with progress("checks", None) as advance:
        findings = []
        for finding in examination:
            findings.append(finding)
            advance(finding.check)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


@app.command(epilog=examples("track purge", "track purge --person --phone '(27) 99999-0000' --email ana@example.org"))
def purge(
    *,
    person: Annotated[bool, typer.Option("--person", help="forget one person, named by any contact")] = False,
    cpf: Contact = None,
    phone: Contact = None,
    email: Contact = None,
    as_json: Json = False,
) -> None:
    """Delete patient data older than the policy keeps it; Dagster does the same every night.

    With --person, forget one person at once, for good: lake, ledger and answers. Counts stay; they are never written
    to again. Give every contact there is.
    """
    if not person and (cpf or phone or email):
        raise typer.BadParameter("a contact is given: add --person to forget that person")
    with open_runtime() as runtime:
        keys = _person_keys(runtime, cpf, phone, email) if person else []
        deleted = runtime.eraser.erase(keys) if person else runtime.retention.purge()
    if as_json:
        print_json(deleted)
    else:
        out.print(", ".join(f"{kind} {count}" for kind, count in deleted.items()))


@opt_out_app.command(
    "add",
    epilog=examples("track opt-out add --phone '(27) 99999-0000' --channel whatsapp --source 'patient, by phone'"),
)
def opt_out_add(
    *,
    cpf: Contact = None,
    phone: Contact = None,
    email: Contact = None,
    channel: Annotated[OptOutChannel, typer.Option()] = OptOutChannel.ALL,
    source: Annotated[str, typer.Option(help="who asked for it, such as 'patient, by phone'")] = "operator",
) -> None:
    """Stop writing to a person. Only a keyed hash is kept."""
    with open_runtime() as runtime:
        for key in _person_keys(runtime, cpf, phone, email):
            runtime.ledger.people.opt_out(key, channel, source)
            out.print(f"opted out of {channel}: {key}")


@opt_out_app.command("remove", epilog=examples("track opt-out remove --phone '(27) 99999-0000'"))
def opt_out_remove(
    *,
    cpf: Contact = None,
    phone: Contact = None,
    email: Contact = None,
    key: Annotated[str | None, typer.Option(help="the person key that `list` shows")] = None,
    channel: Annotated[OptOutChannel, typer.Option()] = OptOutChannel.ALL,
) -> None:
    """Allow writing to a person again."""
    with open_runtime() as runtime:
        for person in [key] if key else _person_keys(runtime, cpf, phone, email):
            found = runtime.ledger.people.opt_in(person, channel)
            print_line(f"{person}: {'removed' if found else 'there was no opt-out'}")


@opt_out_app.command("list", epilog=examples("track opt-out list"))
def opt_out_list(*, as_json: Json = False) -> None:
    """All opt-outs in force."""
    with open_runtime() as runtime:
        _print_rows(runtime.ledger.people.opt_outs().to_dicts(), as_json=as_json, empty="Nobody has opted out.")


@opt_out_app.command("import", epilog=examples("track opt-out import opt-outs.csv"))
def opt_out_import(file: Path) -> None:
    """Take a CSV with the columns cpf, phone, email, channel, source; all of it, or nothing and an error per line."""
    with open_runtime() as runtime:
        out.print(f"{runtime.importer.opt_outs(file)} new opt-outs")


@consent_app.command("import", epilog=examples("track consent import consents.csv"))
def consent_import(file: Path) -> None:
    """Take a CSV with the columns cpf, phone, email, source, date, text_version; all of it, or nothing."""
    with open_runtime() as runtime:
        out.print(f"{runtime.importer.consents(file)} new consents")


@pause_app.command(
    "add", epilog=examples("track pause add all --reason 'wrong text in the survey'", "track pause add hospital:HMS")
)
def pause_add(
    scope: Annotated[str, typer.Argument(help="all, hospital:HMS or channel:email")],
    *,
    reason: Annotated[str, typer.Option()] = "by hand",
) -> None:
    """Stop sending; lines wait as `deferred:paused` and go when the pause is removed."""
    with open_runtime() as runtime:
        kind, _, name = scope.partition(":")
        known = {"hospital": runtime.registry.codes, "channel": ("email", "whatsapp", "link")}
        if scope != "all" and name not in known.get(kind, ()):
            fail(f"{scope}: give all, hospital:<code> or channel:<email|whatsapp|link>")
        runtime.ledger.pauses.add(scope, reason, "operator")
    out.print(f"paused: {scope}")


@pause_app.command("remove", epilog=examples("track pause remove all"))
def pause_remove(scope: str) -> None:
    """Send again; run the deferred partitions, or wait for the sweep."""
    with open_runtime() as runtime:
        if not runtime.ledger.pauses.remove(scope):
            fail(f"{scope} was not paused; `track pause list` shows what is")
    out.print(f"sending again: {scope}")


@pause_app.command("list", epilog=examples("track pause list"))
def pause_list(*, as_json: Json = False) -> None:
    """All pauses in force."""
    with open_runtime() as runtime:
        _print_rows(runtime.ledger.pauses.all().to_dicts(), as_json=as_json, empty="Nothing is paused.")


@app.command(epilog=examples("track ui --port 3000"))
def ui(*, port: Port = 3000) -> None:
    """Open Dagster's web interface on the same instance, with daemon and, in the demo, a simulator."""
    check_port("127.0.0.1", port)
    from track_pipeline.demo.run import track_co
    from track_pipeline.hosting.instance import prepare_instance
    from track_pipeline.hosting.ui import serve_dagster

    settings = _settings()
    folder = prepare_instance(settings.home)
    with track_co(settings) if settings.is_demo else nullcontext():
        serve_dagster(folder, port, lambda url: out.print(f"{url}/ (end it with Ctrl-C)", highlight=False))


@app.command(epilog=examples("track serve --port 5000"))
def serve(
    *,
    port: Port = 5000,
    host: Annotated[str, typer.Option(help="another address than loopback belongs behind a login")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="another name under which browsers and the proxy may ask; repeat it")
    ] = None,
) -> None:
    """Show today's funnel, open alerts, the last runs and the log as a page; with /healthz and /metrics."""
    check_port(host, port)
    from track_pipeline.web.app import serve as serve_status

    settings = _settings()
    out.print(f"http://{host}:{port}/ (also /healthz and /metrics)", highlight=False)
    serve_status(settings, host, port, ui_url=settings.ui_url, hosts=allow_host or ())


@app.command(epilog=examples("track simulator --port 8765"))
def simulator(*, port: Port = 8765) -> None:
    """Run a Track.co simulator on this machine, until interrupted."""
    from track_pipeline.demo.simulator import serve

    serve(port)


def main() -> None:
    """Runs a command; an error of this project's own is one message and exit code 2, any other one without its text."""
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
            "This is a fault to be mended in the code."
        )
        sys.exit(1)


def _settings() -> Settings:
    return load_settings()


@contextmanager
def _ledger() -> "Iterator[Ledger]":
    """The ledger alone, for commands that only read it: it opens in a fraction of the time."""
    from track_pipeline.adapters.ledger import open_ledger

    ledger = open_ledger(_settings().ledger, clock=lambda: datetime.now(UTC))
    try:
        yield ledger
    finally:
        ledger.close()


def _person_keys(runtime: "Runtime", cpf: str | None, phone: str | None, email: str | None) -> list[str]:
    from track_pipeline.services.operator.people import NoSuchContact, person_keys

    named = {"cpf": cpf, "phone": phone, "email": email}
    given = {name: typer.prompt(name, err=True) if value == "-" else value for name, value in named.items()}
    try:
        return person_keys(runtime.hasher, runtime.policy.placeholders, **given)
    except NoSuchContact as error:
        raise typer.BadParameter(str(error)) from None


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(empty)
    else:
        # Folded, not cut off: what is shown is typed into the next command.
        table = Table(*(Column(name, overflow="fold") for name in rows[0]))
        for row in rows:
            table.add_row(*(Text(str(value)) for value in row.values()))
        out.print(table)


def _print_findings(findings: "list[Finding]") -> None:
    """One row for subjects of which the same was found, with what to do next below; then the count by status."""
    table = Table("check", "subject", "", "what was found, what to do", box=SIMPLE, padding=(0, 1, 0, 0))
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for (check, status, detail, step), same in groupby(
        findings, key=lambda finding: (finding.check, finding.status, finding.detail, finding.next_step)
    ):
        found = Text(detail)
        if step:
            found.append(f"\n-> {step}", style="bold")
        subjects = ", ".join(finding.subject for finding in same)
        table.add_row(check, subjects, Text(status, style=colours[status]), found)
    out.print(table)
    statuses = [finding.status for finding in findings]
    out.print(", ".join(f"{statuses.count(status)} {status}" for status in ("ok", "warn", "fail")), highlight=False)


def _print_status(rows: list[dict[str, Any]]) -> None:
    """One table a day, without the rows and columns in which there is nothing, and the reasons of the whole."""
    shown = [column for column in _COLUMNS if column in _ALWAYS or any(row[column] for row in rows)]
    for day, of_day in groupby(rows, key=lambda row: row["date"]):
        table = Table(
            "hospital", "area", title=f"{day}: what became of every encounter", box=SIMPLE, padding=(0, 1, 0, 0)
        )
        for column in shown:
            table.add_column(_HEADERS[column], justify="right")
        counted = list(of_day)
        for row in counted:
            if not row["extracted"]:
                continue
            table.add_row(row["hospital"], row["area"], *(str(row[column]) for column in shown))
        table.add_section()
        table.add_row("total", "", *(str(sum(row[column] for row in counted)) for column in shown), style="bold")
        out.print(table)
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update({f"excluded:{reason}": count for reason, count in row["excluded_by"].items()})
        reasons.update(row["held_by"])
    out.print("  ".join(f"{reason} {count}" for reason, count in reasons.most_common()), highlight=False)


def _print_scores(scores: list[dict[str, Any]]) -> None:
    """NPS per hospital, with its 95 % interval; a dash where the answers are too few to be shown."""
    if not scores:
        return
    table = Table("hospital", title="who answered, reminders included", box=SIMPLE)
    for column in ("sent", "answered", "rate", "NPS", "95 %"):
        table.add_column(column, justify="right")
    for row in scores:
        nps = "–" if row["nps"] is None else f"{row['nps']:.0f}{'*' if row['preliminary'] else ''}"
        interval = "–" if row["nps"] is None else f"{row['low']:.0f} to {row['high']:.0f}"
        rate = "–" if row["response_rate"] is None else f"{row['response_rate']:.0%}"
        table.add_row(row["hospital"], str(row["sent"]), str(row["answered"]), rate, nps, interval)
    out.print(table)
    if any(row["preliminary"] for row in scores):
        out.print("* fewer than 30 answers: preliminary")
