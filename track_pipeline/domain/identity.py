"""Who is the same person: keyed hashes of CPF, phone and e-mail, the only identity that is kept for long.

Two encounters belong to one person when they share any of the three keys. Contacts that are nobody's own
(placeholders, front desks, broken ones) make no key. Contact hygiene itself is in `contacts`.
"""

from collections.abc import Callable
from typing import Final, Literal

import polars as pl
from polars_hash import CryptographicHashingNameSpace

KEY_COLUMNS: Final = ("cpf_key", "phone_key", "email_key")
KeyKind = Literal["cpf", "phone", "email"]
Hasher = Callable[[KeyKind, pl.Expr], pl.Expr]

# An encounter by itself, for where nothing else says that two rows are of one person. Needs `database`, `encounter_id`.
ENCOUNTER_PERSON_KEY: Final = pl.format("encounter:{}:{}", "database", "encounter_id")

_CPF_LENGTH: Final = 11
_KEY_LENGTH: Final = 32


def keyed_hasher(secret: str) -> Hasher:
    """A function from kind and normalised values to keys: HMAC-SHA256, cut to 128 bits, as 32 hex digits.

    The kind is part of the message, so that a CPF never equals a phone of the same digits. Null stays null.
    """

    def key(kind: KeyKind, values: pl.Expr) -> pl.Expr:
        messages = pl.lit(f"{kind}:") + values
        return CryptographicHashingNameSpace(messages).hmac_sha256(key=secret).str.head(_KEY_LENGTH)

    return key


def cpf_digits(column: str) -> pl.Expr:
    """The eleven digits of a CPF whose check digits are right (Receita Federal's modulo 11), else null."""
    digits = pl.col(column).str.replace_all(r"\D", "").str.zfill(_CPF_LENGTH)
    digits = pl.when(digits.str.contains(r"^[0-9]{11}$")).then(digits)
    one_digit_repeated = digits.cast(pl.Int64) % 11_111_111_111 == 0
    codes = digits.cast(pl.Binary).bin.reinterpret(dtype=pl.Array(pl.UInt8, _CPF_LENGTH))
    numbers = [codes.arr.get(place).cast(pl.Int32) - ord("0") for place in range(_CPF_LENGTH)]

    def check_digit(length: int) -> pl.Expr:
        total = pl.sum_horizontal(numbers[place] * (length + 1 - place) for place in range(length))
        return (total * 10) % _CPF_LENGTH % 10

    valid = (check_digit(9) == numbers[9]) & (check_digit(10) == numbers[10]) & ~one_digit_repeated
    return pl.when(valid).then(digits)


def phone_identity(column: str) -> pl.Expr:
    """Area code and last eight digits of a Brazilian E.164 number: the same with and without ninth digit."""
    national = pl.col(column).str.strip_prefix("+55")
    return national.str.head(2) + national.str.tail(8)


def with_keys(frame: pl.DataFrame, hasher: Hasher) -> pl.DataFrame:
    """Adds `cpf_key`, `phone_key`, `email_key` (null where there is nothing strong enough to be a key).

    Needs `cpf_digits`, `phone_e164`, `email_address`, each null unless usable.
    """
    return frame.with_columns(
        cpf_key=hasher("cpf", pl.col("cpf_digits")),
        phone_key=hasher("phone", phone_identity("phone_e164")),
        email_key=hasher("email", pl.col("email_address")),
    )
