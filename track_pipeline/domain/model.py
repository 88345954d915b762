"""The base class of all models that are read from files."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, so that a misspelt field is an error and not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse_repeated(what: str, codes: Iterable[str]) -> None:
    """Raise ValueError that names the codes given more than once; `what` they are the codes of."""
    given = list(codes)
    if repeated := sorted({code for code in given if given.count(code) > 1}):
        raise ValueError(f"{what}: code {', '.join(repeated)} is given twice; use each code once")
