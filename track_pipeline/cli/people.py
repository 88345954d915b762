"""`track opt-out`, `track consent` and `track purge`: opt-outs, consents and the deletion of patient data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from track_pipeline.cli.console import Contact, Json, examples, open_runtime, out, print_json, print_line
from track_pipeline.cli.tables import print_frame
from track_pipeline.domain.channels import OptOutChannel

if TYPE_CHECKING:
    from track_pipeline.runtime import Runtime

people_app = typer.Typer()
opt_out_app = typer.Typer(no_args_is_help=True, help="People who do not want to be contacted.")
consent_app = typer.Typer(no_args_is_help=True, help="Evidence that people agreed to be contacted by WhatsApp.")
people_app.add_typer(opt_out_app, name="opt-out")
people_app.add_typer(consent_app, name="consent")


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
    source: Annotated[str, typer.Option(help="where the opt-out comes from, such as 'patient, by phone'")] = "operator",
) -> None:
    """Record the opt-out of a person. Only a keyed hash of the contact is kept."""
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
    """Remove the opt-out of a person, who may then be contacted again."""
    with open_runtime() as runtime:
        for person in [key] if key else _person_keys(runtime, cpf, phone, email):
            found = runtime.ledger.people.opt_in(person, channel)
            print_line(f"{person}: {'removed' if found else 'there was no opt-out'}")


@opt_out_app.command("list", epilog=examples("track opt-out list"))
def opt_out_list(*, as_json: Json = False) -> None:
    """List all opt-outs in force."""
    with open_runtime() as runtime:
        print_frame(runtime.ledger.people.opt_outs(), as_json=as_json, empty="There are no opt-outs.")


@opt_out_app.command("import", epilog=examples("track opt-out import opt-outs.csv"))
def opt_out_import(file: Path) -> None:
    """Import a CSV with the columns cpf, phone, email, channel, source. With a wrong line, nothing is imported."""
    with open_runtime() as runtime:
        out.print(f"{runtime.operator.importer.opt_outs(file)} new opt-outs")


@consent_app.command("import", epilog=examples("track consent import consents.csv"))
def consent_import(file: Path) -> None:
    """Import a CSV with the columns cpf, phone, email, source, date, text_version; all lines or none."""
    with open_runtime() as runtime:
        out.print(f"{runtime.operator.importer.consents(file)} new consents")


@people_app.command(
    epilog=examples("track purge", "track purge --person --phone '(27) 99999-0000' --email ana@example.org")
)
def purge(
    *,
    person: Annotated[bool, typer.Option("--person", help="erase one person, identified by any contact")] = False,
    cpf: Contact = None,
    phone: Contact = None,
    email: Contact = None,
    as_json: Json = False,
) -> None:
    """Delete patient data past the policy's retention; Dagster does the same every night.

    With --person, erase one person from lake, ledger and answers, at once and for good. Counts stay, and the person is
    never contacted again. Give all known contacts of the person.
    """
    if not person and (cpf or phone or email):
        raise typer.BadParameter("a contact is given: add --person to erase that person")
    with open_runtime() as runtime:
        keys = _person_keys(runtime, cpf, phone, email) if person else []
        deleted = runtime.operator.eraser.erase(keys) if person else runtime.operator.retention.purge()
    if as_json:
        print_json(deleted)
    else:
        out.print(", ".join(f"{kind} {count}" for kind, count in deleted.items()))


def _person_keys(runtime: "Runtime", cpf: str | None, phone: str | None, email: str | None) -> list[str]:
    from track_pipeline.services.operator.people import NoSuchContact, person_keys

    named = {"cpf": cpf, "phone": phone, "email": email}
    given = {name: typer.prompt(name, err=True) if value == "-" else value for name, value in named.items()}
    try:
        return person_keys(runtime.hasher, runtime.policy.placeholders, **given)
    except NoSuchContact as error:
        raise typer.BadParameter(str(error)) from None
