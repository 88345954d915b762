"""The base of all models that are read from files."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that refuses fields it does not know: a misspelt one is an error, not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
