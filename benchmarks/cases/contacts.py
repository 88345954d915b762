"""Contact hygiene compared with the libraries whose verdicts it reproduces, called value by value."""

from collections.abc import Iterator
from pathlib import Path

import phonenumbers
import polars as pl
from email_validator import EmailNotValidError, validate_email

from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.measure import Watch
from track_pipeline.config.policy import load_policy
from track_pipeline.demo.front_desk import register
from track_pipeline.demo.people import people
from track_pipeline.domain.contacts import with_contacts


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure a million distinct people and the growth of the seconds; the libraries check a tenth of them."""
    most = bench.size(full=1_000_000, quick=20_000)
    curve = Curve("contacts", "Contact hygiene", "people", "seconds")
    for size in bench.sizes_up_to(most):
        file = bench.folder / f"contacts-{size}.parquet"
        _write_people(file, size)
        sample = bench.measure(clean, file)
        curve.lines.setdefault("track_pipeline", []).append((size, sample.seconds))
    tenth = bench.folder / "contacts-tenth.parquet"
    _write_people(tenth, most // 10)
    by_value = bench.measure(by_libraries, tenth)
    curve.lines["the libraries, value by value"] = [(most // 10, by_value.seconds)]
    yield Figure(
        "contacts.seconds", f"{most:,} phones and e-mails, as typed", sample.seconds, "s",
        by_value.seconds * 10, "phonenumbers and email-validator by value (a tenth, times ten)",
        Target("under 10 s", 10), guard=0.7,
    )  # fmt: skip
    yield Figure("contacts.peak", f"{most:,} phones and e-mails: peak of the process", sample.peak, "MiB")
    yield curve


def _write_people(file: Path, count: int) -> None:
    typed = register(people(count, "benchmarks"), "HMS", "benchmarks")
    typed.select("email", phone_country="ddi", phone_area="ddd", phone_number="number").write_parquet(file)


# --- trials ---------------------------------------------------------------------------------------------------------


def clean(watch: Watch, file: Path) -> None:
    """Measure the pipeline's contact hygiene."""
    typed, policy = pl.read_parquet(file), load_policy()
    with watch.lap():
        cleaned = with_contacts(typed, policy.placeholders)
    watch.notes["usable"] = cleaned.get_column("email_address").count() + cleaned.get_column("phone_e164").count()


def by_libraries(watch: Watch, file: Path) -> None:
    """Measure one call per value, without repairs."""
    typed = pl.read_parquet(file)
    emails = typed.get_column("email").drop_nulls().to_list()
    phones = typed.select(pl.concat_str("phone_area", "phone_number")).to_series().drop_nulls().to_list()
    with watch.lap():
        valid = sum(map(_is_email, emails)) + sum(map(_is_phone, phones))
    watch.notes["valid"] = valid


def _is_email(value: str) -> bool:
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _is_phone(value: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, "BR"))
    except phonenumbers.NumberParseException:
        return False
