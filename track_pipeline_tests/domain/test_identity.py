"""Person keys: equal for every way of writing a contact, and without information about the contact."""

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from track_pipeline.domain.identity import KEY_COLUMNS, cpf_digits, keyed_hasher, with_keys
from track_pipeline.domain.plan import identify
from track_pipeline_tests.support.builders import HASHER, Row, cpf, email_of, encounters, key_of, phone_of, plan_request


def keys(*rows: Row) -> list[dict[str, str | None]]:
    return identify(encounters(*rows), plan_request(), HASHER).select(KEY_COLUMNS).to_dicts()


def digits_of(*typed: str | None) -> list[str | None]:
    return pl.DataFrame({"cpf": typed}, schema={"cpf": pl.String}).select(cpf_digits("cpf")).to_series().to_list()


def is_cpf(digits: str) -> bool:
    """Receita Federal's rule, written the way its manuals do: by weighted sums and remainders."""
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for length in (9, 10):
        weights = range(length + 1, 1, -1)
        rest = sum(int(digit) * weight for digit, weight in zip(digits[:length], weights, strict=True)) % 11
        if int(digits[length]) != (0 if rest < 2 else 11 - rest):
            return False
    return True


def test_a_phone_has_one_key_with_and_without_the_ninth_digit() -> None:
    old, new, other_area = keys(
        {"phone_number": "81234567"}, {"phone_number": "981234567"}, {"phone_area": "28", "phone_number": "981234567"}
    )

    assert old["phone_key"] == new["phone_key"] is not None
    assert other_area["phone_key"] != new["phone_key"]


def test_an_email_has_one_key_in_any_case() -> None:
    lower, upper = keys({"email": "ana@exemplo.com.br"}, {"email": " ANA@Exemplo.com.br "})

    assert lower["email_key"] == upper["email_key"] is not None


def test_a_cpf_has_one_key_with_and_without_punctuation_and_leading_zeros() -> None:
    number = cpf(12345678)
    dotted = f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"

    found = {row["cpf_key"] for row in keys({"cpf": number}, {"cpf": dotted}, {"cpf": number.lstrip("0")})}

    assert len(found) == 1
    assert None not in found


@pytest.mark.parametrize(
    "typed",
    [
        None,
        "",
        "   ",
        "nao informado",
        "52998224726",
        "529982247255",
        *(str(digit) * 11 for digit in range(10)),
        "5299822472\u0665",
        "\u0660" * 8 + "191",
    ],
)
def test_what_is_no_cpf_makes_no_key(typed: str | None) -> None:
    assert digits_of(typed) == [None]
    assert keys({"cpf": typed})[0]["cpf_key"] is None


def test_contacts_that_are_not_usable_make_no_key() -> None:
    [row] = keys({"email": "naotem@exemplo.com.br", "phone_number": "999999999", "cpf": None})

    assert row == dict.fromkeys(KEY_COLUMNS)


@given(st.integers(0, 999_999_999), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_check_digits_agree_with_an_independent_implementation(number: int, check: int) -> None:
    typed = f"{number:09d}{check:02d}"
    valid = cpf(number)

    assert digits_of(typed) == [typed if is_cpf(typed) else None]
    assert digits_of(valid) == [valid if is_cpf(valid) else None]


def test_the_kinds_of_key_cannot_collide() -> None:
    same = pl.lit("27981234567")
    found = pl.select(
        HASHER("cpf", same).alias("1"), HASHER("phone", same).alias("2"), HASHER("email", same).alias("3")
    )
    assert len(set(found.row(0))) == 3


@given(st.lists(st.none() | st.text(), min_size=1), st.text(min_size=1))
@example(["longer than a block of the hash", None], "a secret that is longer than a block of the hash as well" * 2)
@settings(max_examples=100, deadline=None)
def test_keys_are_those_of_an_independent_implementation(values: list[str | None], secret: str) -> None:
    column = pl.Series("value", values, dtype=pl.String).to_frame()

    keys = column.select(keyed_hasher(secret)("email", pl.col("value"))).to_series().to_list()

    assert keys == [None if value is None else key_of("email", value, secret) for value in values]


def test_the_secret_is_not_in_what_is_told_of_an_expression() -> None:
    expression = keyed_hasher("the very secret")("cpf", pl.col("cpf_digits"))

    told = repr(expression) + str(expression) + pl.LazyFrame({"cpf_digits": ["1"]}).select(expression).explain()
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        pl.DataFrame({"cpf_digits": [[1]]}).select(expression)
    assert "very secret" not in told + str(caught.value)


def test_a_key_is_32_hex_digits_and_tells_nothing_about_its_value() -> None:
    [row] = keys({"person": 7})

    for key in row.values():
        assert key is not None
        assert len(key) == 32
        assert set(key) <= set("0123456789abcdef")
        for value in (cpf(7), phone_of(7)[-8:], email_of(7), "exemplo"):
            assert value not in key


def test_another_secret_gives_other_keys() -> None:
    frame = identify(encounters({}, {}), plan_request(), HASHER)

    other = with_keys(frame.drop(KEY_COLUMNS), keyed_hasher("another secret"))

    for column in KEY_COLUMNS:
        assert set(other.get_column(column)).isdisjoint(set(frame.get_column(column)))


def test_the_same_secret_gives_the_same_keys_in_every_process() -> None:
    # Pinned: a change of the recipe would make a stranger of everybody the ledger knows.
    email = pl.lit("ana@exemplo.com.br")

    assert pl.select(keyed_hasher("secret")("email", email)).item() == "b25d3d5d1b929a497f5889f100653b9a"


def test_a_day_without_patients_has_no_keys() -> None:
    assert keys() == []
