"""A person whom an operator names has the keys of their encounters, or the operator gets an error that says why not."""

import pytest

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.plan import identify
from track_pipeline.services.operator.people import NoSuchContact, person_keys
from track_pipeline_tests.support.builders import HASHER, cpf, email_of, encounters, phone_of, plan_request

PLACEHOLDERS = load_policy().placeholders
ENCOUNTER = dict(
    zip(KEY_COLUMNS, identify(encounters({}), plan_request(), HASHER).select(KEY_COLUMNS).row(0), strict=True)
)
NUMBER = phone_of(1).removeprefix("+5527")


def keys(**contacts: str | None) -> list[str]:
    return person_keys(HASHER, PLACEHOLDERS, **contacts)


@pytest.mark.parametrize(
    ("contact", "typed", "key"),
    [
        ("cpf", cpf(1), "cpf_key"),
        ("cpf", f"{cpf(1)[:3]}.{cpf(1)[3:6]}.{cpf(1)[6:9]}-{cpf(1)[9:]}", "cpf_key"),
        ("phone", f"(27) {NUMBER[:5]}-{NUMBER[5:]}", "phone_key"),
        ("phone", phone_of(1), "phone_key"),
        ("phone", f"27{NUMBER[1:]}", "phone_key"),
        ("email", email_of(1), "email_key"),
        ("email", f" {email_of(1).upper()} ", "email_key"),
    ],
)
def test_a_contact_as_people_write_it_has_the_key_of_the_encounter(contact: str, typed: str, key: str) -> None:
    assert keys(**{contact: typed}) == [ENCOUNTER[key]]


def test_every_contact_given_has_a_key() -> None:
    assert keys(cpf=cpf(1), phone=phone_of(1), email=email_of(1)) == list(ENCOUNTER.values())
    assert keys(phone=phone_of(1), email=None, cpf="") == [ENCOUNTER["phone_key"]]


@pytest.mark.parametrize(
    ("contacts", "said"),
    [
        ({"cpf": "12345678900"}, "--cpf: give"),
        ({"phone": "27 3333-4455"}, "--phone: give"),
        ({"phone": "99999999"}, "--phone: give"),
        ({"phone": "+1 555 123 4567"}, "--phone: give"),
        ({"email": "ana@"}, "--email: give"),
        ({"email": "naotem@exemplo.com.br"}, "--email: give"),
        ({"email": "   "}, "--email: give"),
        ({"cpf": "1", "email": email_of(1), "phone": "2"}, "--cpf, --phone: give"),
        ({}, "nothing: give"),
        ({"cpf": ""}, "nothing: give"),
    ],
)
def test_what_is_not_valid_is_named_and_never_repeated(contacts: dict[str, str], said: str) -> None:
    with pytest.raises(NoSuchContact) as caught:
        keys(**contacts)

    assert str(caught.value).startswith(said)
    assert not any(len(typed) > 3 and typed in str(caught.value) for typed in contacts.values())
