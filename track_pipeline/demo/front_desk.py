"""Registrations of people as a front desk types them: mostly correct, with every error of real registrations.

`demo/people.py` makes the people; `demo/his/` puts the columns into tables.
"""

from typing import Final

import polars as pl

from track_pipeline.demo.people import people, stream

# Shares in percent. Contact hygiene has to repair or refuse every kind but `clean`.
_PHONES: Final = {
    "clean": 68,
    "missing": 8,
    "landline": 5,
    "eight digits": 4,
    "doubled 55": 3,
    "formatted": 4,
    "foreign": 3,
    "nines": 2,
    "front desk": 3,
}
_EMAILS: Final = {
    "clean": 68,
    "missing": 14,
    "upper case": 5,
    "no at": 2,
    "two ats": 1,
    "spaced": 2,
    "no ending": 2,
    "none typed": 4,
    "none typed either": 2,
}
_CPFS: Final = {"clean": 85, "missing": 5, "formatted": 10}
_NAMES: Final = {"clean": 99, "test patient": 1}


def register(persons: pl.DataFrame, database: str, *key: object) -> pl.DataFrame:
    """Return the people of `demo.people.people` as the front desk of a database typed them, one row each.

    Columns: name, cpf, email; ddi, ddd, number (for systems with three fields); telephone (for those with one);
    age (years). The result for the first rows of `persons` is the first rows of the result for all.
    """
    desk = people(1, "front desk", database).row(0, named=True)
    kinds = pl.DataFrame(
        {
            what: stream(*key, what).choices(list(shares), list(shares.values()), k=persons.height)
            for what, shares in (("phone", _PHONES), ("mail", _EMAILS), ("taxpayer", _CPFS), ("patient", _NAMES))
        }
    )
    typed = pl.concat([persons, kinds], how="horizontal").select(
        pl.when(patient="test patient").then(pl.format("TESTE {}", "name")).otherwise("name").alias("name"),
        _cpf().alias("cpf"),
        _email().alias("email"),
        _country().alias("ddi"),
        _area_code(desk["area_code"]).alias("ddd"),
        _number(desk["mobile"]).alias("number"),
        "age",
    )
    abroad = pl.when(pl.col("ddi") == "351").then(pl.format("+{} ", "ddi")).otherwise(pl.lit(""))
    area = pl.col("ddd").fill_null("")
    return typed.with_columns(pl.concat_str(abroad, area, pl.col("number")).alias("telephone"))


def _cpf() -> pl.Expr:
    parts = [pl.col("cpf").str.slice(start, 3) for start in (0, 3, 6, 9)]
    return (
        pl.when(taxpayer="missing")
        .then(None)
        .when(taxpayer="formatted")
        .then(pl.format("{}.{}.{}-{}", *parts))
        .otherwise("cpf")
    )


def _email() -> pl.Expr:
    email = pl.col("email")
    return (
        pl.when(mail="missing")
        .then(None)
        .when(mail="upper case")
        .then(email.str.to_uppercase())
        .when(mail="no at")
        .then(email.str.replace("@", "", literal=True))
        .when(mail="two ats")
        .then(email.str.replace("@", "@@", literal=True))
        .when(mail="spaced")
        .then(email.str.replace(".", " .", literal=True))
        .when(mail="no ending")
        .then(email.str.replace(".com.br", "", literal=True))
        .when(mail="none typed")
        .then(pl.lit("naotem@naotem.com"))
        .when(mail="none typed either")
        .then(pl.lit("NAO@NAOTEM.COM.BR"))
        .otherwise(email)
    )


def _country() -> pl.Expr:
    return (
        pl.when(phone="foreign")
        .then(pl.lit("351"))
        .when(pl.col("phone").is_in(["missing", "formatted"]))
        .then(None)
        .otherwise(pl.lit("55"))
    )


def _area_code(desk: str) -> pl.Expr:
    return (
        pl.when(pl.col("phone").is_in(["missing", "doubled 55", "formatted", "foreign"]))
        .then(None)
        .when(phone="front desk")
        .then(pl.lit(desk))
        .otherwise("area_code")
    )


def _number(desk: str) -> pl.Expr:
    area, mobile = pl.col("area_code"), pl.col("mobile")
    return (
        pl.when(phone="missing")
        .then(None)
        .when(phone="landline")
        .then(pl.format("3{}", mobile.str.tail(7)))
        .when(phone="eight digits")
        .then(mobile.str.tail(8))
        .when(phone="doubled 55")
        .then(pl.format("55{}{}", area, mobile))
        .when(phone="formatted")
        .then(pl.format("+55 ({}) {}-{}", area, mobile.str.head(5), mobile.str.tail(4)))
        .when(phone="foreign")
        .then(pl.format("91{}", mobile.str.tail(7)))
        .when(phone="nines")
        .then(pl.lit("99999-9999"))
        .when(phone="front desk")
        .then(pl.lit(desk))
        .otherwise(mobile)
    )
