"""Person keys of contacts that an operator types or imports, such as for an opt-out."""

import polars as pl

from track_pipeline.domain.identity import KEY_COLUMNS, Hasher, with_cleaned_contacts, with_keys
from track_pipeline.domain.policy import PlaceholderPolicy
from track_pipeline.errors import TrackPipelineError


class NoSuchContact(TrackPipelineError):  # noqa: N818 - describes the input
    """A text that is not a valid CPF, Brazilian mobile number or e-mail address."""


def person_keys(
    hasher: Hasher,
    placeholders: PlaceholderPolicy,
    *,
    cpf: str | None = None,
    phone: str | None = None,
    email: str | None = None,
) -> list[str]:
    """Return the keys of a person, one per contact. Contacts may be formatted (`(27) 99999-0000`).

    Raises NoSuchContact, which names the invalid contact but never repeats its value.
    """
    typed = pl.DataFrame(
        {"cpf": [cpf], "email": [email], "phone_country": [None], "phone_area": [None], "phone_number": [phone]},
        schema=dict.fromkeys(("cpf", "email", "phone_country", "phone_area", "phone_number"), pl.String),
    )
    frame = with_keys(with_cleaned_contacts(typed, placeholders), hasher)
    keys = frame.select(KEY_COLUMNS).row(0)
    given = {"--cpf": cpf, "--phone": phone, "--email": email}
    wrong = [name for (name, value), key in zip(given.items(), keys, strict=True) if value and key is None]
    if wrong or not any(given.values()):
        raise NoSuchContact(f"{', '.join(wrong) or 'nothing'}: give a valid --cpf, Brazilian mobile --phone or --email")
    return [key for key in keys if key is not None]
