"""A typed contact becomes a usable address or number, or gets a verdict why not. No input raises an error."""

import phonenumbers
import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.contacts import Verdict, mark_shared, with_contacts
from track_pipeline.domain.identity import cpf_digits
from track_pipeline_tests.support.builders import Row, cpf, encounters

PLACEHOLDERS = load_policy().placeholders
TYPED = ("email", "phone_country", "phone_area", "phone_number")

Typed = tuple[str | None, str | None, str | None, str | None]


def normalised(*typed: Typed) -> pl.DataFrame:
    frame = pl.DataFrame(typed, schema=dict.fromkeys(TYPED, pl.String), orient="row")
    return with_contacts(frame, PLACEHOLDERS)


def phone(number: str | None, area: str | None = None, country: str | None = None) -> tuple[str | None, str]:
    return normalised((None, country, area, number)).select("phone_e164", "phone_verdict").row(0)


def email(address: str | None) -> tuple[str | None, str]:
    return normalised((address, None, None, None)).select("email_address", "email_verdict").row(0)


@pytest.mark.parametrize(
    ("number", "area", "country", "e164"),
    [
        pytest.param("27981234567", None, None, "+5527981234567", id="area inside the number"),
        pytest.param("981234567", "27", "55", "+5527981234567", id="area of its own"),
        pytest.param("27981234567", "27", "55", "+5527981234567", id="area of its own and inside"),
        pytest.param("981234567", "027", "+55", "+5527981234567", id="area with its trunk zero"),
        pytest.param("027 98123-4567", None, None, "+5527981234567", id="trunk zero in the number"),
        pytest.param("(27) 98123-4567", None, None, "+5527981234567", id="punctuation"),
        pytest.param("27 98123-4567 (filha)", None, None, "+5527981234567", id="letters after it"),
        pytest.param("27\u00a098123\u20114567", None, None, "+5527981234567", id="typographic blank and hyphen"),
        pytest.param("27\t98123\x004567\n", None, None, "+5527981234567", id="control characters"),
        pytest.param("81234567", "27", None, "+5527981234567", id="eight digits, area of its own"),
        pytest.param("2781234567", None, None, "+5527981234567", id="eight digits, area inside"),
        pytest.param("552781234567", None, None, "+5527981234567", id="eight digits, country inside"),
        pytest.param("5527981234567", None, None, "+5527981234567", id="country inside"),
        pytest.param("+55 27 98123-4567", None, None, "+5527981234567", id="plus and country"),
        pytest.param("(+55) 27 98123-4567", None, None, "+5527981234567", id="plus and country in brackets"),
        pytest.param("+55 98123-4567", "27", None, "+5527981234567", id="plus and country, area of its own"),
        pytest.param("555527981234567", None, None, "+5527981234567", id="country twice"),
        pytest.param("+55 55 27 98123-4567", None, "55", "+5527981234567", id="country three times"),
        pytest.param("55981234567", None, None, "+5555981234567", id="Santa Maria, area inside"),
        pytest.param("5581234567", None, None, "+5555981234567", id="Santa Maria, eight digits"),
        pytest.param("981234567", "55", "55", "+5555981234567", id="Santa Maria, area of its own"),
        pytest.param("5555981234567", None, None, "+5555981234567", id="Santa Maria with country"),
        pytest.param("+5555981234567", None, None, "+5555981234567", id="Santa Maria with plus and country"),
    ],
)
def test_a_mobile_is_found_however_it_was_typed(number: str, area: str | None, country: str | None, e164: str) -> None:
    assert phone(number, area, country) == (e164, Verdict.OK)


@pytest.mark.parametrize(
    ("number", "area", "country", "verdict"),
    [
        pytest.param(None, None, None, Verdict.MISSING, id="null"),
        pytest.param("", "27", "55", Verdict.MISSING, id="empty"),
        pytest.param("   ", "27", None, Verdict.MISSING, id="blank"),
        pytest.param("não tem", "27", None, Verdict.MISSING, id="no digit"),
        pytest.param("00000000", "27", None, Verdict.MISSING, id="zeros"),
        pytest.param("33334455", "27", None, Verdict.LANDLINE, id="landline"),
        pytest.param("+55 (27) 3333-4455", None, None, Verdict.LANDLINE, id="landline with country"),
        pytest.param("999999999", "27", None, Verdict.PLACEHOLDER, id="one digit repeated"),
        pytest.param("27 90000-0000", None, None, Verdict.PLACEHOLDER, id="zeros repeated"),
        pytest.param("27 91234-5678", None, None, Verdict.PLACEHOLDER, id="counted up"),
        pytest.param("987654321", "27", None, Verdict.PLACEHOLDER, id="counted down"),
        pytest.param("912345678", "27", "351", Verdict.PLACEHOLDER, id="a placeholder is nobody's abroad either"),
        pytest.param("+351 912 345 679", None, None, Verdict.FOREIGN, id="plus and foreign country"),
        pytest.param("(+1) 795 912 3459", None, None, Verdict.FOREIGN, id="would be a mobile of São José do Rio Preto"),
        pytest.param("001 795 912 3459", None, None, Verdict.FOREIGN, id="international prefix without a plus"),
        pytest.param("981234567", "27", "351", Verdict.FOREIGN, id="foreign country of its own"),
        pytest.param("98123", "27", None, Verdict.INVALID, id="too short"),
        pytest.param("981234567", None, None, Verdict.INVALID, id="no area"),
        pytest.param("+55 98123-4567", None, None, Verdict.INVALID, id="country but no area"),
        pytest.param("27981234567890", None, None, Verdict.INVALID, id="too long"),
        pytest.param("98123456799887766", "27", None, Verdict.INVALID, id="two numbers in one"),
        pytest.param("21981234567", "27", None, Verdict.INVALID, id="two areas that disagree"),
        pytest.param("20981234567", None, None, Verdict.INVALID, id="no such area"),
        pytest.param("27 8123-456\u0667", None, None, Verdict.INVALID, id="digit that is not ASCII"),
        pytest.param("9 8123-456\u0667", "27", None, Verdict.INVALID, id="must not be repaired into another number"),
        pytest.param("2798123456\uff17", None, None, Verdict.INVALID, id="digit of full width"),
    ],
)
def test_a_phone_that_cannot_be_written_to_says_why(
    number: str | None, area: str | None, country: str | None, verdict: Verdict
) -> None:
    assert phone(number, area, country) == (None, verdict)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("ana@exemplo.com.br", "ana@exemplo.com.br"),
        ("ANA.SOUZA@Exemplo.com.BR", "ana.souza@exemplo.com.br"),
        ("  ana@exemplo.com.br \r\n", "ana@exemplo.com.br"),
        ("ana@exemplo.com.br;bia@exemplo.com.br", "ana@exemplo.com.br"),
        ("ana@exemplo.com.br ; bia@exemplo.com.br", "ana@exemplo.com.br"),
        ("ana@exemplo.com.br;", "ana@exemplo.com.br"),
        ("ana@exemplo.com.br,", "ana@exemplo.com.br"),
        ("ana+saude@exemplo.com.br", "ana+saude@exemplo.com.br"),
        ("teste.silva@exemplo.com.br", "teste.silva@exemplo.com.br"),
    ],
)
def test_an_email_is_lower_case_without_what_is_around_it(typed: str, address: str) -> None:
    assert email(typed) == (address, Verdict.OK)


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        (None, Verdict.MISSING),
        ("", Verdict.MISSING),
        (" \t ", Verdict.MISSING),
        ("naotem@exemplo.com.br", Verdict.PLACEHOLDER),
        ("NAO.TEM@exemplo.com.br", Verdict.PLACEHOLDER),
        ("nao_tem@exemplo.com.br", Verdict.PLACEHOLDER),
        ("naotem", Verdict.PLACEHOLDER),
        ("recepcao@exemplo.com.br", Verdict.PLACEHOLDER),
        ("ana@naotem.com.br", Verdict.PLACEHOLDER),
        ("ana@TESTE.com", Verdict.PLACEHOLDER),
        ("ana", Verdict.INVALID),
        ("ana@", Verdict.INVALID),
        ("@exemplo.com.br", Verdict.INVALID),
        ("ana@exemplo", Verdict.INVALID),
        ("ana@@exemplo.com.br", Verdict.INVALID),
        ("ana souza@exemplo.com.br", Verdict.INVALID),
        ("ana@exemplo..com.br", Verdict.INVALID),
        ("ana@exemplo.com.br bia@exemplo.com.br", Verdict.INVALID),
        ("ana\x00@exemplo.com.br", Verdict.INVALID),
        ("ana\n@exemplo.com.br", Verdict.INVALID),
        ("ana\u200f@exemplo.com.br", Verdict.INVALID),
        ("a" * 286 + "@exemplo.com.br", Verdict.INVALID),
    ],
)
def test_an_email_that_cannot_be_written_to_says_why(typed: str | None, verdict: Verdict) -> None:
    assert email(typed) == (None, verdict)


def test_the_words_for_no_email_are_the_policy_s() -> None:
    for local in PLACEHOLDERS.email_locals:
        assert email(f"{local}@exemplo.com.br") == (None, Verdict.PLACEHOLDER)
    for domain in PLACEHOLDERS.email_domains:
        assert email(f"ana@{domain}") == (None, Verdict.PLACEHOLDER)


def test_columns_that_are_not_contacts_stay_as_they_are() -> None:
    frame = encounters({}, {"email": None})

    result = with_contacts(frame, PLACEHOLDERS)

    assert result.select(frame.columns).equals(frame)
    assert result.columns[len(frame.columns) :] == ["email_verdict", "phone_verdict", "email_address", "phone_e164"]


def test_a_day_without_patients_has_no_contacts() -> None:
    result = normalised()

    assert result.is_empty()
    assert result.schema["phone_e164"] == pl.String


# Any text, but more often text of the kind that breaks phone and address rules.
_DIGITS = st.text("0123456789", min_size=7, max_size=15)
_ODD = st.text(st.sampled_from("0159278+-() @.;,ab\x00\n\u200f\u0667\uff19é"), max_size=24)
_ANYTHING = st.none() | st.text(max_size=40) | _ODD | _DIGITS
_ADDRESSES = st.emails() | st.from_regex(r"\A[A-Za-z.+ ]{1,8}@[a-z-]{1,8}(\.[a-z]{2,3}){1,2}\Z")
_ROWS = st.lists(
    st.tuples(
        _ANYTHING | _ADDRESSES,
        st.sampled_from([None, "", "55", "055", "1", "351"]) | _ANYTHING,
        st.sampled_from([None, "27", "55", "011", "20"]) | _ANYTHING,
        _ANYTHING | st.from_regex(r"\A(\+?55)?[ (]*[1-9]{2}[) ]*9?[6-9][0-9]{3}-?[0-9]{4}\Z"),
    ),
    max_size=6,
)


@given(_ROWS)
@settings(max_examples=150, deadline=None)
def test_whatever_was_typed_every_row_comes_back_in_place_with_contacts_that_the_libraries_accept(
    rows: list[Typed],
) -> None:
    result = normalised(*rows)

    assert result.select(TYPED).rows() == rows
    for row in result.iter_rows(named=True):
        assert (row["phone_verdict"] == Verdict.OK) == (row["phone_e164"] is not None)
        assert (row["email_verdict"] == Verdict.OK) == (row["email_address"] is not None)
        if row["phone_e164"] is not None:
            number = phonenumbers.parse(row["phone_e164"])
            assert phonenumbers.is_valid_number(number)
            assert phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
            assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == row["phone_e164"]
            assert row["phone_e164"].startswith("+55")
            assert len(row["phone_e164"]) == len("+5527981234567")


@given(_ADDRESSES)
@settings(max_examples=100, deadline=None)
def test_an_address_that_is_no_placeholder_is_usable_exactly_when_email_validator_accepts_it(typed: str) -> None:
    address, verdict = email(typed)

    if verdict == Verdict.PLACEHOLDER:
        return
    expected = typed.strip().strip(" ,").lower()
    try:
        validate_email(expected, check_deliverability=False)
    except EmailNotValidError:
        assert (address, verdict) == (None, Verdict.INVALID)
    else:
        assert (address, verdict) == (expected, Verdict.OK)


@given(_ROWS)
@settings(max_examples=80, deadline=None)
def test_a_normalised_contact_is_its_own_normal_form(rows: list[Typed]) -> None:
    once = normalised(*rows)

    again = normalised(
        *((address, None, None, number) for address, number in once[["email_address", "phone_e164"]].rows())
    )

    assert again.get_column("email_address").equals(once.get_column("email_address"))
    assert again.get_column("phone_e164").equals(once.get_column("phone_e164"))


def shared(*rows: Row, limit: int = 2) -> pl.DataFrame:
    frame = with_contacts(encounters(*rows), PLACEHOLDERS).with_columns(cpf_digits=cpf_digits("cpf"))
    return mark_shared(frame, limit)


def test_a_contact_of_more_patients_than_the_limit_is_nobody_s() -> None:
    result = shared(*({"email": "familia@exemplo.com.br"} for _ in range(3)), {})

    assert result.get_column("email_verdict").to_list() == [Verdict.SHARED] * 3 + [Verdict.OK]
    assert result.get_column("email_address").null_count() == 3
    assert result.get_column("phone_verdict").to_list() == [Verdict.OK] * 4


def test_a_contact_of_as_many_patients_as_the_limit_is_still_theirs() -> None:
    result = shared(*({"phone_number": "981234567"} for _ in range(2)))

    assert result.get_column("phone_verdict").to_list() == [Verdict.OK] * 2


@pytest.mark.parametrize(
    "patient",
    [
        pytest.param({"cpf": cpf(7)}, id="one CPF under several names"),
        pytest.param({"cpf": None, "patient_name": "Pessoa Sete"}, id="one name without a CPF"),
    ],
)
def test_many_encounters_of_one_patient_do_not_make_a_contact_shared(patient: Row) -> None:
    result = shared(*({"email": "ana@exemplo.com.br", "phone_number": "981234567"} | patient for _ in range(5)))

    assert result.get_column("email_verdict").to_list() == [Verdict.OK] * 5
    assert result.get_column("phone_verdict").to_list() == [Verdict.OK] * 5


def test_contacts_that_are_missing_are_not_shared() -> None:
    result = shared(*({"email": None, "phone_number": ""} for _ in range(4)))

    assert result.get_column("email_verdict").to_list() == [Verdict.MISSING] * 4
    assert result.get_column("phone_verdict").to_list() == [Verdict.MISSING] * 4


# Close to what is plain enough not to be shown to the validator, on both sides of it.
_ALMOST_PLAIN = st.builds(
    "{}@{}.{}".format,
    st.text("ab9._+-", min_size=1, max_size=8) | st.just("a" * 60),
    st.text("ab9.-", min_size=1, max_size=8) | st.sampled_from(["xn--a", "example", "gmail", "b" * 64]),
    st.sampled_from(["com", "br", "com.br", "test", "local", "arpa", "invalid", "x", "c0", "9", "xn--p1ai"]),
)


@given(st.lists(_ALMOST_PLAIN, min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_plain_addresses_are_judged_as_email_validator_judges_them(addresses: list[str]) -> None:
    judged = normalised(*((address, None, None, None) for address in addresses))

    for address, verdict in judged.select("email", "email_verdict").rows():
        if verdict != Verdict.PLACEHOLDER:
            assert (verdict == Verdict.OK) == _email_validator_accepts(address.strip(" ,")), address


def _email_validator_accepts(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


@given(st.lists(st.from_regex(r"[1-9][1-9]9[0-9]{8}", fullmatch=True), min_size=1, max_size=100))
@settings(max_examples=50, deadline=None)
def test_mobiles_are_judged_as_phonenumbers_judges_them(numbers: list[str]) -> None:
    judged = normalised(*((None, None, None, number) for number in numbers))

    for number, verdict in judged.select("phone_number", "phone_verdict").rows():
        parsed = phonenumbers.PhoneNumber(country_code=55, national_number=int(number))
        if verdict != Verdict.PLACEHOLDER:
            assert (verdict == Verdict.OK) == phonenumbers.is_valid_number(parsed), number
