"""Cleaning of contacts: convert typed contacts into usable addresses and numbers, or give a verdict why not.

Brazilian rules: a national number has an area code (DDD) and nine digits if mobile, eight if landline; a mobile number
registered before 2016 may lack the ninth digit. `identity` decides which contacts belong to one person.
"""

import string
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import phonenumbers
import polars as pl
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from track_pipeline.domain.outcomes import Exclusion
from track_pipeline.domain.policy import PlaceholderPolicy

# The contact columns as the hospital typed them. They are not needed after cleaning.
TYPED_CONTACTS: Final = ("email", "phone_country", "phone_area", "phone_number")

_AREA_DIGITS: Final = 2
_MOBILE_DIGITS: Final = 11
_LANDLINE_DIGITS: Final = 10

# An address that matches this pattern is valid by every rule of email-validator if it is short, has no label that could
# be Punycode (`--`) and does not end in a reserved name. A call of the library costs 20 microseconds per address.
_PLAIN_EMAIL: Final = r"^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$"
# An address that does not match this pattern is invalid by the library's defaults, which accept no quoted names. An
# address whose domain has no dot is invalid too.
_HOPEFUL_EMAIL: Final = r"^[^@ ]+@[^@ ]+$"
_DOTLESS_DOMAIN: Final = r"@[a-z0-9-]*$"
# An address of at most this length has no part that is too long (RFC 5321: 64 before the @; RFC 1035: 63 in a label).
_PLAIN_LENGTH: Final = 64
_SPECIAL_USE: Final = sorted({name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES})


def _pattern_of_mobiles() -> str:
    brazil = phonenumbers.PhoneMetadata.metadata_for_region("BR")
    if brazil is None or brazil.mobile is None or brazil.mobile.national_number_pattern is None:
        raise LookupError("the library phonenumbers has no pattern for Brazilian mobiles; install another version")
    return brazil.mobile.national_number_pattern


_MOBILE_PATTERN: Final = _pattern_of_mobiles()


class Verdict(StrEnum):
    """The result of cleaning a typed contact. Only an `OK` contact can be used."""

    OK = "ok"
    MISSING = "missing"
    INVALID = "invalid"
    PLACEHOLDER = "placeholder"
    LANDLINE = "landline"
    FOREIGN = "foreign"
    SHARED = "shared"


# An e-mail address can be neither a landline nor foreign.
EMAIL_VERDICTS: Final = tuple(verdict for verdict in Verdict if verdict not in (Verdict.LANDLINE, Verdict.FOREIGN))
PHONE_VERDICTS: Final = tuple(Verdict)
# The reason to exclude a person without a usable contact: the first verdict here that one of their contacts has.
REASON_OF_VERDICT: Final[Mapping[Verdict, Exclusion]] = {
    Verdict.SHARED: Exclusion.SHARED_CONTACT,
    Verdict.PLACEHOLDER: Exclusion.PLACEHOLDER_CONTACT,
    Verdict.FOREIGN: Exclusion.FOREIGN,
    Verdict.INVALID: Exclusion.INVALID_CONTACT,
    Verdict.LANDLINE: Exclusion.INVALID_CONTACT,
}
# All reasons that a better contact would remove.
CONTACT_REASONS: Final = (*dict.fromkeys(REASON_OF_VERDICT.values()), Exclusion.NO_CONTACT)


def with_contacts(encounters: pl.DataFrame, placeholders: PlaceholderPolicy) -> pl.DataFrame:
    """Add `email_address`, `email_verdict`, `phone_e164`, `phone_verdict`.

    Reads `email`, `phone_country`, `phone_area`, `phone_number` as typed. Addresses are lower-case; numbers
    are E.164 with the ninth digit added where it is missing. Both are null unless their verdict is `ok`.
    """
    # A lazy frame, because polars then computes the parts of a number once and not at each use.
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
    """Set contacts to null, with the verdict `shared`, if more than `limit` different patients of the frame share them.

    `cpf_digits` identifies a patient, or the name where `cpf_digits` is null.
    """
    patient = pl.coalesce("cpf_digits", pl.col("patient_name").str.to_uppercase())
    for contact, verdict in (("email_address", "email_verdict"), ("phone_e164", "phone_verdict")):
        # Few contacts are on more than `limit` rows, so only their patients are counted.
        often = frame.filter(pl.col(contact).is_not_null() & (pl.len().over(contact) > limit))
        patients = often.group_by(contact).agg(patients=patient.n_unique())
        shared = pl.col(contact).is_in(patients.filter(pl.col("patients") > limit).get_column(contact).implode())
        frame = frame.with_columns(
            pl.when(shared).then(pl.lit(Verdict.SHARED)).otherwise(verdict).alias(verdict),
            pl.when(~shared).then(contact).alias(contact),
        )
    return frame


def _typed_email() -> pl.Expr:
    # Two addresses in one field are common; the first one is the patient's. Blanks inside are not removed:
    # the result for "ana souza@..." could be the address of another person.
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
    """The digits of the number without the country code, also when the code was typed twice or with a plus.

    55 is also an area code (Santa Maria). Without a plus it counts as a country code only if the number is too long.
    """
    digits = _digits("phone_number")
    number = pl.when(_is_international()).then(digits.str.strip_prefix("55")).otherwise(digits)
    for _ in range(2):
        number = number.str.replace(rf"^55([0-9]{{{_MOBILE_DIGITS - 1},}})$", "$1")
    return number


def _national_number() -> pl.Expr:
    """Area code and number.

    Null where the area code in the number differs from that in `phone_area`: the number may belong to another person.
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
    """The national number, with the ninth digit added where it is missing; null where it cannot be a mobile number.

    Mobile numbers without a ninth digit begin with 6 to 9, landlines with 2 to 5 (Anatel's numbering plan).
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
    """Whether the number is a valid mobile number by the pattern of the library phonenumbers."""
    return _mobile().str.contains(rf"^(?:{_MOBILE_PATTERN})$").fill_null(value=False)


def _is_email() -> pl.Expr:
    """Whether the address is valid by email-validator. The patterns above decide most addresses without a call."""
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
