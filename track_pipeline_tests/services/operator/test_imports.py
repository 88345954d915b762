"""A file of opt-outs or consents is imported completely, or not at all with an error for each bad line."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.channels import Channel
from track_pipeline.services.operator.imports import BadFile, Importer
from track_pipeline_tests.support.builders import HASHER, cpf, email_of, key_of, phone_of


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite", clock=lambda: datetime(2025, 3, 11, tzinfo=UTC))
    yield ledger
    ledger.close()


@pytest.fixture
def importer(ledger: Ledger) -> Importer:
    return Importer(ledger, HASHER, load_policy().placeholders)


def file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "people.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_opt_outs_reach_a_person_under_every_contact_given(tmp_path: Path, ledger: Ledger, importer: Importer) -> None:
    path = file(
        tmp_path,
        "cpf,phone,email,channel,source\n"
        f"{cpf(1)},{phone_of(1)},{email_of(1).upper()},all,letter\n"
        f',,{email_of(2)},Email,"by phone, twice"\n',
        encoding="utf-8-sig",
    )

    assert importer.opt_outs(path) == 4
    assert importer.opt_outs(path) == 0

    keys = {key_of("cpf", cpf(1)), key_of("email", email_of(1)), key_of("email", email_of(2))}
    found = ledger.people.opt_outs()
    assert keys < set(found.get_column("person_key"))
    assert set(found.select("channel", "source").unique().rows()) == {("all", "letter"), ("email", "by phone, twice")}


def test_every_bad_line_is_named_and_nothing_is_taken(tmp_path: Path, ledger: Ledger, importer: Importer) -> None:
    path = file(
        tmp_path,
        "email,channel,source\n"
        f"{email_of(1)},all,letter\n"
        "segredo-sem-arroba,all,letter\n"
        f"{email_of(2)},sms,letter\n"
        f"{email_of(3)},all,\n"
        ",all,letter\n",
    )

    with pytest.raises(BadFile) as caught:
        importer.opt_outs(path)

    text = str(caught.value)
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == ["line 3", "line 4", "line 5", "line 6"]
    assert "segredo" not in text
    assert email_of(2) not in text
    assert ledger.people.opt_outs().is_empty()


@pytest.mark.parametrize(
    "text", ["", "email,source\na@b.com,x\n", "channel,source\nall,x\n", "nome;canal\n"], ids=["empty", "a", "b", "c"]
)
def test_a_file_without_its_columns_says_which_it_needs(tmp_path: Path, importer: Importer, text: str) -> None:
    with pytest.raises(BadFile, match="channel, source, and at least one of cpf, phone, email"):
        importer.opt_outs(file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, importer: Importer) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        importer.opt_outs(tmp_path / "missing.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("email,channel,source\njosé@b.com,all,x\n".encode("latin-1"))
    with pytest.raises(BadFile, match="UTF-8"):
        importer.opt_outs(latin)


def test_consents_are_evidence_for_whatsapp(tmp_path: Path, ledger: Ledger, importer: Importer) -> None:
    path = file(tmp_path, f"phone,source,date,text_version\n{phone_of(1)},admission form,2025-01-05,v2\n")

    assert importer.consents(path) == 1

    key = key_of("phone", f"27{phone_of(1)[-8:]}")
    assert ledger.people.consented([key], Channel.WHATSAPP).get_column("person_key").to_list() == [key]
    with pytest.raises(BadFile, match="line 2: date"):
        importer.consents(file(tmp_path, f"phone,source,date,text_version\n{phone_of(2)},form,05/01/2025,v2\n"))
