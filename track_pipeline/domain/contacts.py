"""Contact hygiene: what a hospital typed, turned into an address that can be written to, or a verdict why not.

Brazilian rules: national numbers have area code (DDD) and nine digits if mobile, eight if landline; mobiles
registered before 2016 may lack the ninth digit. Who owns a contact is not asked here (see `identity`).
"""

import string
from enum import StrEnum
from typing import Final

import phonenumbers
import polars as pl
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from track_pipeline.domain.policy import PlaceholderPolicy

# As a hospital typed them; once they are cleaned nobody needs them.
TYPED_CONTACTS: Final = ("email", "phone_country", "phone_area", "phone_number")

_AREA_DIGITS: Final = 2
_MOBILE_DIGITS: Final = 11
_LANDLINE_DIGITS: Final = 10

# An address like this is valid by every rule of email-validator as long as it is short, has no label that could be
# Punycode (`--`) and does not end in a name that is reserved. One call per address would cost 20 microseconds each.
_PLAIN_EMAIL: Final = r"^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$"
# One that is not even like this is invalid by the library's defaults, which take no quoted names; so is one whose
# domain has no dot.
_HOPEFUL_EMAIL: Final = r"^[^@ ]+@[^@ ]+$"
_DOTLESS_DOMAIN: Final = r"@[a-z0-9-]*$"
# No part of an address that short is too long (RFC 5321: 64 before the @; RFC 1035: 63 in a label).
_PLAIN_LENGTH: Final = 64
_SPECIAL_USE: Final = sorted({name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES})


def _pattern_of_mobiles() -> str:
    brazil = phonenumbers.PhoneMetadata.metadata_for_region("BR")
    if brazil is None or brazil.mobile is None or brazil.mobile.national_number_pattern is None:
        raise LookupError("phonenumbers knows no Brazilian mobiles any more")
    return brazil.mobile.national_number_pattern


_MOBILE_PATTERN: Final = _pattern_of_mobiles()


class Verdict(StrEnum):
    """What is to be said of a typed contact; only `OK` can be written to."""

    OK = "ok"
    MISSING = "missing"
    INVALID = "invalid"
    PLACEHOLDER = "placeholder"
    LANDLINE = "landline"
    FOREIGN = "foreign"
    SHARED = "shared"


def with_contacts(encounters: pl.DataFrame, placeholders: PlaceholderPolicy) -> pl.DataFrame:
    """Adds `email_address`, `email_verdict`, `phone_e164`, `phone_verdict`.

    Reads `email`, `phone_country`, `phone_area`, `phone_number` as typed. Addresses are lower-case, numbers
    are E.164 with the ninth digit repaired; both are null unless their verdict is `ok`.
    """
    # Lazily, because only then polars works out the parts of a number once and not wherever they are named.
    return (
        encounters.lazy()
        .with_columns(_email=_typed_email(), _number=_number_without_country(), _area=_digits("phone_area"))
        .with_columns(_national=_national_number())
        .with_columns(_valid_email=_is_email(), _valid_mobile=_is_mobile())
        .with_columns(email_verdict=_email_verdict(placeholders), phone_verdict=_phone_verdict(placeholders))
        .with_columns(
            email_address=pl.when(pl.col("email_verdict") == Verdict.OK).then("_email"),
            phone_e164=pl.when(pl.col("phone_verdict") == Verdict.OK).then("+55" + _mobile()),
        )
        .drop("_email", "_number", "_area", "_national", "_valid_email", "_valid_mobile")
        .collect()
    )


def mark_shared(frame: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Withdraws contacts that more than `limit` different patients of the frame share.

    A patient is told apart by `cpf_digits`, else by name. Sets the verdict to `shared`, the contact to null.
    """
    patient = pl.coalesce("cpf_digits", pl.col("patient_name").str.to_uppercase())
    for contact, verdict in (("email_address", "email_verdict"), ("phone_e164", "phone_verdict")):
        # Few contacts are on so many rows: only of those the patients are told apart.
        often = frame.filter(pl.col(contact).is_not_null() & (pl.len().over(contact) > limit))
        patients = often.group_by(contact).agg(patients=patient.n_unique())
        shared = pl.col(contact).is_in(patients.filter(pl.col("patients") > limit).get_column(contact).implode())
        frame = frame.with_columns(
            pl.when(shared).then(pl.lit(Verdict.SHARED)).otherwise(verdict).alias(verdict),
            pl.when(~shared).then(contact).alias(contact),
        )
    return frame


def _typed_email() -> pl.Expr:
    # Two addresses in one field are common; the first one is the patient's. Blanks inside are not repaired:
    # what remains of "ana souza@..." would be somebody else's address.
    first = pl.col("email").str.strip_chars().str.split_exact(";", 1).struct.field("field_0").str.strip_chars(" ,")
    return first.str.to_lowercase().replace("", None)


def _email_verdict(placeholders: PlaceholderPolicy) -> pl.Expr:
    local = pl.col("_email").str.extract(r"^([^@]*)", 1).str.replace_all(r"[^a-z0-9]", "")
    domain = pl.col("_email").str.extract(r"@(.*)$", 1)
    is_placeholder = local.is_in(sorted(placeholders.email_locals)) | domain.is_in(sorted(placeholders.email_domains))
    return (
        pl.when(pl.col("_email").is_null())
        .then(pl.lit(Verdict.MISSING))
        .when(is_placeholder)
        .then(pl.lit(Verdict.PLACEHOLDER))
        .when(pl.col("_valid_email"))
        .then(pl.lit(Verdict.OK))
        .otherwise(pl.lit(Verdict.INVALID))
    )


def _digits(column: str) -> pl.Expr:
    return pl.col(column).str.replace_all(r"\D", "").str.strip_chars_start("0").fill_null("")


def _is_international() -> pl.Expr:
    """Whether the number was typed with a plus, or with 00, before its country code."""
    return pl.col("phone_number").str.contains(r"^\D*(\+|00)").fill_null(value=False)


def _number_without_country() -> pl.Expr:
    """The digits of the number, country code off: also when it was typed twice, or with its plus.

    55 is an area code too (Santa Maria): without a plus it is only a country code where the number is too long.
    """
    digits = _digits("phone_number")
    number = pl.when(_is_international()).then(digits.str.strip_prefix("55")).otherwise(digits)
    for _ in range(2):
        number = number.str.replace(rf"^55([0-9]{{{_MOBILE_DIGITS - 1},}})$", "$1")
    return number


def _national_number() -> pl.Expr:
    """Area code and number.

    Null where the number's own area code is another one than the field's: one of the two would be a stranger.
    """
    number, area = pl.col("_number"), pl.col("_area")
    disagrees = (area.str.len_chars() == _AREA_DIGITS) & (number.str.head(_AREA_DIGITS) != area)
    return (
        pl.when(number.str.len_chars() <= _MOBILE_DIGITS - _AREA_DIGITS)
        .then(area + number)
        .when(disagrees & number.str.starts_with("55"))
        .then(area + number.str.slice(_AREA_DIGITS))
        .when(~disagrees)
        .then(number)
    )


def _mobile() -> pl.Expr:
    """The national number with the ninth digit repaired, null where it cannot be a mobile.

    Mobiles of before the ninth digit began with 6 to 9, landlines begin with 2 to 5 (Anatel's numbering plan).
    """
    national = pl.col("_national")
    repaired = (
        pl.when(national.str.contains(r"^[0-9]{2}[6-9][0-9]{7}$"))
        .then(national.str.head(2) + "9" + national.str.tail(8))
        .otherwise(national)
    )
    return pl.when(repaired.str.contains(r"^[1-9]{2}9[0-9]{8}$")).then(repaired)


def _phone_verdict(placeholders: PlaceholderPolicy) -> pl.Expr:
    national = pl.col("_national")
    last_eight = national.str.tail(8)
    one_digit_repeated = last_eight.is_in([digit * 8 for digit in string.digits])
    typed = _digits("phone_number")
    is_foreign = ~_digits("phone_country").is_in(["", "55"]) | (_is_international() & ~typed.str.starts_with("55"))
    return (
        pl.when(typed == "")
        .then(pl.lit(Verdict.MISSING))
        .when(one_digit_repeated | last_eight.is_in(sorted(placeholders.phone_endings)))
        .then(pl.lit(Verdict.PLACEHOLDER))
        .when(is_foreign)
        .then(pl.lit(Verdict.FOREIGN))
        .when(pl.col("_valid_mobile"))
        .then(pl.lit(Verdict.OK))
        .when((national.str.len_chars() == _LANDLINE_DIGITS) & national.str.contains(r"^[1-9]{2}[2-5]"))
        .then(pl.lit(Verdict.LANDLINE))
        .otherwise(pl.lit(Verdict.INVALID))
    )


def _is_mobile() -> pl.Expr:
    """Whether phonenumbers takes the number for a valid one, by the library's own pattern."""
    return _mobile().str.contains(rf"^(?:{_MOBILE_PATTERN})$").fill_null(value=False)


def _is_email() -> pl.Expr:
    """Whether email-validator takes the address for valid; what is plain enough, or hopeless, need not be asked."""
    email = pl.col("_email")
    is_plain = (
        email.str.contains(_PLAIN_EMAIL)
        & (email.str.len_chars() <= _PLAIN_LENGTH)
        & ~email.str.contains("--", literal=True)
        & ~email.str.extract(r"([a-z]+)$", 1).is_in(_SPECIAL_USE)
    ).fill_null(value=False)
    doubtful = (
        pl.when(~is_plain & email.str.contains(_HOPEFUL_EMAIL) & ~email.str.contains(_DOTLESS_DOMAIN))
        .then(email)
        .map_batches(_validate_distinct, return_dtype=pl.Boolean)
    )
    return is_plain | doubtful


def _validate_distinct(series: pl.Series) -> pl.Series:
    distinct = series.drop_nulls().unique()
    verdicts = pl.Series([_validates(value) for value in distinct], dtype=pl.Boolean)
    return series.replace_strict(distinct, verdicts, default=False, return_dtype=pl.Boolean)


def _validates(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        return False
    return True
