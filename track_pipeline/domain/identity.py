"""Person keys: keyed hashes of CPF, phone and e-mail, the only identity that is stored permanently.

Two encounters belong to one person when they share any of the three keys. Placeholders, shared and invalid contacts
make no key; `contacts` finds them.
"""

from collections.abc import Callable
from typing import Final, Literal

import polars as pl
from polars_hash import CryptographicHashingNameSpace

from track_pipeline.domain.contacts import TYPED_CONTACTS, with_contacts
from track_pipeline.domain.policy import PlaceholderPolicy

KEY_COLUMNS: Final = ("cpf_key", "phone_key", "email_key")
KeyKind = Literal["cpf", "phone", "email"]
Hasher = Callable[[KeyKind, pl.Expr], pl.Expr]

# A key of the encounter itself, for rows of one person that share no other key. Needs `database`, `encounter_id`.
ENCOUNTER_PERSON_KEY: Final = pl.format("encounter:{}:{}", "database", "encounter_id")

_CPF_LENGTH: Final = 11
_KEY_LENGTH: Final = 32


def keyed_hasher(secret: str) -> Hasher:
    """Return a function from kind and normalised values to keys: HMAC-SHA256, cut to 128 bits, as 32 hex digits.

    The kind is part of the message, so that a CPF and a phone with the same digits have different keys. Null stays
    null.
    """

    def key(kind: KeyKind, values: pl.Expr) -> pl.Expr:
        messages = pl.lit(f"{kind}:") + values
        return CryptographicHashingNameSpace(messages).hmac_sha256(key=secret).str.head(_KEY_LENGTH)

    return key


def cpf_digits(column: str) -> pl.Expr:
    """Return the eleven digits of a CPF with correct check digits (Receita Federal's modulo 11), else null."""
    digits = pl.col(column).str.replace_all(r"\D", "").str.zfill(_CPF_LENGTH)
    digits = pl.when(digits.str.contains(r"^[0-9]{11}$")).then(digits)
    one_digit_repeated = digits.cast(pl.Int64) % 11_111_111_111 == 0
    codes = digits.cast(pl.Binary).bin.reinterpret(dtype=pl.Array(pl.UInt8, _CPF_LENGTH))
    numbers = [codes.arr.get(index).cast(pl.Int32) - ord("0") for index in range(_CPF_LENGTH)]

    def check_digit(length: int) -> pl.Expr:
        total = pl.sum_horizontal(numbers[index] * (length + 1 - index) for index in range(length))
        return (total * 10) % _CPF_LENGTH % 10

    valid = (check_digit(9) == numbers[9]) & (check_digit(10) == numbers[10]) & ~one_digit_repeated
    return pl.when(valid).then(digits)


def phone_identity(column: str) -> pl.Expr:
    """Return area code and last eight digits of a Brazilian E.164 number, equal with and without the ninth digit."""
    national = pl.col(column).str.strip_prefix("+55")
    return national.str.head(2) + national.str.tail(8)


def with_keys(frame: pl.DataFrame, hasher: Hasher) -> pl.DataFrame:
    """Add `cpf_key`, `phone_key`, `email_key`; a key is null where its column is null.

    Needs `cpf_digits`, `phone_e164`, `email_address`, each null unless usable.
    """
    return frame.with_columns(
        cpf_key=hasher("cpf", pl.col("cpf_digits")),
        phone_key=hasher("phone", phone_identity("phone_e164")),
        email_key=hasher("email", pl.col("email_address")),
    )


def with_cleaned_contacts(frame: pl.DataFrame, placeholders: PlaceholderPolicy) -> pl.DataFrame:
    """Replace the typed contacts and CPF by usable ones: what `with_contacts` adds, and `cpf_digits`.

    Reads the columns of `TYPED_CONTACTS` and `cpf`, and drops them.
    """
    cleaned = with_contacts(frame, placeholders).drop(TYPED_CONTACTS)
    # Lazily, because only then polars computes each digit of a CPF once and not wherever it is named.
    return cleaned.lazy().with_columns(cpf_digits=cpf_digits("cpf")).drop("cpf").collect()
